#include "learner/bad_update.h"

#include <torch/types.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "common/base/file.h"
#include "common/base/status.h"
#include "common/tensor/safetensors.h"
#include "learner/not_finite.h"

namespace flowawr {
namespace {

// JSON has no NaN: such a number is null.
nlohmann::json Number(double value) { return std::isfinite(value) ? nlohmann::json(value) : nlohmann::json(); }

nlohmann::json Numbers(const at::Tensor& values) {
  nlohmann::json list = nlohmann::json::array();
  const at::Tensor doubles = values.to(at::kDouble).contiguous().flatten();
  for (int64_t i = 0; i < doubles.numel(); ++i) list.push_back(Number(doubles.const_data_ptr<double>()[i]));
  return list;
}

nlohmann::json GroupJson(const Group& group, const at::Tensor& signals, bool is_finite) {
  nlohmann::json json = {{"group", group.id()},
                         {"prompt", group.lease.prompt().text()},
                         {"actor", group.header.actor_id()},
                         {"attempt", group.header.lease().attempt()},
                         {"policy_version", group.lease.policy_version()},
                         {"is_finite", is_finite},
                         {"signals", Numbers(signals)},
                         {"rewards", nlohmann::json::object()}};
  const v1::RewardSpec& spec = group.lease.reward_spec();
  for (int term = 0; term < spec.terms_size(); ++term)
    json["rewards"][spec.terms(term).scorer()] = Numbers(group.rewards[term]);
  return json;
}

void AddTensors(const Group& group, std::map<std::string, at::Tensor>* tensors) {
  const std::pair<const char*, at::Tensor> named[] = {
      {"x0", group.x0},
      {"prompt_embeds", group.prompt_embeds},
      {"pooled_prompt_embeds", group.pooled_prompt_embeds},
      {"rewards", group.rewards},
      {"states", group.states},
      {"log_probs", group.log_probs},
      {"negative_prompt_embeds", group.negative_prompt_embeds},
      {"negative_pooled_prompt_embeds", group.negative_pooled_prompt_embeds}};
  for (const auto& [name, tensor] : named)
    if (tensor.defined()) (*tensors)[absl::StrCat("group_", group.id(), ".", name)] = tensor;
}

// Those of older updates than the newest ones.
void Thin(const std::string& folder) {
  std::set<uint64_t> updates;
  std::error_code ignored;
  for (const auto& entry : std::filesystem::directory_iterator(folder, ignored)) {
    const std::string stem = entry.path().stem().string();
    uint64_t update = 0;
    absl::string_view number = stem;
    if (absl::ConsumePrefix(&number, "update-") && absl::SimpleAtoi(number, &update)) updates.insert(update);
  }
  while (updates.size() > kMostBadBatches) {
    const std::string path = absl::StrCat(folder, "/update-", *updates.begin());
    std::filesystem::remove(path + ".safetensors", ignored);
    std::filesystem::remove(path + ".json", ignored);
    updates.erase(updates.begin());
  }
}

}  // namespace

absl::Status CheckUpdate(uint64_t update, const std::vector<Group>& batch, const BatchGradient& gradient, double norm,
                         double max_loss) {
  if (!gradient.not_finite.empty() || !std::isfinite(gradient.loss))
    return NotFiniteError(update, batch, gradient.not_finite);
  if (!std::isfinite(norm))
    return absl::InternalError(absl::StrCat("the gradients of update ", update,
                                            " are finite, their sum is not: every group is as far off"));
  if (max_loss > 0 && gradient.loss > max_loss)
    return absl::FailedPreconditionError(
        absl::StrCat("the loss of update ", update, " is ", gradient.loss, ", above train.max_loss ", max_loss,
                     ", so that it was not made. Look at its batch; raise train.max_loss if it is as it should be"));
  return absl::OkStatus();
}

absl::StatusOr<std::string> WriteBadBatch(const std::string& run_dir, uint64_t update, const std::vector<Group>& batch,
                                          const BatchSignals& signals, const BatchGradient& gradient,
                                          const absl::Status& why) {
  const std::string folder = run_dir + "/bad_batches", path = absl::StrCat(folder, "/update-", update);
  nlohmann::json json = {{"update", update},
                         {"why", std::string(why.message())},
                         {"loss", Number(gradient.loss)},
                         {"figures", nlohmann::json::object()},
                         {"groups", nlohmann::json::array()}};
  for (const auto& [name, value] : gradient.figures) json["figures"][name] = Number(value);
  std::map<std::string, at::Tensor> tensors = {{"signals", signals.values}};
  for (size_t i = 0; i < batch.size(); ++i) {
    const bool is_finite = !std::binary_search(gradient.not_finite.begin(), gradient.not_finite.end(), i);
    json["groups"].push_back(GroupJson(batch[i], signals.values[static_cast<int64_t>(i)], is_finite));
    AddTensors(batch[i], &tensors);
  }
  FLOWAWR_RETURN_IF_ERROR(MakeDirectories(folder));
  FLOWAWR_ASSIGN_OR_RETURN(const std::string bytes, SerializeSafetensors(tensors));
  FLOWAWR_RETURN_IF_ERROR(WriteFileAtomically(path + ".safetensors", bytes));
  FLOWAWR_RETURN_IF_ERROR(WriteFileAtomically(
      path + ".json", json.dump(2, ' ', false, nlohmann::json::error_handler_t::replace) + "\n"));
  Thin(folder);
  return path + ".json";
}

}  // namespace flowawr
