#include "common/config/copy_place.h"

#include <algorithm>
#include <filesystem>
#include <system_error>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/base/checkpoint_names.h"
#include "common/base/file.h"
#include "common/base/status.h"

namespace flowawr {
namespace {

namespace fs = std::filesystem;

bool LiesIn(const std::string& folder, const std::string& place) {
  std::error_code ignored;
  const fs::path outer = fs::weakly_canonical(folder, ignored), inner = fs::weakly_canonical(place, ignored);
  return std::mismatch(outer.begin(), outer.end(), inner.begin(), inner.end()).first == outer.end();
}

}  // namespace

absl::Status CheckCopyPlace(const std::string& run_dir, const std::string& copy_to) {
  if (LiesIn(run_dir, copy_to))
    return absl::FailedPreconditionError(absl::StrCat("checkpoint.copy_to: ", copy_to,
                                                      " is the run's own folder or lies in it, so that nothing is copied: ",
                                                      "name one elsewhere (--set checkpoint.copy_to=FOLDER)"));
  const std::string own = ReadFile(run_dir + "/run_id").value_or(""), there = ReadFile(copy_to + "/run_id").value_or("");
  FLOWAWR_ASSIGN_OR_RETURN(const std::vector<std::string> copies, CheckpointNames(copy_to + "/checkpoints"));
  if (own == there || (there.empty() && copies.empty())) return absl::OkStatus();
  return absl::FailedPreconditionError(
      absl::StrCat("checkpoint.copy_to: ", copy_to, " holds checkpoints of another run: name a folder for each run"));
}

}  // namespace flowawr
