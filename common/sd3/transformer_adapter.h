// How a LoRA adapter meets the transformer's fused layers.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "common/nn/lora_adapter.h"
#include "common/nn/lora_linear.h"
#include "common/sd3/transformer.h"

namespace flowawr {

struct BoundAdapterState {
  struct Site {
    const FrozenLinear* linear = nullptr;
    LinearLora lora;
    int64_t a_size = 0;  // floats of its stacked A and B
    int64_t b_size = 0;
  };
  std::optional<LoraAdapter> adapter;  // absent if it was imported
  int64_t modules = 0;
  bool trains = false;
  std::vector<Site> sites;  // in the order of the adapter's layout, which they cover
};

// The adapter during one forward pass; a null `bound` is none.
class ActiveAdapter {
 public:
  explicit ActiveAdapter(const BoundAdapterState* bound);

  at::Tensor operator()(const FrozenLinear& linear, const at::Tensor& x) const;

  // See LinearForGradient.
  at::Tensor ForGradient(const FrozenLinear& linear, const at::Tensor& x) const;

  // The matrices of `linears` that gradients are wanted of: A, then B, of one after another.
  std::vector<at::Tensor> TrainedMatrices(const std::vector<const FrozenLinear*>& linears) const;

  // The same adapter with other tensors in their place, of the same values.
  ActiveAdapter WithMatrices(const std::vector<const FrozenLinear*>& linears,
                             const std::vector<at::Tensor>& matrices) const;

 private:
  const LinearLora* Find(const FrozenLinear& linear) const;

  std::unordered_map<const FrozenLinear*, LinearLora> by_linear_;
};

// The modules of `linears` that end with one of the suffixes, in order.
absl::StatusOr<std::shared_ptr<const LoraLayout>> LayoutFor(const std::vector<const FrozenLinear*>& linears,
                                                            const std::vector<std::string>& target_suffixes,
                                                            int64_t rank, double alpha);

// See Transformer::Bind and BindMerged.
absl::StatusOr<std::shared_ptr<const BoundAdapterState>> BindTo(const std::vector<const FrozenLinear*>& linears,
                                                                const LoraAdapter& adapter, bool trains);

// See Transformer::BindMerged.
absl::StatusOr<std::shared_ptr<const BoundAdapterState>> BindImported(const std::vector<const FrozenLinear*>& linears,
                                                                      const std::vector<WeightedLora>& adapters);

}  // namespace flowawr
