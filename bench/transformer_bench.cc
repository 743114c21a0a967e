// Times the transformer and the autoencoder at the embedded model's size: the C++ side of transformer_baseline.py.
//
// usage: flowawr_transformer_bench [--device cuda]   (from the repository root; FLOWAWR_BENCH_MODEL names another
//                                                    pipeline folder)
#include <ATen/Parallel.h>
#include <ATen/core/grad_mode.h>
#include <benchmark/benchmark.h>

#include <CLI/CLI.hpp>
#include <cstdlib>
#include <string>

#include "bench/finish.h"
#include "common/process/device_libraries.h"
#include "common/process/device_option.h"
#include "common/process/exit_code.h"
#include "common/process/processor.h"
#include "common/sd3/transformer.h"
#include "common/sd3/vae.h"
#include "common/tensor/devices.h"
#include "common/tensor/determinism.h"

namespace flowawr {
namespace {

constexpr int64_t kTextTokens = 24;

at::Device g_device = at::kCPU;  // set before anything is measured

std::string ModelFolder() {
  const char* folder = std::getenv("FLOWAWR_BENCH_MODEL");
  return folder == nullptr ? "models/tiny-sd3" : folder;
}

const Transformer& Model() {
  static const std::shared_ptr<const Transformer> model =
      Transformer::Load(ModelFolder() + "/transformer", {at::kFloat, g_device}).value();
  return *model;
}

LoraAdapter Adapter() {
  const auto layout = Model()
                          .MakeLoraLayout({"attn.to_q", "attn.to_k", "attn.to_v", "attn.to_out.0", "attn.add_q_proj",
                                           "attn.add_k_proj", "attn.add_v_proj", "attn.to_add_out"},
                                          /*rank=*/16, /*alpha=*/32)
                          .value();
  return LoraAdapter::Initialise(layout, 1);
}

// Each sample with its own sigma and prompt, as in a training micro-batch; or all with one, as in a sampled group.
TransformerInput Input(int64_t batch, bool is_group) {
  const TransformerConfig& config = Model().config();
  const int64_t rows = is_group ? 1 : batch;
  return {at::randn({batch, config.in_channels, 8, 16}).to(g_device), at::full({rows}, 0.7f).to(g_device),
          at::randn({rows, kTextTokens, config.joint_attention_dim}).to(g_device),
          at::randn({rows, config.pooled_projection_dim}).to(g_device)};
}

void BM_Sample(benchmark::State& state) {
  at::set_num_threads(1);
  const at::NoGradGuard no_grad;
  const BoundAdapter merged = Model().BindMerged(Adapter()).value();
  const TransformerInput input = Input(state.range(0), /*is_group=*/true);
  for (auto _ : state) {
    benchmark::DoNotOptimize(Model().Forward(input, &merged));
    Finish(g_device);
  }
  state.SetItemsProcessed(state.iterations() * state.range(0));
}
BENCHMARK(BM_Sample)->Arg(16)->Unit(benchmark::kMillisecond)->ThreadRange(1, 2)->UseRealTime();

void BM_Train(benchmark::State& state) {
  at::set_num_threads(1);
  const LoraAdapter initial = Adapter();
  const LoraAdapter adapter(initial.shared_layout(), initial.flat().to(g_device).clone().requires_grad_(true));
  const TransformerInput input = Input(state.range(0), /*is_group=*/false);
  for (auto _ : state) {
    const BoundAdapter bound = Model().Bind(adapter).value();
    Model().Forward(input, &bound).square().mean().backward();
    adapter.flat().mutable_grad().reset();
    Finish(g_device);
  }
  state.SetItemsProcessed(state.iterations() * state.range(0));
}
BENCHMARK(BM_Train)->Arg(16)->Unit(benchmark::kMillisecond)->ThreadRange(1, 2)->UseRealTime();

void BM_Bind(benchmark::State& state) {
  at::set_num_threads(1);
  const LoraAdapter adapter = Adapter();
  for (auto _ : state) {
    benchmark::DoNotOptimize(Model().Bind(adapter));
    Finish(g_device);
  }
}
BENCHMARK(BM_Bind)->Unit(benchmark::kMillisecond);

void BM_Decode(benchmark::State& state) {
  at::set_num_threads(1);
  const auto vae = Vae::Load(ModelFolder() + "/vae", {at::kFloat, g_device}).value();
  const at::Tensor latents = at::randn({state.range(0), vae->config().latent_channels, 8, 16}).to(g_device);
  for (auto _ : state) {
    benchmark::DoNotOptimize(vae->Decode(latents));
    Finish(g_device);
  }
  state.SetItemsProcessed(state.iterations() * state.range(0));
}
BENCHMARK(BM_Decode)->Arg(16)->Unit(benchmark::kMillisecond)->UseRealTime();

}  // namespace
}  // namespace flowawr

int main(int argc, char** argv) {
  const absl::Status restricted = flowawr::RestrictProcessor();
  if (!restricted.ok()) return flowawr::ReportAndExitCodeOf(restricted);
  flowawr::PrepareDeviceLibraries();
  benchmark::Initialize(&argc, argv);  // takes its own options out
  std::string device = "cpu";
  CLI::App app("Times the transformer and the autoencoder; --benchmark_... are Google Benchmark's options.");
  flowawr::AddDeviceOption(app, "they compute", &device);
  CLI11_PARSE(app, argc, argv);
  flowawr::g_device = flowawr::FindDevice(device).value();
  const absl::Status chosen = flowawr::ChooseKernels(/*deterministic=*/false, flowawr::g_device);
  if (!chosen.ok()) return flowawr::ReportAndExitCodeOf(chosen);
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}
