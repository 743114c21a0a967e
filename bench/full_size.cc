// One measurement of this service at a model's true size, in a process of its own: the C++ side of full_size.py, which
// says what each kind is. Prints one line of JSON; the Python side is python_baseline/full_size.py.
#include <ATen/CPUGeneratorImpl.h>
#include <ATen/Parallel.h>
#include <ATen/core/grad_mode.h>
#include <sys/resource.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/types.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <fstream>
#include <functional>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "bench/finish.h"
#include "common/diffusion/sampler.h"
#include "common/diffusion/sigmas.h"
#include "common/nn/lora_linear.h"
#include "common/process/device_libraries.h"
#include "common/process/device_option.h"
#include "common/process/exit_code.h"
#include "common/process/processor.h"
#include "common/sd3/guidance.h"
#include "common/sd3/pipeline.h"
#include "common/sd3/step_graphs.h"
#include "common/tensor/device_facts.h"
#include "common/tensor/device_stream.h"
#include "common/tensor/devices.h"
#include "common/tensor/determinism.h"
#include "common/tensor/safetensors.h"
#include "learner/algorithm/flow_awr.h"

namespace flowawr {
namespace {

constexpr int kStepsOfASample = 28;  // the first of them is measured

const std::vector<std::string> kTargets = {"attn.to_q",       "attn.to_k",       "attn.to_v",       "attn.to_out.0",
                                           "attn.add_q_proj", "attn.add_k_proj", "attn.add_v_proj", "attn.to_add_out"};

struct Options {
  std::string kind, model, inputs, encoder = "text_encoder", device_name = "cpu";
  at::Device device = at::kCPU;  // of that name
  bool is_float32 = false, checkpoint = false, reference = false, large = false, deterministic = false,
       graphs = false;
  int threads = 2, batch = 1, side = 64, text_tokens = 205, rank = 32;
  double seconds = 10;

