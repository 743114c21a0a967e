// An adapter beside a bfloat16 layer on a device that is not the CPU, by the pretend one of tests/testing/fake_device.
#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/types.h>

#include <string>
#include <vector>

#include "common/nn/lora_linear.h"
#include "tests/testing/fake_device/cuda_kernels.h"
#include "tests/testing/fake_device/fake_device.h"
#include "tests/testing/tensor_error.h"

namespace flowawr {
namespace {

using fake_device::TakeCounts;

constexpr int64_t kRows = 512, kIn = 256, kOut = 3 * kIn, kRank = 16;
constexpr double kScale = 1.7;

// Queries, keys and values of two samples; the adapter is on queries and values.
class LoraLinearOnDeviceTest : public testing::Test {
 protected:
  LoraLinearOnDeviceTest() {
    linear_ = {.names = {"q", "k", "v"}, .widths = {kIn, kIn, kIn}, .weight = There(weight_), .bias = There(bias_)};
    lora_.A = A_.to(kFake);
    lora_.B = B_.to(kFake);
    lora_.parts = {{0, kIn}, {2 * kIn, kIn}};
    lora_.scale = kScale;
    PackLora(linear_, lora_);
  }

  at::Tensor Random(at::IntArrayRef sizes, double size) { return at::randn(sizes, generator_).mul_(size); }
  // A value of bfloat16, so that both sides begin with the same numbers.
  at::Tensor Rounded(at::IntArrayRef sizes, double size) {
    return Random(sizes, size).to(at::kBFloat16).to(at::kFloat);
  }
  static at::Tensor There(const at::Tensor& x) { return x.to(kFake).to(at::kBFloat16); }

  // x W^T + b + scale * (x A^T) B^T in f32 on the host.
  at::Tensor Expected(const at::Tensor& x, const at::Tensor& A, const at::Tensor& B) const {
    const at::Tensor h = x.matmul(A.t()) * kScale;
    const at::Tensor q = h.narrow(-1, 0, kRank).matmul(B.narrow(0, 0, kIn).t());
    const at::Tensor v = h.narrow(-1, kRank, kRank).matmul(B.narrow(0, kIn, kIn).t());
    return at::linear(x, weight_, bias_) + at::cat({q, at::zeros_like(q), v}, -1);
  }

  // Of a forward and a backward pass that wants the gradient of x.
  int64_t MovedBytes(const LinearLora* lora) const {
    const at::Tensor x = There(x_).requires_grad_(), gradient = There(gradient_);
    TakeCounts();
    const at::Tensor y = Linear(linear_, x, lora);
    std::vector<at::Tensor> wanted = {x};
    if (lora != nullptr) wanted.insert(wanted.end(), {lora->A, lora->B});
    torch::autograd::grad({y}, wanted, {gradient});
    return TakeCounts().moved_bytes;
  }

  static inline const at::Device kFake = fake_device::Device();
  at::Generator generator_ = at::make_generator<at::CPUGeneratorImpl>(5);
  const at::Tensor weight_ = Rounded({kOut, kIn}, 0.05), bias_ = Rounded({kOut}, 0.1);
  const at::Tensor A_ = Random({2 * kRank, kIn}, 0.05), B_ = Random({2 * kIn, kRank}, 0.05);
  const at::Tensor x_ = Rounded({2, kRows / 2, kIn}, 1), gradient_ = Rounded({2, kRows / 2, kOut}, 1);
  FrozenLinear linear_;
  LinearLora lora_;
};

TEST_F(LoraLinearOnDeviceTest, GivesTheSumAndItsGradients) {
  const at::Tensor here[] = {x_.clone().requires_grad_(), A_.clone().requires_grad_(), B_.clone().requires_grad_()};
  const at::Tensor wanted = Expected(here[0], here[1], here[2]);
  const std::vector<at::Tensor> expected = torch::autograd::grad({wanted}, {here[0], here[1], here[2]}, {gradient_});

  const at::Tensor x = There(x_).requires_grad_();
  lora_.A.requires_grad_();
  lora_.B.requires_grad_();
  const at::Tensor y = Linear(linear_, x, &lora_);
  const std::vector<at::Tensor> actual = torch::autograd::grad({y}, {x, lora_.A, lora_.B}, {There(gradient_)});
  EXPECT_LT(RelativeError(y, wanted), 4e-3);
  for (size_t i = 0; i < actual.size(); ++i) EXPECT_LT(RelativeError(actual[i], expected[i]), 6e-3) << i;
  EXPECT_EQ(actual[1].scalar_type(), at::kFloat);
  EXPECT_EQ(actual[2].scalar_type(), at::kFloat);

  // Computed again where nothing reads the values, as for checkpointed blocks: to the bit.
  const at::Tensor again = LinearForGradient(linear_, x, &lora_);
  const std::vector<at::Tensor> same = torch::autograd::grad({again}, {x, lora_.A, lora_.B}, {There(gradient_)});
  for (size_t i = 0; i < same.size(); ++i) EXPECT_TRUE(same[i].to(at::kCPU).equal(actual[i].to(at::kCPU))) << i;
}

// The layer's input and output are read and written as they are, in bfloat16: no copy of them is as wide as f32.
TEST_F(LoraLinearOnDeviceTest, TheAdapterMovesFewBytesBesideTheLayers) {
  const int64_t base = MovedBytes(nullptr);
  lora_.A.requires_grad_();
  lora_.B.requires_grad_();
  const int64_t adapter = MovedBytes(&lora_) - base;
  constexpr int64_t kBytesOfX = 2 * kRows * kIn, kBytesOfAdapted = 2 * kRows * 2 * kIn;
  // Forward x once and the adapted outputs twice; backward both gradients twice and x once.
  const int64_t activations = (1 + 3) * kBytesOfX + (2 + 2) * kBytesOfAdapted;
  EXPECT_LT(adapter, activations * 5 / 4) << "a quarter for the adapter's own matrices and what is of its rank";
  RecordProperty("bytes_of_the_adapter", std::to_string(adapter));
  RecordProperty("bytes_of_the_layer", std::to_string(base));
}

}  // namespace
}  // namespace flowawr
