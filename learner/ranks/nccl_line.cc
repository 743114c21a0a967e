// libflowawr_nccl.so: NCCL's send and receive between two processes. NCCL itself is opened at run time: LibTorch's CUDA
// build brings it.
//
// NCCL by itself waits for ever for an end that is gone. So its communicator is made not to block, everything is asked for
// again and again until a deadline, and then given up. LibTorch's own ProcessGroupNCCL has a watchdog that ends the process
// instead of the line.
#include <dlfcn.h>
#include <nccl.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <exception>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

#include <c10/core/DeviceGuard.h>
#include <c10/core/Event.h>
#include <c10/core/impl/VirtualGuardImpl.h>
#include <c10/util/intrusive_ptr.h>
#include <torch/csrc/distributed/c10d/Store.hpp>
#include <torch/types.h>

#include "learner/ranks/nccl_library.h"

namespace flowawr {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::chrono::microseconds kAskEvery(100);
constexpr std::chrono::milliseconds kLookEvery(20);
constexpr char kIdKey[] = "id";

void Write(const std::string& words, char* text, size_t size) { std::snprintf(text, size, "%s", words.c_str()); }

// What of NCCL is called.
struct Nccl {
  decltype(&ncclGetUniqueId) get_unique_id = nullptr;
  decltype(&ncclCommInitRankConfig) init = nullptr;
  decltype(&ncclCommGetAsyncError) get_async_error = nullptr;
  decltype(&ncclCommAbort) abort = nullptr;
  decltype(&ncclSend) send = nullptr;
  decltype(&ncclRecv) receive = nullptr;
  decltype(&ncclGetErrorString) get_error_string = nullptr;
  decltype(&ncclGetLastError) get_last_error = nullptr;
  std::string why_not;
};

Nccl Load() {
  Nccl nccl;
  void* const handle = dlopen("libnccl.so.2", RTLD_NOW | RTLD_LOCAL);
  if (handle == nullptr) {
    const char* const problem = dlerror();
    nccl.why_not = problem == nullptr ? "libnccl.so.2 cannot be opened" : problem;
    return nccl;
  }
  const auto find = [&](const char* name, auto* function) {
    *function = reinterpret_cast<std::remove_pointer_t<decltype(function)>>(dlsym(handle, name));
    if (*function == nullptr) nccl.why_not.assign("libnccl.so.2 is too old: it has no ").append(name);
  };
  find("ncclGetUniqueId", &nccl.get_unique_id);
  find("ncclCommInitRankConfig", &nccl.init);
  find("ncclCommGetAsyncError", &nccl.get_async_error);
  find("ncclCommAbort", &nccl.abort);
  find("ncclSend", &nccl.send);
  find("ncclRecv", &nccl.receive);
  find("ncclGetErrorString", &nccl.get_error_string);
  find("ncclGetLastError", &nccl.get_last_error);
  return nccl;
}

const Nccl& TheNccl() {
  static const Nccl nccl = Load();
  return nccl;
}

class NcclLine final : public DeviceLine {
 public:
  NcclLine(c10::intrusive_ptr<c10d::Store> store, int number, at::Device device)
      : store_(std::move(store)), number_(number), device_(device), guard_(device.type()) {}
  ~NcclLine() override { GiveUp(); }

  at::Device device() const override { return device_; }

  std::string Send(const at::Tensor& tensor, std::chrono::milliseconds limit) override {
    return Run(limit, [&](cudaStream_t stream) {
      return nccl_.send(tensor.const_data_ptr(), tensor.nbytes(), ncclUint8, Peer(), communicator_, stream);
    });
  }

  std::string Receive(const at::Tensor& tensor, std::chrono::milliseconds limit) override {
    return Run(limit, [&](cudaStream_t stream) {
      return nccl_.receive(tensor.data_ptr(), tensor.nbytes(), ncclUint8, Peer(), communicator_, stream);
    });
  }

  void Break() override { is_broken_ = true; }

 private:
  int Peer() const { return 1 - number_; }

  std::string Run(std::chrono::milliseconds limit, const std::function<ncclResult_t(cudaStream_t)>& call) {
    std::string problem = "the line has been given up";
    try {
      const c10::DeviceGuard on_device(device_);
      // What wrote the tensor; not the device, on which another line may be waiting for an end that is gone.
      guard_.synchronizeStream(guard_.getStream(device_));
      const Clock::time_point deadline = Clock::now() + limit;
      if (!is_given_up_) problem = communicator_ == nullptr ? Connect(deadline) : "";
      if (problem.empty()) problem = Exchange(deadline, call);
    } catch (const c10::Error& error) {
      problem = error.what_without_backtrace();
    } catch (const std::exception& error) {
      problem = error.what();
    }
    if (!problem.empty()) GiveUp();
    return problem;  // nothing of NCCL's touches the tensor any more
  }

  std::string Connect(Clock::time_point deadline) {
    ncclUniqueId id;
    if (number_ == 0) {
      if (const ncclResult_t result = nccl_.get_unique_id(&id); result != ncclSuccess) return Words(result);
      const auto* const bytes = reinterpret_cast<const uint8_t*>(&id);
      store_->set(kIdKey, std::vector<uint8_t>(bytes, bytes + sizeof id));
    } else {
      while (!store_->check({kIdKey})) {
        if (const std::string problem = WhyStop(deadline); !problem.empty()) return problem;
        std::this_thread::sleep_for(kLookEvery);
      }
      const std::vector<uint8_t> bytes = store_->get(kIdKey);
      if (bytes.size() != sizeof id) return "the other end has another NCCL";
      std::memcpy(&id, bytes.data(), sizeof id);
    }
    ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
    config.blocking = 0;
    const ncclResult_t result = nccl_.init(&communicator_, 2, id, number_, &config);
    return result == ncclSuccess || result == ncclInProgress ? Await(deadline, [] { return true; }) : Words(result);
  }