  at::ScalarType dtype() const { return is_float32 ? at::kFloat : at::kBFloat16; }
  Placement placement() const { return {dtype(), device}; }
};

using Clock = std::chrono::steady_clock;

double SecondsSince(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

double ProcessorSeconds() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  const auto seconds = [](const timeval& time) { return static_cast<double>(time.tv_sec) + 1e-6 * time.tv_usec; };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

// What was resident at most, in bytes.
int64_t PeakMemory() {
  std::ifstream status("/proc/self/status");
  std::string word;
  while (status >> word) {
    int64_t kilobytes = 0;
    if (word == "VmHWM:" && status >> kilobytes) return kilobytes * 1024;
  }
  return 0;
}

nlohmann::json g_result;

// Runs `step` again and again for about `seconds`, at least once. `warm_up` is a smaller step of the same kind, which
// touches all weights.
void Measure(const Options& options, const std::function<void()>& warm_up, const std::function<void()>& step) {
  warm_up();
  if (!options.device.is_cpu()) step();  // a device's libraries choose kernels by sizes, and its memory is taken once
  Finish(options.device);
  std::vector<double> wall, cpu;
  double total = 0;
  while (wall.empty() || total + wall.back() <= options.seconds) {
    const double cpu_before = ProcessorSeconds();
    const auto start = Clock::now();
    step();
    Finish(options.device);
    wall.push_back(SecondsSince(start));
    cpu.push_back(ProcessorSeconds() - cpu_before);
    total += wall.back();
  }
  g_result["wall"] = wall;
  g_result["cpu"] = cpu;
}

// Of `batch` rows; one prompt and one sigma for all if `is_group`.
TransformerInput Input(const TransformerConfig& config, const Options& options, int64_t batch, int64_t side,
                       bool is_group) {
  const int64_t rows = is_group ? 1 : batch;
  return {at::randn({batch, config.in_channels, side, side}).to(options.device),
          (is_group ? at::full({1}, 0.7f) : at::linspace(0.9, 0.3, rows).to(at::kFloat)).to(options.device),
          at::randn({rows, options.text_tokens, config.joint_attention_dim}).to(options.device, options.dtype()),
          at::randn({rows, config.pooled_projection_dim}).to(options.device, options.dtype())};
}

void MeasureForward(const Options& options, bool is_group) {
  const at::NoGradGuard no_grad;
  const auto model = Transformer::Load(options.model + "/transformer", options.placement()).value();
  const TransformerInput small = Input(model->config(), options, 1, 16, is_group);
  const TransformerInput input = Input(model->config(), options, options.batch, options.side, is_group);
  Measure(
      options, [&] { model->Forward(small, nullptr); }, [&] { model->Forward(input, nullptr); });
}

// As an actor samples a small batch: by a step that was recorded.
void MeasureReplay(const Options& options) {
  const at::NoGradGuard no_grad;
  const auto model = Transformer::Load(options.model + "/transformer", options.placement()).value();
  AwaitStream(options.device);
  const OwnStream stream(options.device);
  const TransformerInput input = Input(model->config(), options, options.batch, options.side, /*is_group=*/true);
  StepGraphs graphs(*model, options.batch);
  const auto velocity = graphs.VelocityOf(nullptr, {input.prompt_embeds, input.pooled_prompt_embeds}, Guidance{},
                                          input.latents.sizes());
  const auto step = [&] { velocity(input.latents, 0.7f); };
  Measure(options, step, step);  // the second one is recorded
  g_result["recorded"] = graphs.recorded();
}

// Forward, FlowAWR's loss with v_old = v_theta, backward.
void MeasureTraining(const Options& options) {
  const auto model = Transformer::Load(options.model + "/transformer", options.placement()).value();
  const auto layout = model->MakeLoraLayout(kTargets, options.rank, 2.0 * options.rank).value();
  const LoraAdapter adapter(layout, at::randn({layout->size()}).mul_(0.01).to(options.device).requires_grad_(true));
  v1::RunConfig config;
  config.mutable_algorithm()->mutable_flow_awr()->set_kl_beta(options.reference ? 1e-4 : 0);
  const FlowAwr method(config, {1, 0});
  const auto step = [&](const TransformerInput& noise, const at::Tensor& x0) {
    const int64_t batch = x0.size(0);
    TransformerInput input = noise;
    Rows rows{.x = at::lerp(x0, noise.latents, noise.sigma.view({batch, 1, 1, 1})),
              .sigma = noise.sigma,
              .signal = at::linspace(-1, 1, batch).to(options.device, at::kFloat),
              .x0 = x0,
              .step = std::vector<int64_t>(static_cast<size_t>(batch), 0)};
    input.latents = rows.x;
    Velocities v;
    if (options.reference) {
      const at::NoGradGuard no_grad;
      v.ref = model->Forward(input, nullptr);
    }
    const BoundAdapter bound = model->Bind(adapter).value();
    v.theta = model->Forward(input, &bound, options.checkpoint ? model->config().num_layers : 0);
    v.old = v.theta.detach();
    torch::autograd::grad({method.Loss(rows, v).loss.sum()}, {adapter.flat()});
  };
  const TransformerInput small = Input(model->config(), options, 1, 16, /*is_group=*/false);
  const TransformerInput noise = Input(model->config(), options, options.batch, options.side, /*is_group=*/false);
  const at::Tensor small_x0 = at::randn(small.latents.sizes()).to(options.device);
  const at::Tensor x0 = at::randn(noise.latents.sizes()).to(options.device);
  Measure(
      options, [&] { step(small, small_x0); }, [&] { step(noise, x0); });
}

void MeasureVae(const Options& options) {
  const auto vae = Vae::Load(options.model + "/vae", options.placement()).value();
  const int64_t channels = vae->config().latent_channels;
  const at::Tensor small = at::randn({1, channels, 8, 8}).to(options.device);
  const at::Tensor latents = at::randn({options.batch, channels, options.side, options.side}).to(options.device);
  Measure(
      options, [&] { vae->Decode(small); }, [&] { vae->Decode(latents); });
}

void MeasureEncoder(const Options& options) {
  const std::string folder = options.model + "/" + options.encoder;
  if (options.encoder == "text_encoder_3") {
    const auto encoder = T5Encoder::Load(folder, options.placement()).value();
    const at::Tensor ids =
        at::randint(1, encoder->config().vocab_size, {options.batch, 128}).to(options.device, at::kLong);
    Measure(
        options, [&] { encoder->Forward(ids.narrow(0, 0, 1)); }, [&] { encoder->Forward(ids); });
    return;
  }
  const auto encoder = ClipTextEncoder::Load(folder, options.placement()).value();
  const at::Tensor ids =
      at::randint(1, encoder->config().vocab_size, {options.batch, 77}).to(options.device, at::kLong);
  Measure(
      options, [&] { encoder->Forward(ids.narrow(0, 0, 1)); }, [&] { encoder->Forward(ids); });
}

// Cold start: until ready to sample, then until the latents after one step. The caller's clock counts the process too.
void FirstStep(const Options& options, const Transformer& transformer, double shift, int train_timesteps,
               PromptEmbeds prompt) {
  std::puts("ready");
  std::fflush(stdout);
  const at::Tensor latents =
      at::randn({1, transformer.config().in_channels, options.side, options.side}).to(options.device);
  const absl::Status stopped =
      Sample({.sigmas = FlowMatchSigmas(kStepsOfASample, shift, train_timesteps)}, latents,
             ConditionedTransformer(transformer, nullptr, std::move(prompt)), [](int) { return at::Tensor(); },
             [](int step) { return step < 1; })
          .status();
  TORCH_CHECK(absl::IsCancelled(stopped), stopped.ToString());
  Finish(options.device);
}

void ColdTransformer(const Options& options) {
  const at::NoGradGuard no_grad;
  const SafetensorsFile inputs = SafetensorsFile::Open(options.inputs).value();
  const auto transformer = Transformer::Load(options.model + "/transformer", options.placement()).value();
  const SchedulerConfig scheduler = SchedulerConfig::Load(options.model + "/scheduler").value();
  FirstStep(options, *transformer, scheduler.shift, scheduler.num_train_timesteps,
            {inputs.tensors().at("prompt_embeds").to(options.device),
             inputs.tensors().at("pooled").to(options.device)});
}

void ColdPipeline(const Options& options) {
  const at::NoGradGuard no_grad;
  const auto pipeline =
      Pipeline::Load(options.model, {.placement = options.placement(), .max_sequence_length = 128}).value();
  const PromptEmbeds prompt = pipeline->EncodePrompts({"a red fox asleep on a pile of books"}).value();
  FirstStep(options, pipeline->transformer(), pipeline->scheduler_shift(), pipeline->num_train_timesteps(),
            {prompt.prompt_embeds.to(options.device), prompt.pooled.to(options.device)});
}

// The fastest matrix products through the service's own Linear: FLOP/s.
void MeasureProducts(const Options& options) {
  const at::NoGradGuard no_grad;
  double best = 0;
  struct Product {
    int64_t rows, in, out;
  };
  std::vector<Product> products = {
      {1024, 1536, 1536}, {1024, 1536, 6144}, {4096, 1536, 4608}, {4096, 6144, 1536}, {2048, 2048, 2048}};
  if (options.large) products = {{8192, 8192, 8192}, {29496, 1536, 6144}, {29496, 6144, 1536}};
  for (const auto& [rows, in, out] : products) {
    const FrozenLinear linear{.widths = {out},
                              .weight = at::randn({out, in}).to(options.device, options.dtype()),
                              .bias = at::randn({out}).to(options.device, options.dtype())};
    const at::Tensor x = at::randn({1, rows, in}).to(options.device, options.dtype());
    Linear(linear, x);
    Finish(options.device);
    const auto start = Clock::now();
    while (SecondsSince(start) < options.seconds / static_cast<double>(products.size())) {
      const auto before = Clock::now();
      Linear(linear, x);
      Finish(options.device);
      best = std::max(best, 2.0 * static_cast<double>(rows * in * out) / SecondsSince(before));
    }
  }
  g_result["flops_per_second"] = best;
}

const std::map<std::string, void (*)(const Options&)> kKinds = {
    {"forward", [](const Options& options) { MeasureForward(options, /*is_group=*/false); }},
    {"sample",
     [](const Options& options) {
       options.graphs ? MeasureReplay(options) : MeasureForward(options, /*is_group=*/true);
     }},
    {"train", MeasureTraining},
    {"vae", MeasureVae},
    {"encoder", MeasureEncoder},
    {"products", MeasureProducts},
    {"cold-transformer", ColdTransformer},
    {"cold-pipeline", ColdPipeline},
};

int Main(int argc, char** argv) {
  if (const absl::Status restricted = RestrictProcessor(); !restricted.ok()) return ReportAndExitCodeOf(restricted);
  PrepareDeviceLibraries();
  Options options;
  CLI::App app("One measurement; see bench/full_size.py, which calls this.");
  app.add_option("KIND", options.kind)->required()->check(CLI::IsMember(kKinds));
  app.add_option("--model", options.model, "a diffusers folder");
  app.add_option("--inputs", options.inputs, "cold-transformer: safetensors of prompt_embeds and pooled");
  app.add_option("--encoder", options.encoder, "its folder in --model");
  app.add_flag("--float32", options.is_float32, "instead of bfloat16");
  app.add_flag("--checkpoint", options.checkpoint, "every block's activations are computed again");
  app.add_flag("--reference", options.reference, "with v_ref");
  app.add_flag("--large", options.large, "products: of sizes that fill a GPU");
  app.add_flag("--graphs", options.graphs, "sample: by a recorded step, as actors do for small batches");
  app.add_flag("--deterministic", options.deterministic, "kernels as with model.deterministic");
  AddDeviceOption(app, "the models compute", &options.device_name);
  app.add_option("--threads", options.threads);
  app.add_option("--batch", options.batch);
  app.add_option("--side", options.side, "of the latents");
  app.add_option("--text-tokens", options.text_tokens);
  app.add_option("--rank", options.rank);
  app.add_option("--seconds", options.seconds, "to repeat for");
  CLI11_PARSE(app, argc, argv);
  options.device = FindDevice(options.device_name).value();
  if (const absl::Status chosen = ChooseKernels(options.deterministic, options.device); !chosen.ok())
    return ReportAndExitCodeOf(chosen);
  at::set_num_threads(options.threads);
  at::Generator(at::detail::getDefaultCPUGenerator()).set_current_seed(1);  // inputs are drawn on the host
  kKinds.at(options.kind)(options);
  g_result["peak_memory"] = PeakMemory();
  if (const auto memory = MemoryOf(options.device); memory) g_result["peak_device_memory"] = memory->peak;
  std::printf("%s\n", g_result.dump().c_str());
  return 0;
}

}  // namespace
}  // namespace flowawr

int main(int argc, char** argv) { return flowawr::Main(argc, argv); }
