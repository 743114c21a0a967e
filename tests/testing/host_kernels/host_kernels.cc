#include "tests/testing/host_kernels/host_kernels.h"

#include <c10/core/DeviceType.h>

#include <mutex>
#include <utility>
#include <vector>

#include "common/nn/cuda/gelu.h"
#include "common/nn/cuda/group_norm.h"
#include "common/nn/cuda/heads.h"
#include "common/nn/cuda/token_rows.h"
#include "common/nn/device_dispatch.h"
#include "tests/testing/fake_device/fake_device.h"
#include "tests/testing/fake_device/fake_graph.h"
#include "tests/testing/host_kernels/host_team.h"

namespace flowawr {
namespace {

using cuda::ElementType;
using cuda::FitsPacks;
using cuda::ForElement;
using cuda::HostTeam;
using cuda::PackOf;

std::mutex calls_mutex;
std::map<std::string, int> calls;  // under the mutex

void Begin(const char* kernel) {
  fake_device::RefuseWhileRecording("a kernel that the host computes in the device's place");
  const std::lock_guard lock(calls_mutex);
  ++calls[kernel];
}

// The device's pointers of a call, as the host's.
void Place(const void*& address) { address = fake_device::HostAddress(address); }
void Place(void*& address) { address = const_cast<void*>(fake_device::HostAddress(address)); }
void Place(float*& address) { address = static_cast<float*>(const_cast<void*>(fake_device::HostAddress(address))); }
template <typename... Addresses>
void PlaceAll(Addresses&... addresses) {
  (Place(addresses), ...);
}
void PlaceStreams(ProjectedStream (&streams)[2]) {
  for (ProjectedStream& stream : streams) PlaceAll(stream.projection, stream.q_norm, stream.k_norm);
}

template <typename Call>
int32_t Rows(const Call& call) {
  return ForElement(call.element, FitsPacks(call),
                    [&]<typename T, int kWidth>(ElementType<T>, PackOf<kWidth>) -> int32_t {
                      for (int64_t row = 0; row < call.size.batch * call.size.tokens; ++row)
                        cuda::ComputeRow<kWidth, T>(HostTeam<32>(), call, row);
                      return 0;
                    });
}

int32_t LayerNormModulate(const LayerNormModulateCall& on_device, void*) {
  Begin("layer_norm_modulate");
  LayerNormModulateCall call = on_device;
  PlaceAll(call.x, call.shift.values, call.scale.values, call.out);
  return Rows(call);
}

int32_t LayerNormModulateBackward(const LayerNormModulateBackwardCall& on_device, void*) {
  Begin("layer_norm_modulate_backward");
  LayerNormModulateBackwardCall call = on_device;
  PlaceAll(call.x, call.scale.values, call.dout, call.dx);
  return Rows(call);
}

int32_t GatedResidual(const GatedResidualCall& on_device, void*) {
  Begin(on_device.x == nullptr ? "gate" : "gated_residual");
  GatedResidualCall call = on_device;
  PlaceAll(call.x, call.gate.values, call.y, call.out);
  return Rows(call);
}

template <typename Call>
int32_t Gelu(const Call& call) {
  return ForElement(call.element, FitsPacks(call),
                    [&]<typename T, int kWidth>(ElementType<T>, PackOf<kWidth>) -> int32_t {
                      for (int64_t unit = 0; unit < cuda::GeluUnits<kWidth>(call); ++unit)
                        cuda::ComputeUnit<kWidth, T>(call, unit);
                      return 0;
                    });
}

int32_t GeluTanh(const GeluTanhCall& on_device, void*) {
  Begin("gelu_tanh");
  GeluTanhCall call = on_device;
  PlaceAll(call.x, call.out);
  return Gelu(call);
}

int32_t GeluTanhBackward(const GeluTanhBackwardCall& on_device, void*) {
  Begin("gelu_tanh_backward");
  GeluTanhBackwardCall call = on_device;
  PlaceAll(call.x, call.dout, call.dx);
  return Gelu(call);
}

template <typename Call>
int32_t Heads(const Call& call) {
  return ForElement(call.element, FitsPacks(call),
                    [&]<typename T, int kWidth>(ElementType<T>, PackOf<kWidth>) -> int32_t {
                      for (int64_t index = 0; index < call.size.batch * cuda::JointTokens(call); ++index) {
                        const cuda::JointToken at = cuda::JointTokenAt(call, index);
                        for (int unit = 0; unit < cuda::UnitsOf(call, at); ++unit)
                          cuda::ComputeUnit<kWidth, T>(HostTeam<cuda::kHeadLanes>(), call, at, unit);
                      }
                      return 0;
                    });
}

int32_t JoinHeads(const JoinHeadsCall& on_device, void*) {
  Begin("join_heads");
  JoinHeadsCall call = on_device;
  PlaceStreams(call.streams);
  PlaceAll(call.joint[0], call.joint[1], call.joint[2]);
  return Heads(call);
}

int32_t JoinHeadsBackward(const JoinHeadsBackwardCall& on_device, void*) {
  Begin("join_heads_backward");
  JoinHeadsBackwardCall call = on_device;
  PlaceStreams(call.streams);
  PlaceAll(call.djoint[0].values, call.djoint[1].values, call.djoint[2].values, call.dprojection[0],
           call.dprojection[1]);
  return Heads(call);
}

int32_t GroupNormSilu(const GroupNormSiluCall& on_device, void*) {
  Begin("group_norm_silu");
  GroupNormSiluCall call = on_device;
  PlaceAll(call.x, call.weight, call.bias, call.scratch, call.out);
  return ForElement(
      call.element, FitsPacks(call), [&]<typename T, int kWidth>(ElementType<T>, PackOf<kWidth>) -> int32_t {
        std::vector<float> shared(static_cast<size_t>(cuda::SharedFloats<kWidth, cuda::kMomentLanes>(call)));
        for (int64_t sample = 0; sample < call.batch; ++sample) {
          for (int64_t chunk = 0; chunk < GroupNormChunks(call); ++chunk)
            cuda::TakeChunkMoments<kWidth, T>(HostTeam<cuda::kMomentLanes>(), call, sample, chunk, shared.data());
          for (int64_t group = 0; group < call.groups; ++group)
            cuda::FinishGroup<T>(HostTeam<cuda::kFinishLanes>(), call, sample, group);
          for (int64_t pack = 0; pack < call.pixels * call.channels / kWidth; ++pack)
            cuda::ScaleSiluPack<kWidth, T>(call, sample, pack);
        }
        return 0;
      });
}

constexpr DeviceKernels kTable = {
    .abi = kDeviceKernelsAbi,
    .built_for = "the fake device",
    .check = [] { return int32_t{0}; },
    .describe = [](int32_t) { return "no error"; },
    .layer_norm_modulate = LayerNormModulate,
    .layer_norm_modulate_backward = LayerNormModulateBackward,
    .gated_residual = GatedResidual,
    .gelu_tanh = GeluTanh,
    .gelu_tanh_backward = GeluTanhBackward,
    .join_heads = JoinHeads,
    .join_heads_backward = JoinHeadsBackward,
    .group_norm_silu = GroupNormSilu,
};

}  // namespace

HostKernels::HostKernels() { UseDeviceKernels(at::kPrivateUse1, &kTable); }
HostKernels::~HostKernels() { UseDeviceKernels(at::kPrivateUse1, nullptr); }

std::map<std::string, int> HostKernels::TakeCalls() {
  const std::lock_guard lock(calls_mutex);
  return std::exchange(calls, {});
}

}  // namespace flowawr
