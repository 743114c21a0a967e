#include "common/rollout/group_schema.h"

#include <c10/core/ScalarType.h>

#include <algorithm>

#include "absl/strings/str_cat.h"

namespace flowawr {
namespace {

constexpr uint64_t kMaxSafetensorsHeader = 1 << 16;

}  // namespace

std::vector<GroupTensor> GroupSchema(const v1::Lease& lease, const GroupShape& shape) {
  const int64_t samples = lease.samples();
  const std::vector<int64_t> latent = {shape.channels, shape.latent_height, shape.latent_width};
  const auto latents = [&](std::vector<int64_t> dims) {
    dims.insert(dims.end(), latent.begin(), latent.end());
    return dims;
  };
  const auto embeds = [&](const char* name, at::Tensor GroupTensors::* field, const std::string& asked_for) {
    return GroupTensor{name, at::kFloat, {shape.max_tokens, shape.embed_dim}, 0, kMostEmbedding, field, asked_for};
  };
  const auto pooled = [&](const char* name, at::Tensor GroupTensors::* field, const std::string& asked_for) {
    return GroupTensor{name, at::kFloat, {shape.pooled_dim}, -1, kMostEmbedding, field, asked_for};
  };
  std::vector<GroupTensor> schema = {
      {"x0", at::kFloat, latents({samples}), -1, kMostLatent, &GroupTensors::x0},
      embeds("prompt_embeds", &GroupTensors::prompt_embeds, ""),
      pooled("pooled_prompt_embeds", &GroupTensors::pooled_prompt_embeds, ""),
  };
  if (lease.wants_images()) {
    schema.push_back({"images",
                      at::kByte,
                      {samples, shape.image_height, shape.image_width, 3},
                      -1,
                      0,
                      &GroupTensors::images,
                      "wants images"});
  }
  if (lease.has_stochastic()) {
    const int64_t first = lease.stochastic().first(), steps = lease.stochastic().count();
    const std::string asked_for = absl::StrCat("wants the trajectory of steps ", first, " to ", first + steps - 1);
    schema.push_back({"states", at::kFloat, latents({samples, steps + 1}), -1, kMostLatent, &GroupTensors::states,
                      asked_for});
    schema.push_back(
        {"log_probs", at::kFloat, {samples, steps}, -1, kMostLogProb, &GroupTensors::log_probs, asked_for});
  }
  if (IsGuided(lease.sampler())) {
    const std::string asked_for = absl::StrCat("wants guidance ", GuidanceScale(lease.sampler()));
    schema.push_back(embeds("negative_prompt_embeds", &GroupTensors::negative_prompt_embeds, asked_for));
    schema.push_back(pooled("negative_pooled_prompt_embeds", &GroupTensors::negative_pooled_prompt_embeds, asked_for));
  }
  std::sort(schema.begin(), schema.end(), [](const auto& a, const auto& b) { return a.name < b.name; });
  return schema;
}

uint64_t MaxBlobBytes(const std::vector<GroupTensor>& schema) {
  uint64_t bytes = kMaxSafetensorsHeader;
  for (const GroupTensor& tensor : schema) {
    uint64_t size = c10::elementSize(tensor.dtype);
    for (const int64_t dim : tensor.dims) size *= dim;
    bytes += size;
  }
  return bytes;
}

double GuidanceScale(const v1::SamplerConfig& sampler) {
  return sampler.guidance_scale() == 0 ? 1 : sampler.guidance_scale();
}

}  // namespace flowawr
