#include "learner/group_validator.h"

#include <torch/types.h>

#include <cmath>
#include <tuple>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "common/base/status.h"
#include "common/scoring/reward_terms.h"
#include "common/tensor/safetensors.h"

namespace flowawr {
namespace {

constexpr uint64_t kMaxSafetensorsHeader = 1 << 16;

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

// A missing tensor is the sender's fault like a mis-shaped one; NotFound would say that the lease is unknown.
absl::StatusOr<at::Tensor> Require(const SafetensorsFile& file, const std::string& name, at::ScalarType dtype,
                                   at::IntArrayRef shape) {
  absl::StatusOr<at::Tensor> tensor = file.Get(name, dtype, shape);
  if (absl::IsNotFound(tensor.status())) return absl::InvalidArgumentError(tensor.status().message());
  return tensor;
}

}  // namespace

uint64_t GroupShape::MaxBlobBytes(uint32_t samples, bool with_images) const {
  uint64_t floats = samples * channels * latent_height * latent_width + max_tokens * embed_dim + pooled_dim;
  return 4 * floats + (with_images ? samples * image_height * image_width * 3 : 0) + kMaxSafetensorsHeader;
}

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
  if (const uint64_t most = shape.MaxBlobBytes(lease.samples(), lease.wants_images()); header.blob().size() > most) {
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
  const int64_t samples = lease.samples();
  const auto embeds = file.tensors().find("prompt_embeds");
  if (embeds == file.tensors().end() || embeds->second.dim() != 2 || embeds->second.size(0) < 1 ||
      embeds->second.size(0) > shape.max_tokens) {
    return absl::InvalidArgumentError(
        absl::StrCat(name, ": prompt_embeds must be [1 to ", shape.max_tokens, ", ", shape.embed_dim, "]"));
  }
  Group group;
  group.lease = lease;
  group.header = header;
  FLOWAWR_ASSIGN_OR_RETURN(
      group.x0, Require(file, "x0", at::kFloat, {samples, shape.channels, shape.latent_height, shape.latent_width}));
  FLOWAWR_ASSIGN_OR_RETURN(group.prompt_embeds,
                           Require(file, "prompt_embeds", at::kFloat, {embeds->second.size(0), shape.embed_dim}));
  FLOWAWR_ASSIGN_OR_RETURN(group.pooled_prompt_embeds,
                           Require(file, "pooled_prompt_embeds", at::kFloat, {shape.pooled_dim}));
  if (lease.wants_images()) {
    FLOWAWR_ASSIGN_OR_RETURN(group.images,
                             Require(file, "images", at::kByte, {samples, shape.image_height, shape.image_width, 3}));
  }
  if (const size_t expected = lease.wants_images() ? 4 : 3, found = file.tensors().size() + file.unusable().size();
      found != expected) {
    return absl::InvalidArgumentError(absl::StrCat(name, ": ", found, " tensors, expected ", expected));
  }
  for (const auto& [tensor_name, tensor, most] :
       {std::tuple("x0", group.x0, kMostLatent), std::tuple("prompt_embeds", group.prompt_embeds, kMostEmbedding),
        std::tuple("pooled_prompt_embeds", group.pooled_prompt_embeds, kMostEmbedding)}) {
    const absl::Status range = CheckRange(tensor, most, tensor_name, cause);
    if (!range.ok()) return Annotate(range, absl::StrCat(name, " of actor ", header.actor_id()));
  }
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
