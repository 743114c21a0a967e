#include "learner/resume_check.h"

#include <google/protobuf/util/message_differencer.h>

#include <algorithm>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/base/last_name.h"
#include "common/config/algorithm_options.h"
#include "common/config/paths.h"
#include "common/config/resume_fields.h"

namespace flowawr {
namespace {

v1::RunConfig WithoutWhatMayDiffer(v1::RunConfig config) {
  BringUpToDate(&config);
  ClearFieldsFreeOnResume(&config);
  MakePathsAbsolute(&config);  // one file, however it is written
  if (config.algorithm().behaviour() != v1::FIXED) config.mutable_algorithm()->clear_behaviour_decay();
  // What scores may lie elsewhere by now, if it is still called the same.
  ForEachScorerPath(*config.mutable_rewards(), [](const std::string&, std::string& path) { path = LastName(path); });
  return config;
}

// What to do instead.
std::string WaysOn(const v1::RunConfig& saved, const v1::RunConfig& now) {
  const bool is_of_another_shape =
      saved.lora().rank() != now.lora().rank() || saved.lora().alpha() != now.lora().alpha() ||
      !std::equal(saved.lora().target_modules().begin(), saved.lora().target_modules().end(),
                  now.lora().target_modules().begin(), now.lora().target_modules().end());
  return absl::StrCat(
      "give the saved values, or start a new run in another --run-dir. With lora.init_from: ADAPTER/peft, written by "
      "`flowawr export RUN_DIR --out ADAPTER`, it begins with what this run has learned",
      is_of_another_shape ? "; but only an adapter of the rank, alpha and modules of the new run can be begun with" : "");
}

}  // namespace

absl::Status CheckResumable(const v1::RunConfig& saved, const v1::RunConfig& now) {
  const v1::RunConfig was = WithoutWhatMayDiffer(saved), is = WithoutWhatMayDiffer(now);
  std::string differences;
  google::protobuf::util::MessageDifferencer differencer;
  differencer.ReportDifferencesToString(&differences);
  if (differencer.Compare(was, is)) return absl::OkStatus();
  const std::string before = AlgorithmName(was.algorithm()), after = AlgorithmName(is.algorithm());
  return absl::FailedPreconditionError(
      absl::StrCat("the configuration would change the run, so it cannot be resumed with it (saved -> given):\n",
                   before == after ? "" : absl::StrCat("algorithm: ", before, " -> ", after, "\n"), differences,
                   WaysOn(was, is)));
}

absl::Status CheckUpdatesAhead(uint64_t done, const v1::RunConfig& now) {
  const auto wanted = static_cast<uint64_t>(now.train().updates());
  if (done <= wanted) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat("train.updates: ", wanted, ", but ", done,
                                                 " updates are done and a run does not go back; give ", done,
                                                 " to end it here, or more to go on"));
}

std::string WarningOfOtherBits(const BitSources& saved, const BitSources& now) {
  std::vector<std::string> changes;
  const bool has_other_instructions = !saved.instruction_set.empty() && saved.instruction_set != now.instruction_set;
  if (has_other_instructions)
    changes.push_back(absl::StrCat("instruction set ", saved.instruction_set, " -> ", now.instruction_set));
  if (!saved.device.empty() && saved.device != now.device)
    changes.push_back(absl::StrCat("the learner's device ", saved.device, " -> ", now.device));
  if (saved.deterministic && saved.deterministic != now.deterministic)
    changes.push_back(*saved.deterministic ? "model.deterministic true -> false" : "model.deterministic false -> true");
  if (changes.empty()) return "";
  return absl::StrCat("this run goes on otherwise than its checkpoint was made, and last bits may differ from here on: ",
                      absl::StrJoin(changes, ", "),
                      has_other_instructions ? absl::StrCat(". Where both can run ", saved.instruction_set,
                                                            ", FLOWAWR_CPU=", saved.instruction_set, " keeps to it")
                                             : "");
}

}  // namespace flowawr
