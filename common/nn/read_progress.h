// How those who wait learn how far the reading of weights has come.
#pragma once

#include <cstdint>
#include <functional>

namespace flowawr {

// Called on the thread that reads: bytes read so far of the files of one model. The last call has them all.
using ReadProgress = std::function<void(int64_t bytes, int64_t total)>;

}  // namespace flowawr
