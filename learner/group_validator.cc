#include "learner/group_validator.h"

#include <torch/types.h>

#include <cmath>
#include <utility>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/base/status.h"
#include "common/diffusion/noise.h"
#include "common/diffusion/sde_step.h"
#include "common/diffusion/sigmas.h"
#include "common/scoring/reward_terms.h"
#include "common/tensor/safetensors.h"

namespace flowawr {
namespace {

std::string Hex(const std::string& bytes) { return absl::BytesToHexString(bytes).substr(0, 12); }

absl::Status CheckRewards(const v1::GroupHeader& header, const v1::RewardSpec& spec) {
  bool has_any = false;
  for (int k = 0; k < header.samples_size(); ++k) {
    for (int term = 0; term < spec.terms_size(); ++term) {
      const v1::TermScore& score = header.samples(k).terms(term);
      const std::string where = absl::StrCat("sample ", k, ", scorer ", spec.terms(term).scorer());
      if (score.has_reward() ? !std::isfinite(score.reward()) : !score.has_error()) {
        return absl::InvalidArgumentError(absl::StrCat(where, ": the reward is missing or not finite"));
      }
      if (score.has_reward() && std::abs(score.reward()) > kMostReward) {
        return absl::InvalidArgumentError(absl::StrCat(where, ": the reward ", score.reward(), " is beyond ",
                                                       kMostReward, "; no scorer's scale needs that"));
      }
      has_any |= score.has_reward() && !IsShadow(spec.terms(term));
      if (score.has_error() && IsRequired(spec.terms(term))) {
        return absl::InvalidArgumentError(absl::StrCat(where, ": required, but failed: ", score.error().message()));
      }
    }
  }
  return has_any ? absl::OkStatus() : absl::InvalidArgumentError("not one of its scores is a reward to train on");
}

// OK when every value is a finite number of at most that size.
absl::Status CheckRange(const at::Tensor& tensor, double most, absl::string_view name, std::string* cause) {
  const at::Tensor largest = tensor.abs().max();  // NaN when any value is
  const double value = largest.item<double>();
  if (value <= most) return absl::OkStatus();
  *cause = std::isfinite(value) ? "out_of_range" : "not_finite";
  return absl::InvalidArgumentError(std::isfinite(value)
                                        ? absl::StrCat(name, " holds a value of size ", value, ", beyond ", most,
                                                       ": no sampler makes such latents, no encoder such embeddings")
                                        : absl::StrCat(name, " holds NaN or infinite values"));
}

// The tensor if it is as the schema has it. A missing one is the sender's fault like a mis-shaped one; NotFound would
// say that the lease is unknown.
absl::StatusOr<at::Tensor> Require(const SafetensorsFile& file, const GroupTensor& expected,
                                   const std::string& group) {
  std::vector<int64_t> dims = expected.dims;
  if (expected.variable >= 0) {
    const auto found = file.tensors().find(expected.name);
    if (found == file.tensors().end() || found->second.dim() != static_cast<int64_t>(dims.size()) ||
        found->second.size(expected.variable) < 1 ||
        found->second.size(expected.variable) > dims[expected.variable]) {
      std::vector<std::string> texts(dims.size());
      for (size_t i = 0; i < dims.size(); ++i)
        texts[i] = absl::StrCat(static_cast<int>(i) == expected.variable ? "1 to " : "", dims[i]);
      return absl::InvalidArgumentError(
          absl::StrCat(group, ": ", expected.name, " must be [", absl::StrJoin(texts, ", "), "]"));
    }
    dims[expected.variable] = found->second.size(expected.variable);
  }
  absl::StatusOr<at::Tensor> tensor = file.Get(expected.name, expected.dtype, dims);
  if (absl::IsNotFound(tensor.status())) return absl::InvalidArgumentError(tensor.status().message());
  return tensor;
}

// All tensors of the schema and no other.
absl::Status TakeTensors(const SafetensorsFile& file, const std::vector<GroupTensor>& schema, const std::string& name,
                         GroupTensors* tensors) {
  for (const GroupTensor& expected : schema) {
    absl::StatusOr<at::Tensor> tensor = Require(file, expected, name);
    if (!tensor.ok() && !expected.asked_for.empty())
      return absl::InvalidArgumentError(
          absl::StrCat(tensor.status().message(), " (the lease ", expected.asked_for, ")"));
    if (!tensor.ok()) return tensor.status();
    tensors->*expected.field = *std::move(tensor);
  }
  if (const size_t found = file.tensors().size() + file.unusable().size(); found != schema.size())
    return absl::InvalidArgumentError(absl::StrCat(name, ": ", found, " tensors, expected ", schema.size()));
  return absl::OkStatus();
}

// OK unless the lease has stochastic steps that are none of its sampler's.
absl::Status CheckWindow(const v1::Lease& lease) {
  if (!lease.has_stochastic()) return absl::OkStatus();
  return Annotate(CheckStochasticSteps(lease.stochastic(), lease.sampler().steps()), "its lease");
}

absl::Status CheckLogProbs(const v1::Lease& lease, const GroupShape& shape, const at::Tensor& log_probs) {
  const v1::StochasticSteps& window = lease.stochastic();
  const std::vector<float> sigmas =
      FlowMatchSigmas(lease.sampler().steps(), shape.scheduler_shift, shape.num_train_timesteps);
  const int64_t samples = log_probs.size(0), dims = shape.channels * shape.latent_height * shape.latent_width;
  for (int64_t i = 0; i < log_probs.size(1); ++i) {
    const int step = static_cast<int>(window.first() + i);
    at::Tensor mean_squares = at::empty({samples}, at::kDouble);
    for (int64_t k = 0; k < samples; ++k) {
      mean_squares[k] =
          StepNoiseMeanSquare(lease.noise_seed(), lease.group_id(), static_cast<uint32_t>(k), step, dims);
    }
    const NoiseLogProb expected =
        LogProbOfNoise(MakeSdeStep(window.kind(), window.noise_level(), at::full({1}, sigmas[step]),
                                   at::full({1}, sigmas[step + 1])),
                       mean_squares);
    for (int64_t k = 0; k < samples; ++k) {
      const double brought = log_probs[k][i].item<double>(), value = expected.value[k].item<double>();
      if (const double most = expected.tolerance[k].item<double>(); std::abs(brought - value) > most) {
        return absl::InvalidArgumentError(
            absl::StrCat("log_probs of sample ", k, ", step ", step, ": ", brought,
                         ", but the noise of that step comes to ", value, ", and no more than ", most,
                         " from it is rounding"));
      }
    }
  }
  return absl::OkStatus();
}

}  // namespace

Refusal CheckHeader(const v1::GroupHeader& header, const v1::Lease& lease, const v1::PolicyVersion& policy,
                    const GroupShape& shape) {
  const std::string group = absl::StrCat("group ", lease.group_id(), ": ");
  if (header.policy_version() != lease.policy_version()) {
    return {absl::FailedPreconditionError(absl::StrCat(group, "sampled by policy version ", header.policy_version(),
                                                       ", leased for ", lease.policy_version())),
            "wrong_version"};
  }
  if (header.policy_sha256() != policy.sha256()) {
    return {absl::FailedPreconditionError(absl::StrCat(group, "sampled by an adapter with digest ",
                                                       Hex(header.policy_sha256()), "..., version ", policy.version(),
                                                       " has ", Hex(policy.sha256()), "...")),
            "wrong_digest"};
  }
  if (header.bound_modules() != policy.modules()) {
    return {absl::FailedPreconditionError(absl::StrCat(group, "the adapter was bound to ", header.bound_modules(),
                                                       " modules, it has ", policy.modules())),
            "unbound_adapter"};
  }
  if (header.reward_spec_version() != lease.reward_spec().version()) {
    return {absl::FailedPreconditionError(absl::StrCat(group, "scored under reward spec ", header.reward_spec_version(),
                                                       ", leased under ", lease.reward_spec().version())),
            "wrong_reward_spec"};
  }
  if (header.samples_size() != static_cast<int>(lease.samples())) {
    return {absl::InvalidArgumentError(
                absl::StrCat(group, header.samples_size(), " samples' scores, leased for ", lease.samples())),
            "wrong_shape"};
  }
  for (const v1::SampleScores& sample : header.samples()) {
    if (sample.terms_size() != lease.reward_spec().terms_size()) {
      return {absl::InvalidArgumentError(absl::StrCat(group, "a sample has ", sample.terms_size(),
                                                      " scores, the reward spec has ", lease.reward_spec().terms_size(),
                                                      " terms")),
              "wrong_shape"};
    }
  }
  if (const absl::Status rewards = CheckRewards(header, lease.reward_spec()); !rewards.ok()) {
    return {Annotate(rewards, absl::StrCat("group ", lease.group_id(), " of actor ", header.actor_id())), "bad_reward"};
  }
  if (const absl::Status window = CheckWindow(lease); !window.ok())
    return {Annotate(window, absl::StrCat("group ", lease.group_id())), "wrong_shape"};
  if (const uint64_t most = MaxBlobBytes(GroupSchema(lease, shape)); header.blob().size() > most) {
    return {absl::InvalidArgumentError(absl::StrCat(group, "announces ", header.blob().size(),
                                                    " bytes; no group of this lease has more than ", most)),
            "too_large"};
  }
  return {};
}

absl::StatusOr<Group> DecodeGroup(const v1::GroupHeader& header, std::string blob, const v1::Lease& lease,
                                  const GroupShape& shape, std::string* cause) {
  *cause = "malformed";
  const std::string name = absl::StrCat("group ", lease.group_id());
  FLOWAWR_ASSIGN_OR_RETURN(const SafetensorsFile file, SafetensorsFile::Parse(std::move(blob), name));
  *cause = "wrong_shape";
  const std::vector<GroupTensor> schema = GroupSchema(lease, shape);
  Group group;
  group.lease = lease;
  group.header = header;
  FLOWAWR_RETURN_IF_ERROR(TakeTensors(file, schema, name, &group));
  for (const GroupTensor& expected : schema) {
    if (expected.greatest == 0) continue;
    const absl::Status range = CheckRange(group.*expected.field, expected.greatest, expected.name, cause);
    if (!range.ok()) return Annotate(range, absl::StrCat(name, " of actor ", header.actor_id()));
  }
  if (group.log_probs.defined()) {
    *cause = "wrong_log_prob";
    const absl::Status known = CheckLogProbs(lease, shape, group.log_probs);
    if (!known.ok()) return Annotate(known, absl::StrCat(name, " of actor ", header.actor_id()));
  }
  const int64_t samples = lease.samples();
  const int terms = lease.reward_spec().terms_size();
  group.rewards = at::empty({terms, samples}, at::kDouble);
  for (int term = 0; term < terms; ++term) {
    for (int k = 0; k < samples; ++k) {
      const v1::TermScore& score = header.samples(k).terms(term);
      group.rewards[term][k] = score.has_reward() ? score.reward() : NAN;
    }
  }
  cause->clear();
  return group;
}

}  // namespace flowawr
