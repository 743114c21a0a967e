#include "common/tensor/determinism.h"

#include <ATen/Context.h>

#include <cstdlib>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/base/status.h"

namespace flowawr {
namespace {

constexpr char kCublasVariable[] = "CUBLAS_WORKSPACE_CONFIG";

// LibTorch itself refuses products in deterministic mode unless it is one of these two, but only at the first product.
absl::Status CheckCublas(absl::string_view field) {
  const char* const value = std::getenv(kCublasVariable);
  const absl::string_view config = value == nullptr ? "" : value;
  if (config == ":4096:8" || config == ":16:8") return absl::OkStatus();
  return absl::FailedPreconditionError(
      absl::StrCat(kCublasVariable, " is ", config.empty() ? "not set" : config,
                   " in the environment; cuBLAS gives the same bits each time only with :4096:8 or :16:8: ",
                   config.empty() ? "set" : "unset", " it", field.empty() ? "" : absl::StrCat(", or set ", field, ": false")));
}

}  // namespace

absl::Status ChooseKernels(bool deterministic, at::Device device, absl::string_view field) {
  if (device.is_cpu()) return absl::OkStatus();
  if (deterministic && device.is_cuda()) FLOWAWR_RETURN_IF_ERROR(CheckCublas(field));
  at::Context& libtorch = at::globalContext();
  // Not merely with a warning: that leaves attention's backward pass as it is.
  libtorch.setDeterministicAlgorithms(deterministic, /*warn_only=*/false);
  // LibTorch would fill all new memory with NaN besides, which costs a pass over it and guards against kernels that
  // read what nobody wrote; there are none here.
  libtorch.setDeterministicFillUninitializedMemory(false);
  libtorch.setDeterministicCuDNN(deterministic);
  libtorch.setBenchmarkCuDNN(false);  // it would choose by the time that each took just then
  libtorch.setAllowTF32CuBLAS(false);
  libtorch.setAllowTF32CuDNN(false);  // LibTorch's default for convolutions is true
  libtorch.setAllowBF16ReductionCuBLAS(/*allow_reduced_precision=*/false);  // its default lets parts of a sum be rounded
  return absl::OkStatus();
}

bool SaysNotDeterministic(const std::string& message) {
  return at::globalContext().deterministicAlgorithms() &&
         absl::StrContains(message, "does not have a deterministic implementation");
}

}  // namespace flowawr
