// The device kernels' bodies (common/nn/cuda) run by loops of the host, as a table of kernels for the fake device: what
// a device would compute, element for element and sum for sum, but for its own instructions. They take no part in a
// recording (fake_graph.h), but refuse it.
#pragma once

#include <map>
#include <string>

namespace flowawr {

// Gives the fake device this table, for as long as the object lives.
class HostKernels {
 public:
  HostKernels();
  ~HostKernels();
  HostKernels(const HostKernels&) = delete;
  HostKernels& operator=(const HostKernels&) = delete;

  // How often each was called since the last call of this, by the name of its field. Thread-safe.
  static std::map<std::string, int> TakeCalls();
};

}  // namespace flowawr