  // On a stream of its own, so that what computes meanwhile does not wait behind it.
  std::string Exchange(Clock::time_point deadline, const std::function<ncclResult_t(cudaStream_t)>& call) {
    const ncclResult_t result = call(static_cast<cudaStream_t>(stream_.native_handle()));
    if (result != ncclSuccess && result != ncclInProgress) return Words(result);
    // A call that is in progress has not reached the stream yet.
    if (const std::string problem = Await(deadline, [] { return true; }); !problem.empty()) return problem;
    c10::Event end(device_.type());
    end.record(stream_);
    return Await(deadline, [&] { return end.query(); });
  }

  // Until NCCL has no call in progress and `is_done`.
  std::string Await(Clock::time_point deadline, const std::function<bool()>& is_done) const {
    while (true) {
      ncclResult_t state = ncclSuccess;
      if (const ncclResult_t result = nccl_.get_async_error(communicator_, &state); result != ncclSuccess) return Words(result);
      if (state != ncclSuccess && state != ncclInProgress) return Words(state);
      if (state == ncclSuccess && is_done()) return "";
      if (const std::string problem = WhyStop(deadline); !problem.empty()) return problem;
      std::this_thread::sleep_for(kAskEvery);  // NCCL has nothing to wait on that ends
    }
  }

  std::string WhyStop(Clock::time_point deadline) const {
    if (is_broken_) return "it was broken off";
    return Clock::now() >= deadline ? "the other end did nothing within the time limit" : "";
  }

  std::string Words(ncclResult_t result) const {
    std::string words = nccl_.get_error_string(result);
    const char* const last = nccl_.get_last_error(nullptr);
    if (last != nullptr && *last != '\0') words.append(": ").append(last);
    return words;
  }

  // Ends what NCCL runs on the device as well, and waits for that: it may be writing into a tensor, whose memory LibTorch
  // would give to the next one.
  void GiveUp() {
    is_given_up_ = true;
    if (communicator_ == nullptr) return;
    c10::OptionalDeviceGuard on_device;  // NCCL sets the thread's own one again, and CUDA keeps memory there
    try {
      on_device.reset_device(device_);
    } catch (const std::exception&) {  // it failed; NCCL is given up all the same
    }
    try {
      nccl_.abort(std::exchange(communicator_, nullptr));
      guard_.synchronizeStream(stream_);
    } catch (const std::exception&) {  // a device that failed writes nothing more
    }
  }

  const Nccl& nccl_ = TheNccl();
  const c10::intrusive_ptr<c10d::Store> store_;
  const int number_;
  const at::Device device_;
  const c10::impl::VirtualGuardImpl guard_;
  const c10::Stream stream_ = guard_.getStreamFromGlobalPool(device_);
  ncclComm_t communicator_ = nullptr;
  bool is_given_up_ = false;
  std::atomic<bool> is_broken_ = false;
};

// The driver's functions, which return 0 when all is well.
bool ReadUuid(int index, std::string* uuid) {
  void* const driver = dlopen("libcuda.so.1", RTLD_LAZY | RTLD_LOCAL);
  if (driver == nullptr) return false;
  const auto get = reinterpret_cast<int (*)(int*, int)>(dlsym(driver, "cuDeviceGet"));
  const auto get_uuid = reinterpret_cast<int (*)(unsigned char*, int)>(dlsym(driver, "cuDeviceGetUuid"));
  int device = 0;
  unsigned char bytes[16];
  if (get == nullptr || get_uuid == nullptr || get(&device, index) != 0 || get_uuid(bytes, device) != 0) return false;
  *uuid = "GPU-";
  for (const unsigned char byte : bytes) {
    char digits[3];
    std::snprintf(digits, sizeof digits, "%02x", byte);
    *uuid += digits;
  }
  return true;
}

bool Device(int index, char* text, size_t size) {
  if (!TheNccl().why_not.empty()) {
    Write(TheNccl().why_not, text, size);
    return false;
  }
  std::string uuid;
  const bool is_read = ReadUuid(index, &uuid);
  Write(is_read ? uuid : "the NVIDIA driver does not tell the device's name", text, size);
  return is_read;
}

DeviceLine* Line(const c10::intrusive_ptr<c10d::Store>& store, int number, int index, char* text, size_t size) {
  try {
    if (TheNccl().why_not.empty())
      return new NcclLine(store, number, at::Device(at::kCUDA, static_cast<c10::DeviceIndex>(index)));
    Write(TheNccl().why_not, text, size);
  } catch (const std::exception& error) {
    Write(error.what(), text, size);
  }
  return nullptr;
}

}  // namespace
}  // namespace flowawr

// The names of nccl_library.h.
extern "C" {
__attribute__((visibility("default"))) bool flowawr_nccl_device_v1(int index, char* text, size_t size) {
  return flowawr::Device(index, text, size);
}
__attribute__((visibility("default"))) flowawr::DeviceLine* flowawr_nccl_line_v1(
    const c10::intrusive_ptr<c10d::Store>& store, int number, int index, char* text, size_t size) {
  return flowawr::Line(store, number, index, text, size);
}
}
