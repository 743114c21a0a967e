#include "common/nn/packed_linear.h"

#include <ATen/Context.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <torch/types.h>

#include <optional>
#include <string_view>

#include "common/nn/instruction_set.h"
#include "common/nn/kernel_choice.h"
#include "common/nn/products.h"

namespace flowawr {
namespace {

using Reorder = at::Tensor(const at::Tensor& weight, std::optional<int64_t> rows);
using Linear = at::Tensor(const at::Tensor& x, const at::Tensor& weight, const std::optional<at::Tensor>& bias,
                          std::string_view then, c10::List<std::optional<at::Scalar>> scalars,
                          std::optional<std::string_view> algorithm);
using LinearBinary = at::Tensor(const at::Tensor& x, const at::Tensor& other, const at::Tensor& weight,
                                const std::optional<at::Tensor>& bias, std::string_view then);

// LibTorch registers oneDNN's fused products for its compiler (torch.compile); they have no C++ declaration.
struct OneDnn {
  c10::TypedOperatorHandle<Reorder> reorder;
  c10::TypedOperatorHandle<Linear> linear;
  c10::TypedOperatorHandle<LinearBinary> linear_binary;
};

// Null where this LibTorch was built without them.
const OneDnn* FindOneDnn() {
  static const std::optional<OneDnn> found = []() -> std::optional<OneDnn> {
    if (!at::globalContext().hasMKLDNN()) return std::nullopt;
    auto& dispatcher = c10::Dispatcher::singleton();
    const auto reorder = dispatcher.findSchema({"mkldnn::_reorder_linear_weight", ""});
    const auto linear = dispatcher.findSchema({"mkldnn::_linear_pointwise", ""});
    const auto linear_binary = dispatcher.findSchema({"mkldnn::_linear_pointwise", "binary"});
    if (!reorder || !linear || !linear_binary) return std::nullopt;
    return OneDnn{reorder->typed<Reorder>(), linear->typed<Linear>(), linear_binary->typed<LinearBinary>()};
  }();
  return found ? &*found : nullptr;
}

// The operations that may follow a product have no parameters here.
const c10::List<std::optional<at::Scalar>>& NoScalars() {
  static const c10::List<std::optional<at::Scalar>> none;
  return none;
}

std::optional<at::Tensor> IfDefined(const at::Tensor& x) { return x.defined() ? std::optional(x) : std::nullopt; }

}  // namespace

// Measured with LibTorch 2.13 on one thread of Zen 4, 257 rows, GFLOP/s packed and not: f32 108 and 93 on AVX-512, 100
// and 95 on AVX2; bfloat16 224 and 200. Products that are widened (products.h) are not packed.
bool PackedLinear::Packs(at::ScalarType dtype) {
  if (FindOneDnn() == nullptr || (dtype == at::kBFloat16 && kernels::WidensBf16Products())) return false;
  switch (kernels::ActiveInstructionSet()) {
    case kernels::InstructionSet::kAvx2:
    case kernels::InstructionSet::kAvx512:
    case kernels::InstructionSet::kAvx512Bf16:
      return dtype == at::kFloat || dtype == at::kBFloat16;
    default:
      return false;
  }
}

PackedLinear::PackedLinear(const at::Tensor& weight, const at::Tensor& bias, int64_t rows) : bias_(bias) {
  if (rows > 0 && weight.is_cpu() && Packs(weight.scalar_type())) {
    packed_ = FindOneDnn()->reorder.call(weight.contiguous(), rows);
  } else {
    weight_ = weight;
  }
}

at::Tensor PackedLinear::Forward(const at::Tensor& x) const {
  if (!packed_.defined()) return AffineProduct(x, weight_, bias_);
  return FindOneDnn()->linear.call(x, packed_, IfDefined(bias_), "none", NoScalars(), "");
}

at::Tensor PackedLinear::ForwardGelu(const at::Tensor& x) const {
  if (!packed_.defined()) return at::gelu(Forward(x));
  return FindOneDnn()->linear.call(x, packed_, IfDefined(bias_), "gelu", NoScalars(), "none");
}

at::Tensor PackedLinear::ForwardAdd(const at::Tensor& x, const at::Tensor& other) const {
  if (!packed_.defined()) return other + Forward(x);
  return FindOneDnn()->linear_binary.call(x, other, packed_, IfDefined(bias_), "add");
}

}  // namespace flowawr
