#include "tests/testing/fake_device/fake_device.h"

#include <ATen/EmptyTensor.h>
#include <ATen/detail/PrivateUse1HooksInterface.h>
#include <ATen/native/CPUFallback.h>
#include <ATen/ops/_reshape_alias_native.h>
#include <ATen/ops/as_strided_native.h>
#include <ATen/ops/resize_native.h>
#include <ATen/ops/unfold_native.h>
#include <ATen/ops/view_native.h>
#include <c10/core/impl/DeviceGuardImplInterface.h>
#include <torch/library.h>
#include <torch/types.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <mutex>
#include <optional>
#include <string_view>
#include <utility>

#include "tests/testing/fake_device/fake_memory.h"

namespace flowawr::fake_device {
namespace {

constexpr auto kType = c10::DeviceType::PrivateUse1;

std::mutex counts_mutex;
Counts counts;                         // under the mutex; peak_bytes is the memory's
std::set<std::string> all_operations;  // likewise

// Copies that an operation makes of its own operands are no transfers.
thread_local int operations_under_way = 0;
struct InOperation {
  InOperation() { ++operations_under_way; }
  ~InOperation() { --operations_under_way; }
};

template <typename Change>
void Count(Change change) {
  if (operations_under_way > 0) return;
  const std::lock_guard lock(counts_mutex);
  change(counts);
}

void CountOperation(const std::string& name) {
  Count([&](Counts& c) {
    ++c.operations[name];
    all_operations.insert(name);
  });
}

void CountSync() {
  Count([](Counts& c) { ++c.syncs; });
}

c10::Device Placed(std::optional<c10::Device> device) {
  const int index = device && device->has_index() ? device->index() : CurrentDevice();
  return {kType, static_cast<c10::DeviceIndex>(index)};
}

// ---- what LibTorch must know of memory

// Memory is allocated on the device that is current.
class OnDevice {
 public:
  explicit OnDevice(std::optional<c10::Device> device) : before_(CurrentDevice()) {
    SetCurrentDevice(Placed(device).index());
  }
  ~OnDevice() { SetCurrentDevice(before_); }

