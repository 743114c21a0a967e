// A pretend accelerator for machines that have none: LibTorch's devices `fake:0` and `fake:1`.
//
// What it catches: its memory cannot be read or written by the host (a raw pointer dies with SIGSEGV), an operation on
// operands of the host and the device, or of two devices, is refused as CUDA refuses it, what crosses over is counted, and
// what one stream uses before another has finished with it is refused (fake_streams.h). What it cannot show: it computes at
// once and with the CPU's arithmetic, so nothing overlaps, no race within a kernel, no speed.
//
// A shared library: linked into a test, or loaded into an unmodified program by LD_PRELOAD, it is the machine's
// accelerator from then on.
#pragma once

#include <c10/core/Device.h>

#include <cstdint>
#include <map>
#include <set>
#include <string>

namespace flowawr::fake_device {

// False when FLOWAWR_TEST_DEVICE names another device: the process then has the machine's own accelerators, which
// LibTorch would not look for beside this one.
bool IsThere();

at::Device Device(int index = 0);

// Where the host finds what is at an address of the device, for kernels that the host computes in a device's place; null
// stays null. Throws when the address is not of the device's memory. Thread-safe.
const void* HostAddress(const void* address);

struct Counts {
  int64_t uploads = 0, uploaded_bytes = 0;      // from the host
  int64_t downloads = 0, downloaded_bytes = 0;  // to the host
  int64_t syncs = 0;                            // reads of one value, waits for a stream or the device
  int64_t peak_bytes = 0;                       // of all that was there at once
  int64_t moved_bytes = 0;                      // operands that operations and copies on the device read, and what they wrote
  std::map<std::string, int64_t> operations;    // that reached the device, by name: aten::mm
};

// Since the last call, of all threads and both devices. Thread-safe.
Counts TakeCounts();
// The devices on which a context was made since the last call: where memory was allocated, or a thread was set to. CUDA keeps
// some half a GB for each, and a thread's device is the first unless it was set to another. LibTorch's guards end without
// a context there; its events do not, as they set the thread's own device again, or are asked of CUDA on it. Thread-safe.
std::set<int> TakeContexts();
// How many streams were ever asked to do anything, the default ones included. Thread-safe.
int StreamsUsed();
// The names of all operations that ever reached a device. Thread-safe.
std::set<std::string> AllOperations();

}  // namespace flowawr::fake_device
