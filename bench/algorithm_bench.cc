// Times what the learner computes of a batch outside the model: 48 groups of 24 samples at SD3.5-M's latent size.
//
// usage: flowawr_algorithm_bench [--device cuda]   (where the loss computes; the rest is the host's)
#include <ATen/Parallel.h>
#include <benchmark/benchmark.h>
#include <torch/types.h>

#include <CLI/CLI.hpp>
#include <string>
#include <vector>

#include "bench/finish.h"
#include "common/process/device_option.h"
#include "common/process/exit_code.h"
#include "common/process/processor.h"
#include "common/tensor/devices.h"
#include "learner/algorithm/algorithm.h"
#include "learner/batch_figures.h"

namespace flowawr {
namespace {

constexpr int64_t kGroups = 48, kSamples = 24;
const std::vector<float> kSigmas = {1, 0.5f, 0};

at::Device g_device = at::kCPU;  // set before anything is measured

std::unique_ptr<const Algorithm> Method() {
  v1::RunConfig config;
  config.mutable_sampler()->set_steps(2);
  config.mutable_train()->set_timestep_fraction(1);
  config.mutable_train()->set_timesteps_per_sample(1);
  config.mutable_algorithm()->set_advantage_clip(5);
  config.mutable_algorithm()->mutable_flow_awr()->set_temperature(1);
  config.mutable_algorithm()->mutable_flow_awr()->set_energy_clip(3);
  config.mutable_algorithm()->mutable_flow_awr()->set_kl_beta(1e-4);
  return MakeAlgorithm(config, kSigmas).value();
}

// Advantages, energies and every figure of a batch, its diversity among them.
void BM_SignalsAndFigures(benchmark::State& state) {
  at::set_num_threads(static_cast<int>(state.range(0)));
  const auto method = Method();
  const at::Tensor rewards = at::randn({3, kGroups, kSamples}, at::kDouble);
  std::vector<Group> batch(kGroups);
  for (Group& group : batch) group.x0 = at::randn({kSamples, 16, 64, 64});
  for (auto _ : state) {
    const BatchSignals signals = method->Signals(rewards, {1, 1, 1});
    benchmark::DoNotOptimize(MeasureBatch(batch, signals, {0}));
  }
}
BENCHMARK(BM_SignalsAndFigures)->Arg(1)->Arg(2)->Unit(benchmark::kMillisecond)->UseRealTime();

void BM_Signals(benchmark::State& state) {
  at::set_num_threads(1);
  const auto method = Method();
  const at::Tensor rewards = at::randn({3, kGroups, kSamples}, at::kDouble);
  for (auto _ : state) benchmark::DoNotOptimize(method->Signals(rewards, {1, 1, 1}));
}
BENCHMARK(BM_Signals)->Unit(benchmark::kMicrosecond);

// Loss and its gradient of one micro-batch, beside which a forward and backward pass stand. Arg: latent height; its
// width is as large, or at the embedded size, 8, twice that.
void BM_Loss(benchmark::State& state) {
  at::set_num_threads(1);
  const auto method = Method();
  const int64_t side = state.range(0), rows = 16;
  const std::vector<int64_t> shape = {rows, side == 8 ? 4 : 16, side, side == 8 ? 16 : side};
  const auto random = [](at::IntArrayRef sizes) { return at::randn(sizes).to(g_device); };
  Rows of{.x = random(shape), .sigma = at::rand({rows}).to(g_device), .signal = random({rows}), .x0 = random(shape),
          .step = std::vector<int64_t>(rows, 0), .noise = random(shape)};
  Velocities v{.theta = random(shape).requires_grad_(), .old = random(shape), .ref = random(shape)};
  for (auto _ : state) {
    method->Loss(of, v).loss.sum().backward();
    v.theta.mutable_grad().reset();
    Finish(g_device);
  }
}
BENCHMARK(BM_Loss)->Arg(8)->Arg(64)->Unit(benchmark::kMillisecond)->UseRealTime();

}  // namespace
}  // namespace flowawr

int main(int argc, char** argv) {
  const absl::Status restricted = flowawr::RestrictProcessor();
  if (!restricted.ok()) return flowawr::ReportAndExitCodeOf(restricted);
  benchmark::Initialize(&argc, argv);  // takes its own options out
  std::string device = "cpu";
  CLI::App app("Times what the learner computes outside the model; --benchmark_... are Google Benchmark's options.");
  flowawr::AddDeviceOption(app, "the loss computes", &device);
  CLI11_PARSE(app, argc, argv);
  flowawr::g_device = flowawr::FindDevice(device).value();
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}
