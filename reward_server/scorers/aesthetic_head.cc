#include "reward_server/scorers/aesthetic_head.h"

#include <torch/types.h>

#include <array>
#include <filesystem>
#include <system_error>

#include "absl/strings/str_cat.h"
#include "common/base/status.h"
#include "common/nn/weight_binder.h"
#include "common/tensor/weights_sha256.h"

namespace flowawr {
namespace {

constexpr std::array<int, 5> kLayers = {0, 2, 4, 6, 7};

}  // namespace

absl::StatusOr<std::unique_ptr<const AestheticHead>> AestheticHead::Load(const std::string& folder, int64_t dim) {
  std::error_code ignored;
  if (!std::filesystem::exists(folder + "/model.safetensors", ignored))
    return absl::NotFoundError(absl::StrCat(folder,
                                            "/model.safetensors is missing; tools/convert_rewards aesthetic makes "
                                            "it of sac+logos+ava1-l14-linearMSE.pth"));
  FLOWAWR_ASSIGN_OR_RETURN(WeightBinder binder, WeightBinder::Open(folder, "model", at::kFloat));
  std::unique_ptr<AestheticHead> head(new AestheticHead);
  int64_t in = dim;
  for (const int i : kLayers) {
    const std::string name = absl::StrCat("layers.", i);
    // A layer is as wide as its file says; the next one must take that.
    const auto found = binder.tensors().find(name + ".bias");
    const bool is_last = i == kLayers.back();
    const int64_t out = is_last || found == binder.tensors().end() ? 1 : found->second.numel();
    head->layers_.push_back({binder.Take(name + ".weight", {out, in}), binder.Take(name + ".bias", {out})});
    in = out;
  }
  FLOWAWR_RETURN_IF_ERROR(binder.Finish());
  FLOWAWR_ASSIGN_OR_RETURN(head->weights_sha256_, WeightsSha256(folder, "model"));
  return head;
}

at::Tensor AestheticHead::Forward(const at::Tensor& embeds) const {
  const at::NoGradGuard no_grad;
  at::Tensor x = embeds;
  for (const Layer& layer : layers_) x = at::linear(x, layer.weight, layer.bias);
  return x.squeeze(1);
}

size_t AestheticHead::memory_bytes() const {
  size_t bytes = 0;
  for (const Layer& layer : layers_) bytes += layer.weight.nbytes() + layer.bias.nbytes();
  return bytes;
}

}  // namespace flowawr
