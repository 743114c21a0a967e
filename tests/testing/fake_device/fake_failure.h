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

// For the device itself, and thread-safe. CheckNotFailed(): c10::AcceleratorError while there is a Failure.
bool HasFailed();
void CheckNotFailed();

// Likewise, when something is to come down while the host goes on, as pictures do: FLOWAWR_FAILING_DEVICE names a file, and
// in the process that removes it the devices have failed from then on. For tests that start programs.
void FailIfTold();

}  // namespace flowawr::fake_device
