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
#include <functional>
#include <mutex>
#include <optional>
#include <string_view>
#include <utility>

#include "tests/testing/fake_device/fake_failure.h"
#include "tests/testing/fake_device/fake_graph.h"
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
  CheckNotFailed();
  Count([&](Counts& c) {
    ++c.operations[name];
    all_operations.insert(name);
  });
}

void CountSync() {
  CheckNotFailed();
  RefuseWhileRecording("a wait");
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

c10::Stream StreamOf(c10::Device device, c10::StreamId id) {
  return c10::Stream(c10::Stream::UNSAFE, Placed(device), id);
}
c10::Stream StreamNow(c10::Device device) { return StreamOf(device, CurrentStream(Placed(device).index())); }

bool IsOfTheDevice(const at::Tensor& tensor) { return tensor.defined() && tensor.is_privateuseone(); }

// What an operation does to its operands, on the current stream of their device.
void Use(const at::Tensor& tensor, bool is_written) {
  if (operations_under_way > 0 || !IsOfTheDevice(tensor)) return;
  if (IsRecording()) return WillUse(StreamNow(tensor.device()), tensor, is_written);
  Uses* const uses = UsesOf(tensor.storage().data_ptr());
  if (uses != nullptr) (is_written ? Write : Read)(StreamNow(tensor.device()), *uses);
}

void Use(const c10::IValue& value, bool is_written) {
  if (value.isTensor()) Use(value.toTensor(), is_written);
  if (value.isTensorList())
    for (const at::Tensor& t : value.toTensorVector()) Use(t, is_written);
}

// What an operation has just made, likewise.
void UseMade(const at::Tensor& tensor) {
  if (operations_under_way == 0 && IsRecording() && IsOfTheDevice(tensor)) return WillMake(tensor);
  Use(tensor, /*is_written=*/true);
}

void UseMade(const c10::IValue& value) {
  if (value.isTensor()) UseMade(value.toTensor());
  if (value.isTensorList())
    for (const at::Tensor& t : value.toTensorVector()) UseMade(t);
}

// `work` names its operands by Use(). What an operation asks for within itself is part of it.
void Do(const std::function<void()>& work) {
  work();
  if (operations_under_way == 0 && IsRecording()) Keep(work);
}

// Copies between the host and a device, at once and waited for, or when the stream comes to it.
void CopyAcross(const at::Tensor& from, const at::Tensor& to, bool non_blocking) {
  const bool is_upload = from.is_cpu();
  const c10::Stream stream = StreamNow((is_upload ? to : from).device());
  const at::Tensor& host = is_upload ? from : to;
  const bool is_plain = from.scalar_type() == to.scalar_type() && from.is_contiguous() && to.is_contiguous();
  if (!non_blocking || !is_plain || !IsPinned(host.const_data_ptr())) {  // LibTorch waits for it
    if (is_upload) OnHost(to).copy_(from);
    if (!is_upload) to.copy_(OnHost(from));
    return Finish(Here(stream));
  }
  const at::Tensor kept = KeptForCopy(host);
  if (is_upload) return CopyLater(stream, is_upload, [kept, to] { OnHost(to).copy_(kept); });
  CopyLater(stream, is_upload, [values = OnHost(from).clone(), kept] { kept.copy_(values); });
  FailIfTold();
}

at::Tensor CopyFrom(const at::Tensor& from, const at::Tensor& to, bool non_blocking) {
  CheckNotFailed();
  Count([&](Counts& c) {
    if (from.is_cpu()) {
      ++c.uploads, c.uploaded_bytes += static_cast<int64_t>(from.nbytes());
    } else if (to.is_cpu()) {
      ++c.downloads, c.downloaded_bytes += static_cast<int64_t>(from.nbytes());
    } else {
      c.moved_bytes += static_cast<int64_t>(from.nbytes() + to.nbytes());
    }
  });
  const bool is_between_devices = !from.is_cpu() && !to.is_cpu() && from.device() != to.device();
  const bool crosses_over = from.is_cpu() != to.is_cpu() && operations_under_way == 0;
  if (crosses_over || is_between_devices) RefuseWhileRecording("a copy from or to the host or another device");
  if (is_between_devices) WaitFor(StreamNow(from.device()), Here(StreamNow(to.device())));
  if (crosses_over) {
    Use(from, /*is_written=*/false);
    Use(to, /*is_written=*/true);
    CopyAcross(from, to, non_blocking);
    return to;
  }
  Do([from, to] {
    Use(from, /*is_written=*/false);
    Use(to, /*is_written=*/true);
    const auto on_host = [](const at::Tensor& tensor) { return tensor.is_cpu() ? tensor : OnHost(tensor); };
    on_host(to).copy_(on_host(from));
  });
  if (is_between_devices) WaitFor(StreamNow(to.device()), Here(StreamNow(from.device())));
  return to;
}

at::Tensor CopyFromAndResize(const at::Tensor& from, const at::Tensor& to) {
  to.resize_(from.sizes());
  return CopyFrom(from, to, false);
}

at::Scalar ReadOne(const at::Tensor& tensor) {
  CountSync();
  Use(tensor, /*is_written=*/false);
  Finish(Here(StreamNow(tensor.device())));
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

void Compute(const c10::OperatorHandle& op, torch::jit::Stack* stack) {
  const auto& arguments = op.schema().arguments();
  const size_t results = op.schema().returns().size();
  int64_t bytes = 0;
  for (size_t i = 0; i < arguments.size(); ++i) {
    const c10::IValue& argument = torch::jit::peek(*stack, i, arguments.size());
    if (!arguments[i].is_out()) bytes += BytesOf(argument);
    Use(argument, arguments[i].alias_info() != nullptr && arguments[i].alias_info()->isWrite());
  }
  {
    const InOperation in_operation;
    at::native::cpu_fallback(op, stack);
  }
  for (size_t i = 0; i < results; ++i) {
    const c10::IValue& result = torch::jit::peek(*stack, i, results);
    bytes += BytesOf(result);
    if (op.schema().returns()[i].alias_info() == nullptr) UseMade(result);  // else it is an argument
  }
  if (!IsRecording()) Count([&](Counts& c) { c.moved_bytes += bytes; });
}

// Into the results of the first time, which have addresses that others know.
void CopyResult(const c10::IValue& again, const c10::IValue& first) {
  if (first.isTensor() && IsOfTheDevice(first.toTensor())) {
    const at::Tensor &from = again.toTensor(), &to = first.toTensor();
    Use(to, /*is_written=*/true);
    if (from.const_data_ptr() != to.const_data_ptr()) OnHost(to).copy_(OnHost(from));
  }
  if (first.isTensorList())
    for (size_t i = 0; i < first.toTensorVector().size(); ++i)
      CopyResult(again.toTensorVector()[i], first.toTensorVector()[i]);
}

void RunOnHost(const c10::OperatorHandle& op, torch::jit::Stack* stack) {
  CheckOperands(op, *stack);
  CountOperation(toString(op.operator_name()));
  if (operations_under_way > 0 || !IsRecording()) return Compute(op, stack);
  const torch::jit::Stack arguments = torch::jit::last(*stack, op.schema().arguments().size()).vec();
  Compute(op, stack);
  const torch::jit::Stack first = torch::jit::last(*stack, op.schema().returns().size()).vec();
  Keep([op, arguments, first] {
    torch::jit::Stack again = arguments;
    Compute(op, &again);
    for (size_t i = 0; i < first.size(); ++i) CopyResult(again[i], first[i]);
  });
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
  Do([a, b, type, out] {
    for (const at::Tensor& operand : {a, b}) Use(operand, /*is_written=*/false);
    Use(out, /*is_written=*/true);
    const InOperation in_operation;
    OnHost(out).copy_(OnHost(a).to(type).mm(OnHost(b).to(type)));
  });
  return out;
}

// Without a kernel of its own a convolution is no operation for LibTorch but an error.
at::Tensor Convolution(const at::Tensor& x, const at::Tensor& weight, const std::optional<at::Tensor>& bias,
                       c10::SymIntArrayRef stride, c10::SymIntArrayRef padding, c10::SymIntArrayRef dilation,
                       bool transposed, c10::SymIntArrayRef output_padding, c10::SymInt groups) {
  TORCH_CHECK(x.device() == weight.device(), "fake device: a convolution was given tensors on ", x.device().str(), " and ",
              weight.device().str());
  RefuseWhileRecording("a convolution");
  CountOperation("aten::convolution_overrideable");
  const bool has_bias = bias.has_value() && bias->defined();
  for (const at::Tensor& operand : {x, weight, has_bias ? *bias : x}) Use(operand, /*is_written=*/false);
  at::Tensor out;
  {
    const InOperation in_operation;
    const at::Tensor y =
        at::convolution_symint(OnHost(x), OnHost(weight), has_bias ? std::optional(OnHost(*bias)) : std::nullopt, stride,
                               padding, dilation, transposed, output_padding, std::move(groups));
    out = at::empty_strided(y.sizes(), y.strides(), x.options());
    OnHost(out).copy_(y);
  }
  Use(out, /*is_written=*/true);
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

struct FakeGuard final : c10::impl::DeviceGuardImplInterface {
  c10::DeviceType type() const override { return kType; }
  c10::Device exchangeDevice(c10::Device device) const override {
    const c10::Device before = getDevice();
    setDevice(device);
    return before;
  }
  c10::Device getDevice() const override { return Placed(std::nullopt); }
  void setDevice(c10::Device device) const override {
    const int index = Placed(device).index();
    if (index == CurrentDevice()) return;
    MakeContext(index);
    SetCurrentDevice(index);
  }
  void uncheckedSetDevice(c10::Device device) const noexcept override { SetCurrentDevice(device.index()); }
  c10::DeviceIndex deviceCount() const noexcept override { return kDevices; }

  c10::Stream getStream(c10::Device device) const override {
    return StreamNow(device);
  }
  c10::Stream getDefaultStream(c10::Device device) const override { return StreamOf(device, 0); }
  c10::Stream getNewStream(c10::Device device, int) const override {
    static std::atomic<c10::StreamId> next = 1;
    return StreamOf(device, next++);
  }
  c10::Stream getStreamFromGlobalPool(c10::Device device, bool) const override { return getNewStream(device, 0); }
  void* getStreamNativeHandle(const c10::Stream stream) const override { return reinterpret_cast<void*>(stream.id()); }
  c10::Stream exchangeStream(c10::Stream stream) const override {
    return StreamOf(stream.device(), ExchangeStream(stream.device_index(), stream.id()));
  }

  void record(void** event, const c10::Stream& stream, const c10::DeviceIndex, const c10::EventFlag) const override {
    CheckNotFailed();
    AsEventsDo(stream.device_index(), [&] {
      if (*event == nullptr) *event = new Places;
      PlacesOf(*event) = Here(stream);
    });
  }
  void block(void* event, const c10::Stream& stream) const override {
    CheckNotFailed();
    RefuseWhileRecording("what another stream is waited for");
    AsEventsDo(stream.device_index(), [&] { WaitFor(stream, PlacesOf(event)); });
  }
  void destroyEvent(void* event, const c10::DeviceIndex index) const noexcept override {
    if (event != nullptr) AsEventsDo(index, [&] { delete static_cast<Places*>(event); });
  }
  void synchronizeStream(const c10::Stream& stream) const override { CountSync(), Finish(Here(stream)); }
  void synchronizeEvent(void* event) const override {
    CountSync();
    MakeContext(CurrentDevice());
    Finish(PlacesOf(event));
  }
  void synchronizeDevice(const c10::DeviceIndex device) const override {
    CountSync();
    AsEventsDo(device, [&] { FinishDevice(device); });
  }
  bool queryEvent(void* event) const override {
    MakeContext(CurrentDevice());
    return Ask(PlacesOf(event));
  }
  bool queryStream(const c10::Stream& stream) const override { return Ask(Here(stream)); }
  void recordDataPtrOnStream(const c10::DataPtr& data, const c10::Stream& stream) const override {
    if (Uses* const uses = UsesOf(data)) KeepFor(stream, *uses);
  }

 private:
  // As in LibTorch's c10/cuda/impl/CUDAGuardImpl.h.
  void AsEventsDo(c10::DeviceIndex index, const std::function<void()>& work) const {
    const c10::Device own = getDevice();
    setDevice(Device(index));
    work();
    setDevice(own);
  }

  // Whoever asks again and again gets there.
  static bool Ask(const Places& places) {
    CheckNotFailed();
    RefuseWhileRecording("a question whether something is done");
    return Finish(places), true;
  }
  static Places& PlacesOf(void* event) { return *static_cast<Places*>(event); }
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
  c10::Allocator* getPinnedMemoryAllocator() const override { return &PinnedMemory(); }
  bool isPinnedPtr(const void* address) const override { return IsPinned(address); }
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
