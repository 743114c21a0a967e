// How much this process has copied between the host and its accelerators, for code without LibTorch's headers.
#pragma once

#include <cstdint>
#include <map>
#include <string>

namespace flowawr {

struct TransferredBytes {
  int64_t up = 0, down = 0;  // to the device, from it
};

// By device name, of those that something was copied to or from, since the process began. Thread-safe.
std::map<std::string, TransferredBytes> TransfersByDevice();

}  // namespace flowawr
