#include "learner/run_model.h"

#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/base/utf8.h"

namespace flowawr {
namespace {

constexpr char kTransformer[] = "transformer";

// What to do about parts that differ.
std::string Remedy(const ComponentFingerprints& ours, const ComponentFingerprints& theirs) {
  bool is_of_folder = false, is_of_software = false;
  for (const auto& [part, value] : ours) {
    const auto other = theirs.find(part);
    if (other != theirs.end() && other->second == value) continue;
    (IsOfModelFolder(part) ? is_of_folder : is_of_software) = true;
  }
  std::vector<std::string> remedies;
  if (is_of_folder) remedies.push_back("give both the same model folder");
  if (is_of_software) remedies.push_back("run the same release on both, started anew");
  return absl::StrJoin(remedies, ", and ");
}

}  // namespace

absl::Status RunModel::Check(const std::string& actor_id, const ComponentFingerprints& theirs) {
  for (const auto& [part, value] : theirs) {
    if (!IsPartOfModel(part))
      return absl::InvalidArgumentError(
          absl::StrCat("actor ", actor_id, " names \"", TruncateUtf8(part, 64), "\", which is no part of a model"));
  }
  absl::MutexLock lock(&mutex_);
  const std::vector<std::string> differences = DescribeDifferences(known_, "learner", theirs, "actor");
  if (!differences.empty())
    return absl::FailedPreconditionError(absl::StrCat("actor ", actor_id, " has another model than the run: ",
                                                      absl::StrJoin(differences, ", "), "; ", Remedy(known_, theirs)));
  known_.insert(theirs.begin(), theirs.end());
  return absl::OkStatus();
}

ComponentFingerprints RunModel::parts() const {
  absl::MutexLock lock(&mutex_);
  return known_;
}

void RecordModel(const ComponentFingerprints& parts, v1::CheckpointManifest* manifest) {
  manifest->clear_model_parts();
  for (const auto& [part, value] : parts) {
    if (!IsOfModelFolder(part)) continue;
    if (part == kTransformer)
      manifest->set_model_fingerprint(value);
    else
      (*manifest->mutable_model_parts())[part] = value;
  }
}

absl::Status CheckSameModel(const v1::CheckpointManifest& manifest, const std::string& folder,
                            const ComponentFingerprints& found) {
  ComponentFingerprints saved(manifest.model_parts().begin(), manifest.model_parts().end());
  // What this folder lacks, actors are asked for.
  std::erase_if(saved, [&](const auto& part) { return !found.contains(part.first); });
  saved[kTransformer] = manifest.model_fingerprint();
  const std::vector<std::string> differences = DescribeDifferences(saved, "run", found, "folder");
  if (differences.empty()) return absl::OkStatus();
  return absl::FailedPreconditionError(absl::StrCat("the model in ", folder,
                                                    " is not the one that this run was started with: ",
                                                    absl::StrJoin(differences, ", ")));
}

}  // namespace flowawr
