// A device that fails.
#pragma once

namespace flowawr::fake_device {

// While one lives, whatever is asked of the devices ends with the error of one that failed, as it does on CUDA until the
// process ends. LibTorch asks as well: when pinned memory is freed that a device was to copy from or to, from a destructor,
// where the error ends the process.
class Failure {
 public:
  Failure();
  ~Failure();
  Failure(const Failure&) = delete;
  Failure& operator=(const Failure&) = delete;
};

// For the device itself: c10::AcceleratorError while there is a Failure. Thread-safe.
void CheckNotFailed();

}  // namespace flowawr::fake_device
