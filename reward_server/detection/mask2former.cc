#include "reward_server/detection/mask2former.h"

#include <torch/types.h>

#include <set>
#include <utility>

#include "absl/strings/match.h"
#include "common/base/file.h"
#include "common/base/status.h"
#include "common/tensor/checkpoint.h"
#include "common/tensor/transfer.h"
#include "common/tensor/weights_sha256.h"

namespace flowawr {
namespace {

constexpr char kStem[] = "model";

// What published files hold beside what is computed with: the loss's weights, indices that follow from the window's
// size, and the norm of a head that a backbone does not have.
void IgnoreRest(WeightBinder& binder, std::set<std::string> names) {
  for (const std::string& name : names) {
    if (name == "criterion.empty_weight" || absl::EndsWith(name, ".relative_position_index") ||
        absl::StartsWith(name, "model.pixel_level_module.encoder.swin.layernorm."))
      binder.Ignore(name);
  }
}

}  // namespace

absl::StatusOr<std::unique_ptr<const Mask2Former>> Mask2Former::Load(const std::string& folder, Placement placement,
                                                                     ReadProgress progress) {
  const std::string config_path = folder + "/config.json";
  FLOWAWR_ASSIGN_OR_RETURN(const std::string config, ReadFile(config_path, size_t{16} << 20));
  std::unique_ptr<Mask2Former> model(new Mask2Former);
  FLOWAWR_ASSIGN_OR_RETURN(model->config_, ParseMask2FormerConfig(config, config_path));
  model->placement_ = placement;
  FLOWAWR_ASSIGN_OR_RETURN(CheckpointTensors checkpoint, OpenCheckpoint(folder, kStem));
  FLOWAWR_ASSIGN_OR_RETURN(model->weights_sha256_, WeightsSha256(folder, kStem));
  std::set<std::string> names;
  for (const auto& [name, tensor] : checkpoint.tensors) {
    names.insert(name);
    model->memory_bytes_ += static_cast<size_t>(tensor.numel()) * at::elementSize(placement.dtype);
  }
  const at::NoGradGuard no_grad;
  WeightBinder binder(std::move(checkpoint.tensors), placement, checkpoint.file, std::move(progress),
                      std::move(checkpoint.unusable));
  model->backbone_ = SwinBackbone::Bind(model->config_.backbone, "model.pixel_level_module.encoder.", binder);
  model->pixel_decoder_ = PixelDecoder::Bind(model->config_, "model.pixel_level_module.decoder.", binder);
  model->mask_decoder_ = MaskDecoder::Bind(model->config_, binder);
  IgnoreRest(binder, std::move(names));
  FLOWAWR_RETURN_IF_ERROR(binder.Finish());
  return std::unique_ptr<const Mask2Former>(std::move(model));
}

absl::StatusOr<MaskQueries> Mask2Former::Forward(const at::Tensor& pixels, KeepGoing keep_going) const {
  const at::NoGradGuard no_grad;
  std::vector<at::Tensor> classes, masks;
  for (int64_t i = 0; i < pixels.size(0); ++i) {
    const at::Tensor image = MovedTo(pixels.narrow(0, i, 1).to(placement_.dtype), placement_.device);
    FLOWAWR_ASSIGN_OR_RETURN(const std::vector<at::Tensor> maps, backbone_.Forward(image, keep_going));
    FLOWAWR_ASSIGN_OR_RETURN(const PixelFeatures features, pixel_decoder_.Forward(maps, keep_going));
    FLOWAWR_ASSIGN_OR_RETURN(const MaskQueries queries,
                             mask_decoder_.Forward(features, pixel_decoder_.mask_projection(), keep_going));
    classes.push_back(queries.class_logits);
    masks.push_back(queries.mask_logits);
  }
  return MaskQueries{.class_logits = MovedTo(at::cat(classes), at::kCPU),
                     .mask_logits = MovedTo(at::cat(masks), at::kCPU)};
}

}  // namespace flowawr
