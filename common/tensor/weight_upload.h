// Copies weights from the files that they are mapped from to a device.
//
//   the file's pages --(a few threads)--> buffer 1 or 2, pinned --(the device fetches it)--> the weight
//
// While one buffer travels, the other is filled. What goes over the bus is as the file has it: another type is the
// device's work. Beside the two buffers the host holds no more of the file than is being copied into one of them.
#pragma once

#include <ATen/core/Tensor.h>
#include <c10/core/Event.h>

#include <cstdint>
#include <vector>

namespace flowawr {

// Not thread-safe; works on the calling thread's current stream of the device.
class WeightUpload {
 public:
  static constexpr int64_t kBufferBytes = int64_t{16} << 20;

  explicit WeightUpload(at::Device device);
  ~WeightUpload();
  WeightUpload(const WeightUpload&) = delete;
  WeightUpload& operator=(const WeightUpload&) = delete;

  // destination := source, in the destination's type, which may be another one. `destination` is contiguous and on the
  // device; `source` is on the host, floating-point, of as many elements. When it returns, the source has been read,
  // and its pages are given back if it views a mapped file; the copy may still be under way on the stream.
  void Copy(const at::Tensor& destination, const at::Tensor& source);

  // Returns when all copies, and what else was asked of the stream, are done: then any stream may read the weights.
  void Await();

 private:
  struct Buffer {
    at::Tensor bytes;  // pinned
    c10::Event sent;   // when the device has fetched what was put there last
  };

  // Room in a buffer that the device does not read any more, for as many of `count` values as there is.
  at::Tensor Room(int64_t count, at::ScalarType dtype);
  void UseOtherBuffer();
  c10::Stream CurrentStream() const;

  const at::Device device_;
  std::vector<Buffer> buffers_;  // two
  size_t filling_ = 0;
  int64_t filled_bytes_ = 0;
};

}  // namespace flowawr
