#include "cli/latents_file.h"

#include <ATen/ops/isfinite.h>
#include <ATen/ops/stack.h>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/base/status.h"
#include "common/tensor/safetensors.h"

namespace flowawr {
namespace {

constexpr char kName[] = "latents";

}  // namespace

absl::StatusOr<at::Tensor> ReadLatentsFile(const std::string& file) {
  FLOWAWR_ASSIGN_OR_RETURN(const SafetensorsFile tensors, SafetensorsFile::Open(file));
  if (const auto unusable = tensors.unusable().find(kName); unusable != tensors.unusable().end())
    return absl::InvalidArgumentError(absl::StrCat(file, ": tensor \"", kName, "\" is ", unusable->second));
  auto found = tensors.tensors().find(kName);
  if (found == tensors.tensors().end() && tensors.tensors().size() == 1) found = tensors.tensors().begin();
  if (found == tensors.tensors().end())
    return absl::InvalidArgumentError(
        absl::StrCat(file, ": holds ", tensors.tensors().size(), " tensors, none of them named \"", kName,
                     "\"; initial noise is one tensor [images, channels, height, width]"));
  const at::Tensor& latents = found->second;
  if (latents.dim() != 4 || latents.numel() == 0 || !latents.is_floating_point())
    return absl::InvalidArgumentError(
        absl::StrCat(file, ": tensor \"", found->first, "\" is ", c10::toString(latents.scalar_type()), " [",
                     absl::StrJoin(latents.sizes(), ","), "], expected floats [images, channels, height, width]"));
  const at::Tensor wide = latents.to(at::kFloat);
  if (!at::isfinite(wide).all().item<bool>())
    return absl::InvalidArgumentError(
        absl::StrCat(file, ": tensor \"", found->first, "\" has values that are not finite"));
  return wide;
}

absl::Status WriteLatentsFile(const std::string& file, const std::vector<at::Tensor>& latents,
                              const std::map<std::string, std::string>& metadata) {
  return WriteSafetensors(file, {{kName, at::stack(latents)}}, metadata);
}

}  // namespace flowawr
