#include "common/tensor/image_tensor.h"

#include <torch/types.h>

#include "common/tensor/transfer.h"

namespace flowawr {

at::Tensor LevelsOf(const at::Tensor& images) {
  TORCH_CHECK(images.dim() == 4 && images.size(1) == 3, "images must be [B, 3, H, W], got ", images.sizes());
  const at::Tensor levels = images.detach().to(at::kFloat).nan_to_num(0.0).clamp(0, 1).mul(255).round();
  return levels.to(at::kByte).permute({0, 2, 3, 1}).contiguous();
}

std::vector<Image> ImagesFromLevels(const at::Tensor& levels) {
  const int height = levels.size(1), width = levels.size(2);
  const size_t image_bytes = size_t{3} * height * width;
  std::vector<Image> result;
  for (int64_t i = 0; i < levels.size(0); ++i) {
    const char* begin = static_cast<const char*>(levels.const_data_ptr()) + i * image_bytes;
    result.push_back({height, width, std::string(begin, image_bytes)});
  }
  return result;
}

std::vector<Image> ImagesFromTensor(const at::Tensor& images) {
  return ImagesFromLevels(MovedTo(LevelsOf(images), at::kCPU));
}

}  // namespace flowawr
