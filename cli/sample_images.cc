#include "cli/sample_images.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/isfinite.h>
#include <ATen/ops/stack.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "common/base/status.h"
#include "common/base/utf8.h"
#include "common/base/version.h"
#include "common/diffusion/noise.h"
#include "common/diffusion/sampler.h"
#include "common/diffusion/sigmas.h"
#include "common/diffusion/solver.h"
#include "common/sd3/step_graphs.h"
#include "common/tensor/device_stream.h"
#include "common/tensor/image_tensor.h"
#include "common/tensor/transfer.h"

namespace flowawr {
namespace {

// What one batch may cost, in pixels and images. Constants, so that memory does not vary from machine to machine.
constexpr int64_t kBatchPixels = int64_t{1} << 20;
constexpr int64_t kBatchImages = 64;

std::string SizeText(const at::Tensor& noise) { return absl::StrJoin(noise.sizes(), "x"); }

// By image, in order, as in a request.
class Batches {
 public:
  Batches(const SampleRequest& request, const EncodedPrompts& prompts, const LatentShape& shape)
      : request_(request), prompts_(prompts), shape_(shape) {}

  size_t PromptOf(size_t image) const { return image / static_cast<size_t>(request_.count); }
  int SampleOf(size_t image) const { return static_cast<int>(image % static_cast<size_t>(request_.count)); }

  at::Tensor Noise(size_t first, size_t end) const {
    std::vector<at::Tensor> rows;
    for (size_t image = first; image < end; ++image) rows.push_back(NoiseOf(image));
    return at::stack(rows);
  }

  // One row where all images share a prompt: the transformer then computes once what depends on it alone.
  PromptEmbeds Embeds(size_t first, size_t end) const {
    if (PromptOf(first) == PromptOf(end - 1)) return prompts_.prompts[PromptOf(first)];
    std::vector<at::Tensor> hidden, pooled;
    for (size_t image = first; image < end; ++image) {
      hidden.push_back(prompts_.prompts[PromptOf(image)].prompt_embeds);
      pooled.push_back(prompts_.prompts[PromptOf(image)].pooled);
    }
    return {at::cat(hidden), at::cat(pooled)};
  }

 private:
  at::Tensor NoiseOf(size_t image) const {
    if (!request_.noise.defined())
      return InitialNoise(request_.seed, PromptOf(image), static_cast<uint32_t>(SampleOf(image)),
                          {shape_.channels, shape_.height, shape_.width});
    const bool is_shared = request_.noise.size(0) != static_cast<int64_t>(request_.images());
    return request_.noise[is_shared ? SampleOf(image) : static_cast<int64_t>(image)];
  }

