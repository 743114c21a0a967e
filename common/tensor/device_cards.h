// What the cards of the accelerators in use say of themselves, for code without LibTorch's headers.
#pragma once

#include <map>
#include <string>

#include "common/tensor/nvml.h"

namespace flowawr {

// By device name, of those NVIDIA cards from which this process has taken memory; none where NVML is not there. Never
// fails and never throws; thread-safe.
std::map<std::string, CardState> CardsInUse();

}  // namespace flowawr
