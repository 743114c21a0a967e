// A LoRA adapter: for each adapted linear layer, two small matrices A [rank, in] and B [out, rank] whose product,
// scaled by alpha / rank, is added to the layer's frozen weight.
//
// All matrices of an adapter are views of one flat f32 vector, so that AdamW, EMA, clipping, all-reduce and digests are
// single operations. The vector holds A of every module in layout order, then B of every module in the same order:
// projections that share an input and stand side by side in the layout (q, k, v) are thus one matrix without a copy.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace flowawr {

// Where SerializePeft() tells the adapter's alpha, which its matrices do not, in the metadata of its bytes.
inline constexpr char kLoraAlphaMetadata[] = "lora_alpha";

// One adapted linear layer, named as in the diffusers model: "transformer_blocks.0.attn.to_q".
struct LoraModule {
  std::string name;
  int64_t in_features = 0;
  int64_t out_features = 0;

  bool operator==(const LoraModule&) const = default;
};

struct LoraLayout {
  int64_t rank = 0;
  double alpha = 0;
  std::vector<LoraModule> modules;

  // Floats in the flat vector.
  int64_t size() const;
  // Where a module's matrices begin in the flat vector.
  int64_t OffsetOfA(size_t module) const;
  int64_t OffsetOfB(size_t module) const;
  double scale() const { return alpha / static_cast<double>(rank); }

  bool operator==(const LoraLayout&) const = default;
};

// A value with shared storage, like at::Tensor: copies share the vector, Clone does not. Safe to read from several
// threads.
class LoraAdapter {
 public:
  // As peft's "gaussian": A normal with standard deviation 1 / rank, B zero. The same bits for the same seed.
  static LoraAdapter Initialise(std::shared_ptr<const LoraLayout> layout, uint64_t seed);

  // `flat` is [layout->size()] f32, contiguous. It may require grad.
  LoraAdapter(std::shared_ptr<const LoraLayout> layout, at::Tensor flat);

  const at::Tensor& flat() const { return flat_; }
  const LoraLayout& layout() const { return *layout_; }
  const std::shared_ptr<const LoraLayout>& shared_layout() const { return layout_; }

  // Views into flat().
  at::Tensor A(size_t module) const;  // [rank, in_features]
  at::Tensor B(size_t module) const;  // [out_features, rank]

  // A detached deep copy.
  LoraAdapter Clone() const;

  // The bytes of a PEFT folder's adapter_model.safetensors; the same bytes for the same values.
  absl::StatusOr<std::string> SerializePeft() const;

  // InvalidArgument that names every missing, unexpected, mis-shaped, wrongly typed or non-finite tensor.
  static absl::StatusOr<LoraAdapter> ParsePeft(std::string bytes, std::shared_ptr<const LoraLayout> layout,
                                               const std::string& name_for_errors = "adapter_model.safetensors");
  static absl::StatusOr<LoraAdapter> ParsePeft(std::shared_ptr<const std::string> bytes,
                                               std::shared_ptr<const LoraLayout> layout,
                                               const std::string& name_for_errors = "adapter_model.safetensors");

 private:
  std::shared_ptr<const LoraLayout> layout_;
  at::Tensor flat_;
};

}  // namespace flowawr
