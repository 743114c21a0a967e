#include "common/tensor/convert.h"

#include <torch/types.h>

#include <algorithm>
#include <atomic>
#include <thread>
#include <vector>

#include "common/base/large_pages.h"
#include "common/base/usable_cores.h"
#include "common/tensor/safetensors.h"

namespace flowawr {
namespace {

constexpr int64_t kBlock = int64_t{1} << 20;  // elements that a thread takes at a time
constexpr int64_t kPiece = 32768;             // LibTorch's grain: an operation on so few stays on its thread
constexpr int64_t kMostThreads = 8;           // it is the memory that limits

void ConvertBlock(const at::Tensor& destination, const at::Tensor& source) {
  for (int64_t at = 0; at < source.numel(); at += kPiece) {
    const int64_t size = std::min(kPiece, source.numel() - at);
    destination.narrow(0, at, size).copy_(source.narrow(0, at, size));
  }
  DropPages(source);
}

}  // namespace

at::Tensor EmptyWeight(at::IntArrayRef shape, Placement placement) {
  at::Tensor tensor = at::empty(shape, at::TensorOptions(placement.dtype).device(placement.device));
  if (!placement.device.is_cpu()) return tensor;
  PreferLargePages(tensor.data_ptr(), tensor.nbytes());
  return tensor;
}

void ConvertInto(const at::Tensor& destination, const at::Tensor& source) {
  TORCH_CHECK(destination.is_contiguous() && source.is_contiguous() && destination.numel() == source.numel(),
              "ConvertInto: ", destination.sizes(), " from ", source.sizes());
  const at::Tensor to = destination.view(-1), from = source.view(-1);
  const int64_t size = from.numel();
  std::atomic<int64_t> next = 0;
  const auto work = [&] {
    const at::NoGradGuard no_grad;
    for (int64_t at; (at = next.fetch_add(kBlock)) < size;) {
      const int64_t block = std::min(kBlock, size - at);
      ConvertBlock(to.narrow(0, at, block), from.narrow(0, at, block));
    }
  };
  const int64_t blocks = (size + kBlock - 1) / kBlock;
  const int64_t threads = std::min({blocks, kMostThreads, int64_t{UsableCoresHere().count}});
  std::vector<std::thread> others;
  for (int64_t i = 1; i < threads; ++i) others.emplace_back(work);
  work();
  for (std::thread& thread : others) thread.join();
  DropPages(from);
}

}  // namespace flowawr
