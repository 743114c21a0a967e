// The files and folders that a configuration names, and where relative ones start.
//
// In a file that people write they start at the working directory of whoever reads it. A run stores its configuration
// with all of them in full (MakePathsAbsolute), so that it can be gone on with from anywhere; and the folder in which
// that config.yaml lies is the run, wherever it was moved or copied to. Thread-safe.
#pragma once

#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include "flowawr/v1/config.pb.h"

namespace flowawr {

inline constexpr char kRunConfigFile[] = "config.yaml";
// The configuration of a run that is about to start, until its learner has accepted it.
inline constexpr char kStartingConfigFile[] = "config.yaml.new";

using PathVisitor = absl::FunctionRef<void(const std::string& name, std::string& path)>;

// Calls `visit` with the dotted name and the value of every field that is a path, those of scorers included.
void ForEachPath(v1::RunConfig& config, PathVisitor visit);

// The same for the options of scorers that are files or folders: what the kinds in reward_server/scorers call so.
void ForEachScorerPath(v1::RewardsConfig& rewards, PathVisitor visit);

// Whether that option of a scorer of that kind names a file or folder.
bool IsScorerPath(const std::string& kind, const std::string& option);

// Every path that is not empty, from the working directory on.
void MakePathsAbsolute(v1::RunConfig* config);

// The run directory that the configuration file `path` belongs to: its folder, when the file is named as a run's and
// the folder is one. Empty: none.
std::string RunFolderOf(const std::string& path);

// What is in `folder` under names that a run writes over ("report.html", "images/") though no run of ours wrote it:
// somebody's own files. Empty where a run's lock lies, and for a folder that is not there.
std::vector<std::string> NamesTakenByOthers(const std::string& folder);

}  // namespace flowawr