  const SampleRequest& request_;
  const EncodedPrompts& prompts_;
  const LatentShape& shape_;
};

at::Tensor NoStepNoise(int /*step*/) { return {}; }  // every step follows the ODE

// What all images of a request have in common.
std::map<std::string, std::string> RequestMetadata(const SampleRequest& request, const SampleSource& source) {
  std::map<std::string, std::string> metadata = {
      {"solver", SolverName(request.solver)},
      {"steps", absl::StrCat(request.steps)},
      {"guidance", absl::StrCat(request.guidance)},
      {"height", absl::StrCat(request.height)},
      {"width", absl::StrCat(request.width)},
      {"dtype", source.dtype},
      {"max sequence length", absl::StrCat(source.max_sequence_length)},
      {"model", source.model},
      {"adapter", source.adapters.empty() ? "none"
                                          : absl::StrJoin(source.adapters, "\n",
                                                          [](std::string* out, const AdapterChoice& adapter) {
                                                            out->append(DescribeAdapter(adapter));
                                                          })},
      {"Software", absl::StrCat("flowawr ", Version())}};
  if (request.guidance != 1) metadata["negative prompt"] = request.negative_prompt;
  if (request.noise.defined()) {
    metadata["initial latents"] = source.noise_file;
  } else {
    metadata["seed"] = absl::StrCat(request.seed);
  }
  return metadata;
}

// On the current stream.
absl::Status SampleOnStream(const Pipeline& pipeline, const std::shared_ptr<const BoundAdapter>& adapter,
                            const EncodedPrompts& prompts, const SampleRequest& request,
                            absl::FunctionRef<bool(const SampleStep&)> is_wanted,
                            absl::FunctionRef<absl::Status(SampledImage)> take) {
  FLOWAWR_ASSIGN_OR_RETURN(
      const LatentShape shape,
      LatentShapeFor(pipeline.transformer().config(), pipeline.vae().downscale(), request.height, request.width));
  const Batches batches(request, prompts, shape);
  const std::vector<float> sigmas =
      FlowMatchSigmas(request.steps, pipeline.scheduler_shift(), pipeline.num_train_timesteps());
  const size_t batch =
      request.batch > 0 ? request.batch : BatchForSize(request.height, request.width, request.guidance != 1);
  StepGraphs graphs(pipeline.transformer(), request.graph_batch);
  for (size_t first = 0; first < request.images(); first += batch) {
    const size_t end = std::min(request.images(), first + batch);
    SampleStep at{.images = request.images(), .first = first, .batch = end - first, .step = 0, .steps = request.steps};
    const at::Tensor noise = MovedTo(batches.Noise(first, end), pipeline.transformer().placement().device);
    const auto velocity = graphs.VelocityOf(adapter, batches.Embeds(first, end), {request.guidance, prompts.negative},
                                            noise.sizes());
    const auto sampled = Sample({.solver = request.solver, .sigmas = sigmas, .stochastic = std::nullopt}, noise,
                                velocity, NoStepNoise, [&](int step) {
                                  at.step = step;
                                  return is_wanted(at);
                                });
    if (!sampled.ok()) return sampled.status();
    const at::Tensor& latents = sampled->latents;
    at.step = at.steps;
    if (!at::isfinite(latents).all().item<bool>())
      return absl::InternalError("the model gave latents that are not finite: is the adapter made for this model?");
    // One by one: the decoder needs far more memory than the transformer, and rounds otherwise in other batches.
    for (size_t image = first; image < end; ++image) {
      if (!is_wanted(at)) return absl::CancelledError("stopped");
      const at::Tensor x0 = latents[static_cast<int64_t>(image - first)].clone();
      FLOWAWR_RETURN_IF_ERROR(take({.prompt = batches.PromptOf(image),
                                    .sample = batches.SampleOf(image),
                                    .image = std::move(ImagesFromTensor(pipeline.vae().Decode(x0.unsqueeze(0)))[0]),
                                    .latents = MovedTo(x0, at::kCPU)}));
    }
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status CheckNoise(const SampleRequest& request, const LatentShape& shape) {
  const at::Tensor& noise = request.noise;
  if (!noise.defined()) return absl::OkStatus();
  if (noise.size(1) != shape.channels || noise.size(2) != shape.height || noise.size(3) != shape.width)
    return absl::InvalidArgumentError(absl::StrCat("the initial latents are ", SizeText(noise), ", a ", request.height,
                                                   "x", request.width, " image of this model has ", shape.channels, "x",
                                                   shape.height, "x", shape.width));
  if (noise.size(0) != request.count && noise.size(0) != static_cast<int64_t>(request.images()))
    return absl::InvalidArgumentError(absl::StrCat("the initial latents are of ", noise.size(0), " images: expected ",
                                                   request.images(), " (", request.prompts.size(), " prompts, ",
                                                   request.count, " images each), or ", request.count,
                                                   " that all prompts share"));
  return absl::OkStatus();
}

absl::StatusOr<EncodedPrompts> EncodePrompts(const SampleRequest& request, PromptEncode encode,
                                             absl::FunctionRef<void(size_t done, size_t all)> progress) {
  std::vector<std::string> texts = request.prompts;
  if (request.guidance != 1) texts.push_back(request.negative_prompt);
  absl::flat_hash_map<std::string, PromptEmbeds> by_text;
  EncodedPrompts encoded;
  for (const std::string& text : texts) {
    progress(encoded.prompts.size(), texts.size());
    if (!by_text.contains(text)) {
      auto embeds = encode(text);
      if (!embeds.ok()) return Annotate(embeds.status(), absl::StrCat("\"", text, "\""));
      by_text[text] = *std::move(embeds);
    }
    encoded.prompts.push_back(by_text[text]);
  }
  if (request.guidance != 1) {
    encoded.negative = std::move(encoded.prompts.back());
    encoded.prompts.pop_back();
  }
  return encoded;
}

int BatchForSize(int height, int width, bool is_guided) {
  const int64_t pixels = int64_t{height} * width * (is_guided ? 2 : 1);
  return static_cast<int>(std::clamp<int64_t>(kBatchPixels / pixels, 1, kBatchImages));
}

absl::Status SampleImages(const Pipeline& pipeline, const std::shared_ptr<const BoundAdapter>& adapter,
                          const EncodedPrompts& prompts, const SampleRequest& request,
                          absl::FunctionRef<bool(const SampleStep&)> is_wanted,
                          absl::FunctionRef<absl::Status(SampledImage)> take) {
  const at::NoGradGuard no_grad;
  const at::Device device = pipeline.transformer().placement().device;
  AwaitStream(device);  // the model, adapter and prompts are there
  const OwnStream stream(device);
  const absl::Status status = SampleOnStream(pipeline, adapter, prompts, request, is_wanted, take);
  AwaitStream(device);
  return status;
}

absl::StatusOr<std::vector<ImportedLora>> ReadAdapters(const std::vector<AdapterChoice>& adapters,
                                                       std::optional<double> alpha_if_untold) {
  std::vector<ImportedLora> read;
  for (const AdapterChoice& adapter : adapters) {
    FLOWAWR_ASSIGN_OR_RETURN(ImportedLora lora, ReadLora(adapter.path, alpha_if_untold));
    read.push_back(std::move(lora));
  }
  return read;
}

absl::StatusOr<BoundAdapter> BindAdapters(const Transformer& transformer, const std::vector<AdapterChoice>& adapters,
                                          const std::vector<ImportedLora>& read) {
  std::vector<WeightedLora> weighted;
  for (size_t i = 0; i < read.size(); ++i) weighted.push_back({&read[i], adapters[i].scale});
  return transformer.BindMerged(weighted);
}

std::string SampleFileName(size_t prompt, int sample) {
  return absl::StrFormat("prompt-%03d-image-%02d.png", prompt, sample);
}

std::map<std::string, std::string> ImagesMetadata(const SampleRequest& request, const SampleSource& source,
                                                  size_t images) {
  const auto count = static_cast<size_t>(request.count);
  nlohmann::json prompts = nlohmann::json::array();
  for (size_t image = 0; image < images; image += count)
    prompts.push_back(SanitizeUtf8(request.prompts[image / count]));
  std::map<std::string, std::string> metadata = RequestMetadata(request, source);
  metadata["prompts"] = prompts.dump();
  metadata["count"] = absl::StrCat(request.count);
  return metadata;
}

std::map<std::string, std::string> ImageMetadata(const SampleRequest& request, const SampleSource& source,
                                                 size_t prompt, int sample) {
  std::map<std::string, std::string> metadata = RequestMetadata(request, source);
  metadata["prompt"] = request.prompts[prompt];
  metadata["prompt index"] = absl::StrCat(prompt);
  metadata["sample"] = absl::StrCat(sample);
  return metadata;
}

Caption ImageCaption(const SampleRequest& request, size_t prompt, int sample) {
  Caption caption{.text = request.prompts[prompt], .note = ""};
  if (request.count == 1) return caption;
  caption.note = absl::StrCat("image ", sample);
  if (!request.noise.defined()) absl::StrAppend(&caption.note, ", seed ", request.seed);
  return caption;
}

}  // namespace flowawr
