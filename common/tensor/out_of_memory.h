// Which errors of LibTorch say that memory ran out.
#pragma once

#include <c10/util/Exception.h>

namespace flowawr {

// Of a device's memory, of what the CUDA driver gives besides (pinned memory, a context, a graph), or of cuBLAS's and cuDNN's
// own. Nothing is broken by it: the same work in smaller pieces may succeed. Pure.
bool SaysOutOfMemory(const c10::Error& error);

}  // namespace flowawr