 private:
  const int before_;
};

constexpr c10::DispatchKeySet kKeys(c10::DispatchKey::PrivateUse1);

at::Tensor EmptyStrided(c10::IntArrayRef sizes, c10::IntArrayRef strides, std::optional<c10::ScalarType> dtype,
                        std::optional<c10::Layout>, std::optional<c10::Device> device, std::optional<bool>) {
  const OnDevice on(device);
  return at::detail::empty_strided_generic(sizes, strides, &Memory(), kKeys, c10::dtype_or_default(dtype));
}

at::Tensor Empty(c10::IntArrayRef sizes, std::optional<c10::ScalarType> dtype, std::optional<c10::Layout>,
                 std::optional<c10::Device> device, std::optional<bool>, std::optional<c10::MemoryFormat> format) {
  const OnDevice on(device);
  return at::detail::empty_generic(sizes, &Memory(), kKeys, c10::dtype_or_default(dtype), format);
}

at::Tensor CopyFrom(const at::Tensor& from, const at::Tensor& to, bool) {
  Count([&](Counts& c) {
    if (from.is_cpu()) {
      ++c.uploads, c.uploaded_bytes += static_cast<int64_t>(from.nbytes());
    } else if (to.is_cpu()) {
      ++c.downloads, c.downloaded_bytes += static_cast<int64_t>(from.nbytes());
    } else {
      c.moved_bytes += static_cast<int64_t>(from.nbytes() + to.nbytes());
    }
  });
  const at::Tensor target = to.is_cpu() ? to : OnHost(to);
  target.copy_(from.is_cpu() ? from : OnHost(from));
  return to;
}

at::Tensor CopyFromAndResize(const at::Tensor& from, const at::Tensor& to) {
  to.resize_(from.sizes());
  return CopyFrom(from, to, false);
}

at::Scalar ReadOne(const at::Tensor& tensor) {
  CountSync();
  return at::_local_scalar_dense(OnHost(tensor));
}

at::Tensor AsStrided(const at::Tensor& t, c10::IntArrayRef sizes, c10::IntArrayRef strides, std::optional<int64_t> at) {
  return at::native::as_strided_tensorimpl(t, sizes, strides, at);
}
at::Tensor View(const at::Tensor& t, c10::IntArrayRef sizes) { return at::native::view(t, sizes); }
at::Tensor Unfold(const at::Tensor& t, int64_t dim, int64_t size, int64_t step) {
  return at::native::unfold(t, dim, size, step);
}
at::Tensor ReshapeAlias(const at::Tensor& t, c10::IntArrayRef sizes, c10::IntArrayRef strides) {
  return at::native::_reshape_alias(t, sizes, strides);
}
const at::Tensor& Resize(const at::Tensor& t, c10::IntArrayRef sizes, std::optional<at::MemoryFormat> format) {
  const OnDevice on(t.device());
  return at::native::resize_(t, sizes, format);
}

// ---- operations

// Scalars, and indices of `index`, may come from the host, as for CUDA.
void CheckOperands(const c10::OperatorHandle& op, const torch::jit::Stack& stack) {
  if (operations_under_way > 0) return;
  std::optional<c10::Device> device;
  const auto check = [&](const at::Tensor& t) {
    if (!t.defined() || (t.is_cpu() && (t.dim() == 0 || op.schema().name() == "aten::index"))) return;
    TORCH_CHECK(!device || *device == t.device(), "fake device: ", op.schema().name(), " was given tensors on ",
                device->str(), " and ", t.device().str());
    device = t.device();
  };
  const size_t arguments = op.schema().arguments().size();
  for (size_t i = stack.size() - arguments; i < stack.size(); ++i) {
    if (stack[i].isTensor()) check(stack[i].toTensor());
    if (stack[i].isTensorList())
      for (const at::Tensor& t : stack[i].toTensorVector()) check(t);
  }
}

int64_t BytesOf(const c10::IValue& value) {
  int64_t bytes = 0;
  if (value.isTensor() && value.toTensor().defined()) bytes = static_cast<int64_t>(value.toTensor().nbytes());
  if (value.isTensorList())
    for (const at::Tensor& t : value.toTensorVector()) bytes += static_cast<int64_t>(t.nbytes());
  return bytes;
}

void RunOnHost(const c10::OperatorHandle& op, torch::jit::Stack* stack) {
  CheckOperands(op, *stack);
  CountOperation(toString(op.operator_name()));
  const auto& arguments = op.schema().arguments();
  const size_t results = op.schema().returns().size();
  int64_t bytes = 0;
  for (size_t i = 0; i < arguments.size(); ++i)
    if (!arguments[i].is_out()) bytes += BytesOf(torch::jit::peek(*stack, i, arguments.size()));
  {
    const InOperation in_operation;
    at::native::cpu_fallback(op, stack);
  }
  for (size_t i = 0; i < results; ++i) bytes += BytesOf(torch::jit::peek(*stack, i, results));
  Count([&](Counts& c) { c.moved_bytes += bytes; });
}

// The CPU has no product whose result is wider than its operands; on CUDA the sums, f32, are not rounded.
at::Tensor& WideProduct(const at::Tensor& a, const at::Tensor& b, at::ScalarType type, at::Tensor& out) {
  TORCH_CHECK(a.device() == b.device() && a.device() == out.device(), "fake device: mm was given tensors on ",
              a.device().str(), ", ", b.device().str(), " and ", out.device().str());
  TORCH_CHECK(a.scalar_type() == at::kBFloat16 && b.scalar_type() == at::kBFloat16 && type == at::kFloat &&
                  out.scalar_type() == type,
              "fake device: mm with a type of its result is for bfloat16 to f32");
  CountOperation("aten::mm.dtype_out");
  Count([&](Counts& c) { c.moved_bytes += static_cast<int64_t>(a.nbytes() + b.nbytes() + out.nbytes()); });
  const InOperation in_operation;
  OnHost(out).copy_(OnHost(a).to(type).mm(OnHost(b).to(type)));
  return out;
}

// Without a kernel of its own a convolution is no operation for LibTorch but an error.
at::Tensor Convolution(const at::Tensor& x, const at::Tensor& weight, const std::optional<at::Tensor>& bias,
                       c10::SymIntArrayRef stride, c10::SymIntArrayRef padding, c10::SymIntArrayRef dilation,
                       bool transposed, c10::SymIntArrayRef output_padding, c10::SymInt groups) {
  TORCH_CHECK(x.device() == weight.device(), "fake device: a convolution was given tensors on ", x.device().str(), " and ",
              weight.device().str());
  CountOperation("aten::convolution_overrideable");
  const InOperation in_operation;
  const bool has_bias = bias.has_value() && bias->defined();
  const at::Tensor y =
      at::convolution_symint(OnHost(x), OnHost(weight), has_bias ? std::optional(OnHost(*bias)) : std::nullopt, stride,
                             padding, dilation, transposed, output_padding, std::move(groups));
  const at::Tensor out = at::empty_strided(y.sizes(), y.strides(), x.options());
  OnHost(out).copy_(y);
  return out;
}

int64_t ChooseAttention(const at::Tensor&, const at::Tensor&, const at::Tensor&, const std::optional<at::Tensor>&, double,
                        bool, std::optional<double>, bool) {
  return 0;  // at::SDPBackend::math: parts that are operations of their own
}

TORCH_LIBRARY_IMPL(aten, PrivateUse1, m) {
  m.impl("empty.memory_format", Empty);
  m.impl("empty_strided", EmptyStrided);
  m.impl("_copy_from", CopyFrom);
  m.impl("_copy_from_and_resize", CopyFromAndResize);
  m.impl("_local_scalar_dense", ReadOne);
  m.impl("as_strided", AsStrided);
  m.impl("view", View);
  m.impl("unfold", Unfold);
  m.impl("_reshape_alias", ReshapeAlias);
  m.impl("resize_", Resize);
  m.impl("_fused_sdp_choice", ChooseAttention);
  m.impl("convolution_overrideable", Convolution);
  m.impl("mm.dtype_out", WideProduct);
  // One kernel each on CUDA; LibTorch would take them apart for a device that has none.
  for (const char* op : {"native_layer_norm", "native_layer_norm_backward", "native_group_norm", "_fused_rms_norm"})
    m.impl(op, torch::CppFunction::makeFromBoxedFunction<&RunOnHost>());
}

TORCH_LIBRARY_IMPL(_, PrivateUse1, m) { m.fallback(torch::CppFunction::makeFromBoxedFunction<&RunOnHost>()); }

// ---- devices, streams, events

thread_local c10::StreamId current_stream[kDevices] = {};

c10::Stream StreamOf(c10::Device device, c10::StreamId id) {
  return c10::Stream(c10::Stream::UNSAFE, Placed(device), id);
}

struct FakeGuard final : c10::impl::DeviceGuardImplInterface {
  c10::DeviceType type() const override { return kType; }
  c10::Device exchangeDevice(c10::Device device) const override {
    const c10::Device before = getDevice();
    setDevice(device);
    return before;
  }
  c10::Device getDevice() const override { return Placed(std::nullopt); }
  void setDevice(c10::Device device) const override { SetCurrentDevice(Placed(device).index()); }
  void uncheckedSetDevice(c10::Device device) const noexcept override { SetCurrentDevice(device.index()); }
  c10::DeviceIndex deviceCount() const noexcept override { return kDevices; }

