#include "cli/sample_images.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/full.h>
#include <ATen/ops/isfinite.h>
#include <ATen/ops/stack.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "common/base/file.h"
#include "common/base/status.h"
#include "common/base/version.h"
#include "common/diffusion/noise.h"
#include "common/diffusion/sigmas.h"
#include "common/diffusion/solver.h"
#include "common/nn/lora_files.h"
#include "common/tensor/image_tensor.h"

namespace flowawr {
namespace {

// What one batch may cost, in pixels and images. Constants, so that bits do not vary from machine to machine.
constexpr int64_t kBatchPixels = int64_t{1} << 20;
constexpr int64_t kBatchImages = 64;

absl::StatusOr<at::Tensor> SampleBatch(const Pipeline& pipeline, const BoundAdapter* adapter,
                                       const SampleRequest& request, const PromptEmbeds& embeds, at::Tensor noise) {
  TransformerInput input;
  input.prompt_embeds = embeds.prompt_embeds;
  input.pooled_prompt_embeds = embeds.pooled;
  const auto velocity = [&](const at::Tensor& latents, float sigma) {
    input.latents = latents;
    input.sigma = at::full({1}, sigma);
    return pipeline.transformer().Forward(input, adapter);
  };
  const std::vector<float> sigmas =
      FlowMatchSigmas(request.steps, pipeline.scheduler_shift(), pipeline.num_train_timesteps());
  const at::Tensor latents = SampleLatents(velocity, request.solver, sigmas, std::move(noise));
  if (!at::isfinite(latents).all().item<bool>())
    return absl::InternalError("the model gave latents that are not finite: is the adapter made for this model?");
  return latents;
}

}  // namespace

absl::Status SampleImages(const Pipeline& pipeline, const BoundAdapter* adapter, const SampleRequest& request,
                          absl::FunctionRef<absl::Status(SampledImage)> take) {
  const at::NoGradGuard no_grad;
  FLOWAWR_ASSIGN_OR_RETURN(
      const LatentShape shape,
      LatentShapeFor(pipeline.transformer().config(), pipeline.vae().downscale(), request.height, request.width));
  const int64_t pixels = int64_t{request.height} * request.width;
  const int rows_at_once = static_cast<int>(std::clamp<int64_t>(kBatchPixels / pixels, 1, kBatchImages));
  for (size_t prompt = 0; prompt < request.prompts.size(); ++prompt) {
    FLOWAWR_ASSIGN_OR_RETURN(const PromptEmbeds embeds, pipeline.EncodePrompts({request.prompts[prompt]}));
    for (int first = 0; first < request.count; first += rows_at_once) {
      std::vector<at::Tensor> noise;
      for (int sample = first; sample < std::min(request.count, first + rows_at_once); ++sample) {
        noise.push_back(InitialNoise(request.seed, prompt, static_cast<uint32_t>(sample),
                                     {shape.channels, shape.height, shape.width}));
      }
      FLOWAWR_ASSIGN_OR_RETURN(const at::Tensor latents,
                               SampleBatch(pipeline, adapter, request, embeds, at::stack(noise)));
      int sample = first;
      for (Image& image : ImagesFromTensor(pipeline.vae().Decode(latents)))
        FLOWAWR_RETURN_IF_ERROR(take({prompt, sample++, std::move(image)}));
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<BoundAdapter> BindPeftFolder(const Transformer& transformer, const std::string& folder) {
  const std::string file = folder + "/adapter_config.json";
  const absl::StatusOr<std::string> text = ReadFile(file, size_t{1} << 20);
  if (absl::IsNotFound(text.status()))
    return absl::NotFoundError(
        absl::StrCat(text.status().message(),
                     "; an adapter is a folder with adapter_config.json and "
                     "adapter_model.safetensors, like RUN_DIR/export/peft of a run that is done"));
  FLOWAWR_RETURN_IF_ERROR(text.status());
  const nlohmann::json config = nlohmann::json::parse(*text, nullptr, /*allow_exceptions=*/false);
  if (!config.is_object()) return absl::InvalidArgumentError(absl::StrCat(file, ": not a JSON object"));
  const auto field = [&config](const char* name) { return config.contains(name) ? config[name] : nlohmann::json(); };
  const nlohmann::json rank = field("r"), alpha = field("lora_alpha"), modules = field("target_modules");
  if (!rank.is_number_integer() || rank.get<int64_t>() < 1)
    return absl::InvalidArgumentError(absl::StrCat(file, ": \"r\" must be an integer of 1 or more"));
  if (!alpha.is_number()) return absl::InvalidArgumentError(absl::StrCat(file, ": \"lora_alpha\" must be a number"));
  const auto is_string = [](const nlohmann::json& module) { return module.is_string(); };
  if (!modules.is_array() || modules.empty() || !std::all_of(modules.begin(), modules.end(), is_string)) {
    return absl::InvalidArgumentError(
        absl::StrCat(file, ": \"target_modules\" must be a list of module names; a pattern is not supported"));
  }
  auto layout =
      transformer.MakeLoraLayout(modules.get<std::vector<std::string>>(), rank.get<int64_t>(), alpha.get<double>());
  if (!layout.ok()) return Annotate(layout.status(), file);
  FLOWAWR_ASSIGN_OR_RETURN(const LoraAdapter adapter, ReadPeftFolder(folder, *layout));
  return transformer.BindMerged(adapter);
}

absl::StatusOr<BoundAdapter> BindAdapterFile(const Transformer& transformer, const std::string& file,
                                             const v1::LoraConfig& lora) {
  FLOWAWR_ASSIGN_OR_RETURN(
      auto layout, transformer.MakeLoraLayout({lora.target_modules().begin(), lora.target_modules().end()}, lora.rank(),
                                              lora.alpha()));
  FLOWAWR_ASSIGN_OR_RETURN(std::string bytes, ReadFile(file));
  FLOWAWR_ASSIGN_OR_RETURN(const LoraAdapter adapter, LoraAdapter::ParsePeft(std::move(bytes), layout, file));
  return transformer.BindMerged(adapter);
}

std::string SampleFileName(size_t prompt, int sample) {
  return absl::StrFormat("prompt-%03d-image-%02d.png", prompt, sample);
}

std::map<std::string, std::string> SampleMetadata(const SampleRequest& request, size_t prompt, int sample,
                                                  const std::string& model, const std::string& adapter) {
  return {{"prompt", request.prompts[prompt]},
          {"prompt index", absl::StrCat(prompt)},
          {"sample", absl::StrCat(sample)},
          {"seed", absl::StrCat(request.seed)},
          {"solver", SolverName(request.solver)},
          {"steps", absl::StrCat(request.steps)},
          {"model", model},
          {"adapter", adapter.empty() ? "none" : adapter},
          {"Software", absl::StrCat("flowawr ", Version())}};
}

std::string SolverName(v1::Solver solver) { return absl::AsciiStrToLower(v1::Solver_Name(solver)); }

std::optional<v1::Solver> SolverFromName(const std::string& name) {
  for (const v1::Solver solver : {v1::EULER, v1::DPM_SOLVER_PP_2M})
    if (name == SolverName(solver)) return solver;
  return std::nullopt;
}

}  // namespace flowawr
