// How many pictures, or texts, go through a CLIP's towers together.
//
// On the CPU one, so that an embedding's bits are its own. A device would wait for launches then: it gets a batch, which
// always has as many rows; those that nobody asked for are copies. Libraries choose a kernel, and with it the order of
// a sum, by the shapes of operands. With one shape an embedding depends neither on what else is in its batch nor on how
// much; on its place there only where a library sums the rows of one product in unlike orders. Only memory that runs
// out changes the shape.
#pragma once

#include <ATen/core/Tensor.h>

#include <atomic>
#include <string>

#include "absl/functional/function_ref.h"
#include "absl/status/statusor.h"

namespace flowawr {

// Thread-safe.
class ClipBatch {
 public:
  // As many pictures as an actor sends in one call, which then fill a batch. Products of a ViT's layer have 2,000 rows.
  static constexpr int kUsual = 8;

  // `wanted` 0: kUsual. On the CPU it is 1, whatever is wanted. `owner`: for the log.
  ClipBatch(int wanted, at::Device device, std::string owner);

  int size() const { return size_; }

  // What `embed` makes by batches of `size`. When the device's memory runs out, half as many are tried, and so on; that
  // stays, and is logged. Throws what `embed` throws, also when not even one finds room.
  absl::StatusOr<at::Tensor> WithinMemory(absl::FunctionRef<absl::StatusOr<at::Tensor>(int size)> embed);

 private:
  void Halve(int size, const std::string& why);

  const at::Device device_;
  const std::string owner_;
  std::atomic<int> size_;
};

}  // namespace flowawr