  c10::Stream getStream(c10::Device device) const override {
    return StreamOf(device, current_stream[Placed(device).index()]);
  }
  c10::Stream getDefaultStream(c10::Device device) const override { return StreamOf(device, 0); }
  c10::Stream getNewStream(c10::Device device, int) const override {
    static std::atomic<c10::StreamId> next = 1;
    return StreamOf(device, next++);
  }
  c10::Stream getStreamFromGlobalPool(c10::Device device, bool) const override { return getNewStream(device, 0); }
  c10::Stream exchangeStream(c10::Stream stream) const override {
    return StreamOf(stream.device(), std::exchange(current_stream[stream.device_index()], stream.id()));
  }

  void record(void** event, const c10::Stream&, const c10::DeviceIndex, const c10::EventFlag) const override {
    static int recorded;  // all that was asked for is done
    *event = &recorded;
  }
  void block(void*, const c10::Stream&) const override {}
  bool queryEvent(void*) const override { return true; }
  void destroyEvent(void*, const c10::DeviceIndex) const noexcept override {}
  bool queryStream(const c10::Stream&) const override { return true; }
  void synchronizeStream(const c10::Stream&) const override { CountSync(); }
  void synchronizeEvent(void*) const override { CountSync(); }
  void synchronizeDevice(const c10::DeviceIndex) const override { CountSync(); }
  void recordDataPtrOnStream(const c10::DataPtr&, const c10::Stream&) const override {}
};
C10_REGISTER_GUARD_IMPL(PrivateUse1, FakeGuard);

struct FakeHooks final : at::PrivateUse1HooksInterface {
  bool isBuilt() const override { return true; }
  bool isAvailable() const override { return true; }
  bool hasPrimaryContext(c10::DeviceIndex) const override { return true; }
  c10::DeviceIndex deviceCount() const override { return kDevices; }
  c10::DeviceIndex getCurrentDevice() const override { return static_cast<c10::DeviceIndex>(CurrentDevice()); }
  void setCurrentDevice(c10::DeviceIndex index) const override { SetCurrentDevice(index); }
  c10::DeviceIndex exchangeDevice(c10::DeviceIndex index) const override {
    const c10::DeviceIndex before = getCurrentDevice();
    setCurrentDevice(index);
    return before;
  }
  c10::DeviceIndex maybeExchangeDevice(c10::DeviceIndex index) const override { return exchangeDevice(index); }
  at::Device getDeviceFromPtr(void*) const override { return Placed(std::nullopt); }
  c10::Allocator* getPinnedMemoryAllocator() const override { return c10::GetAllocator(c10::kCPU); }
  void resizePrivateUse1Bytes(const c10::Storage& storage, size_t bytes) const override {
    c10::DataPtr fresh = Memory().AllocateOn(bytes, storage.device());
    CopyAllocation(storage.data_ptr(), fresh, std::min(bytes, storage.nbytes()));
    storage.set_data_ptr_noswap(std::move(fresh));
    storage.unsafeGetStorageImpl()->set_nbytes(bytes);
  }
};

const bool is_registered = [] {
  const char* name = std::getenv("FLOWAWR_TEST_DEVICE");
  if (name != nullptr && !std::string_view(name).starts_with("fake")) return false;
  c10::SetAllocator(kType, &Memory());
  at::RegisterPrivateUse1HooksInterface(new FakeHooks);  // for ever, as LibTorch keeps it
  c10::register_privateuse1_backend("fake");
  return true;
}();

}  // namespace

bool IsThere() { return is_registered; }

at::Device Device(int index) { return {kType, static_cast<c10::DeviceIndex>(index)}; }

Counts TakeCounts() {
  const std::lock_guard lock(counts_mutex);
  counts.peak_bytes = TakePeakBytes();
  return std::exchange(counts, {});
}

std::set<std::string> AllOperations() {
  const std::lock_guard lock(counts_mutex);
  return all_operations;
}

}  // namespace flowawr::fake_device
