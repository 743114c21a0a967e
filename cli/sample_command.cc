#include "cli/sample_command.h"

#include <CLI/CLI.hpp>
#include <cstdio>
#include <filesystem>
#include <limits>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "cli/interrupt.h"
#include "cli/latents_file.h"
#include "cli/prepare_to_compute.h"
#include "cli/run_folder.h"
#include "cli/sample_grid.h"
#include "cli/sample_images.h"
#include "cli/sample_progress.h"
#include "common/base/file.h"
#include "common/base/status.h"
#include "common/base/utf8.h"
#include "common/config/prompts.h"
#include "common/diffusion/solver.h"
#include "common/process/device_option.h"
#include "common/process/exit_code.h"
#include "common/process/option_values.h"
#include "common/sd3/compute_dtype.h"
#include "common/sd3/latent_shape.h"
#include "common/sd3/model_folder.h"
#include "common/sd3/pipeline_check.h"
#include "common/sd3/prompt_embedder.h"
#include "common/sd3/text_encoders.h"
#include "common/telemetry/read_progress.h"
#include "common/tensor/determinism.h"
#include "common/tensor/device_error.h"
#include "common/tensor/devices.h"

namespace flowawr {
namespace {

constexpr char kDescription[] = "Draw pictures with a model folder or a run's result, as PNG files";

constexpr char kFooter[] = R"(Examples:
  flowawr sample runs/tiny-ocr --prompt 'a sign that says "CAT"'
  flowawr sample runs/tiny-ocr --base --prompts models/tiny-sd3/prompts/heldout.txt --out before
  flowawr sample --model models/tiny-sd3 --count 4 --prompt 'a sign that says "DOG"'
  flowawr sample --model models/stable-diffusion-3.5-medium --dtype bfloat16 --adapter runs/sd35/export/peft:0.8 \
      --prompt 'a cat' --guidance 4.5 --negative-prompt blurry --height 768 --width 1024

A run gives its model, picture size, evaluation solver and steps, and the average policy of its newest checkpoint (or,
without checkpoints, the adapter in its export folder). The same command gives the same bytes, and an image does not
depend on --batch; every PNG carries what made it as text. OUT/grid.png shows them together, each over its prompt.
Ctrl-C keeps what is done.

To compare with another program, give both the same noise: --latents takes a safetensors file with one tensor
[images, channels, height / 8, width / 8] (8 is the VAE's factor), --save-latents writes what the solver ends with.)";

constexpr int kSequenceLengthOfDiffusers = 256;

// Of a configuration that does not name it.
int UsualGraphBatch() {
  const google::protobuf::FieldDescriptor& field = *v1::SamplerConfig::descriptor()->FindFieldByName("graph_batch");
  return std::stoi(field.options().GetExtension(v1::rule).default_value());
}

struct Arguments {
  std::string run_dir, model, prompts_file, out = "samples", solver, dtype, device = "auto", latents, save_latents;
  std::vector<std::string> prompts, adapters;
  std::optional<std::string> negative_prompt;
  std::optional<int> count, graph_batch;
  bool base = false;
  uint64_t seed = 1;
  double guidance = 1, scale = 1;
  int max_sequence_length = 0;
  int steps = 0, height = 0, width = 0, batch = 0, threads = 0;
};

// Every choice made, from the arguments or from the run.
struct Plan {
  SampleRequest request;
  std::string model;
  std::vector<AdapterChoice> adapters;  // none: the base model
  std::vector<ImportedLora> loras;      // read from them
  Pipeline::Options options;
  v1::RunConfig config;
};

absl::Status AddPrompts(const Arguments& arguments, SampleRequest* request) {
  request->prompts = arguments.prompts;
  if (!arguments.prompts_file.empty()) {
    FLOWAWR_ASSIGN_OR_RETURN(const PromptSet prompts, PromptSet::Load(arguments.prompts_file));
    for (size_t i = 0; i < prompts.size(); ++i) request->prompts.push_back(prompts.At(i).text());
  }
  for (const std::string& text : arguments.prompts)
    if (!IsValidUtf8(text))
      return UsageError(absl::StrCat("--prompt \"", SanitizeUtf8(text), "\" is not UTF-8"));
  if (!IsValidUtf8(arguments.negative_prompt.value_or("")))
    return UsageError("--negative-prompt is not UTF-8");
  if (request->prompts.empty())
    return UsageError("nothing to draw: give --prompt TEXT, or --prompts FILE with one prompt a line");
  if (arguments.negative_prompt.has_value() && arguments.guidance == 1)
    return UsageError("a negative prompt needs guidance: give --guidance SCALE above 1 too, like 4.5");
  request->negative_prompt = arguments.negative_prompt.value_or("");
  request->guidance = arguments.guidance;
  return absl::OkStatus();
}

absl::Status AddRun(const Arguments& arguments, Plan* plan) {
  FLOWAWR_ASSIGN_OR_RETURN(plan->config, ReadRunFolderConfig(arguments.run_dir));
  const v1::RunConfig& config = plan->config;
  plan->model = config.model().path();
  plan->options.placement.dtype = ScalarTypeOf(config.model().dtype());
  plan->options.max_sequence_length = config.model().max_sequence_length();
  plan->request.solver = config.evaluation().solver();
  plan->request.steps = config.evaluation().steps();
  plan->request.height = config.model().height();
  plan->request.width = config.model().width();
  plan->request.graph_batch = config.sampler().graph_batch();
  if (arguments.base || !arguments.adapters.empty()) return absl::OkStatus();
  const absl::StatusOr<CheckpointFolder> checkpoint = NewestCheckpoint(arguments.run_dir);
  std::error_code ignored;
  if (checkpoint.ok()) {
    plan->adapters = {{checkpoint->path + "/average.safetensors", arguments.scale}};
  } else if (!absl::IsNotFound(checkpoint.status())) {
    return checkpoint.status();
  } else if (const std::string exported = ExportedPeftFolder(arguments.run_dir);
             std::filesystem::exists(exported + "/adapter_model.safetensors", ignored)) {
    plan->adapters = {{exported, arguments.scale}};
  } else {
    return Annotate(checkpoint.status(), "no policy to draw with (--base draws with the base model)");
  }
  return absl::OkStatus();
}

absl::Status CheckPlaces(const Arguments& arguments) {
  if (arguments.save_latents.empty()) return absl::OkStatus();
  std::error_code ignored;
  const std::filesystem::path file = arguments.save_latents;
  if (std::filesystem::is_directory(file, ignored) || !file.has_filename())
    return UsageError(absl::StrCat("--save-latents ", arguments.save_latents, ": name a file"));
  return file.has_parent_path() ? MakeDirectories(file.parent_path()) : absl::OkStatus();
}

// Initial noise from a file also says how many images of which size are wanted, as far as nobody else does.
absl::Status AddNoise(const Arguments& arguments, const PictureSizes& sizes, SampleRequest* request) {
  if (arguments.latents.empty()) return absl::OkStatus();
  FLOWAWR_ASSIGN_OR_RETURN(request->noise, ReadLatentsFile(arguments.latents));
  if (arguments.height == 0) request->height = static_cast<int>(request->noise.size(2)) * sizes.vae_downscale;
  if (arguments.width == 0) request->width = static_cast<int>(request->noise.size(3)) * sizes.vae_downscale;
  if (arguments.count.has_value()) return absl::OkStatus();
  const int64_t images = request->noise.size(0), prompts = static_cast<int64_t>(request->prompts.size());
  if (images % prompts != 0)
    return absl::InvalidArgumentError(absl::StrCat(arguments.latents, ": latents of ", images, " images for ", prompts,
                                                   " prompts: the number must be a multiple, or give --count ", images,
                                                   " if all prompts are to share them"));
  request->count = static_cast<int>(images / prompts);
  return absl::OkStatus();
}

// A mistake is told before any weight of the model is loaded.
absl::StatusOr<Plan> MakePlan(const Arguments& arguments, at::Device device) {
  Plan plan;
  SampleRequest& request = plan.request;
  request.graph_batch = UsualGraphBatch();
  FLOWAWR_RETURN_IF_ERROR(CheckPlaces(arguments));
  FLOWAWR_RETURN_IF_ERROR(AddPrompts(arguments, &request));
  if (arguments.run_dir.empty() && arguments.model.empty())
    return UsageError("name a run directory, or --model FOLDER (a diffusers folder)");
  if (!arguments.run_dir.empty()) FLOWAWR_RETURN_IF_ERROR(AddRun(arguments, &plan));
  if (!arguments.model.empty()) plan.model = arguments.model;
  for (const std::string& adapter : arguments.adapters) {
    FLOWAWR_ASSIGN_OR_RETURN(plan.adapters.emplace_back(), ParseAdapterChoice(adapter, arguments.scale));
  }
  if (arguments.run_dir.empty()) plan.options.max_sequence_length = 0;
  if (arguments.max_sequence_length > 0) plan.options.max_sequence_length = arguments.max_sequence_length;
  if (!arguments.dtype.empty()) plan.options.placement.dtype = DTypeNamed(arguments.dtype);
  plan.options.placement.device = device;
  if (const auto solver = SolverFromName(arguments.solver)) request.solver = *solver;
  if (arguments.steps > 0) request.steps = arguments.steps;
  if (arguments.height > 0) request.height = arguments.height;
  if (arguments.width > 0) request.width = arguments.width;
  request.count = arguments.count.value_or(1);
  request.seed = arguments.seed;
  request.batch = arguments.batch;
  if (arguments.graph_batch.has_value()) request.graph_batch = *arguments.graph_batch;
  FLOWAWR_RETURN_IF_ERROR(CheckModelFolder(plan.model));
  const auto check_files = [&] {
    return CheckPipelineFiles(plan.model, /*has_text_encoders=*/plan.config.model().embeds_cache().empty());
  };
  const absl::StatusOr<PictureSizes> sizes = ReadPictureSizes(plan.model);
  if (!sizes.ok()) {
    FLOWAWR_RETURN_IF_ERROR(check_files());
    return sizes.status();
  }
  FLOWAWR_RETURN_IF_ERROR(AddNoise(arguments, *sizes, &request));
  if (request.height == 0) request.height = sizes->usual_height;
  if (request.width == 0) request.width = sizes->usual_width;
  int& tokens = plan.options.max_sequence_length;
  if (tokens == 0) tokens = sizes->usual_sequence_length;
  if (tokens == 0) tokens = arguments.run_dir.empty() ? kSequenceLengthOfDiffusers : kUsualSequenceLength;
  FLOWAWR_ASSIGN_OR_RETURN(const LatentShape shape, sizes->LatentShapeFor(request.height, request.width));
  FLOWAWR_RETURN_IF_ERROR(CheckNoise(request, shape));
  const auto alpha = plan.config.has_lora() ? std::optional<double>(plan.config.lora().alpha()) : std::nullopt;
  FLOWAWR_ASSIGN_OR_RETURN(plan.loras, ReadAdapters(plan.adapters, alpha));
  FLOWAWR_RETURN_IF_ERROR(check_files());
  return plan;
}

// Null for the base model.
absl::StatusOr<std::shared_ptr<const BoundAdapter>> BindPlanned(const Pipeline& pipeline, const Plan& plan) {
  if (plan.adapters.empty()) return nullptr;
  FLOWAWR_ASSIGN_OR_RETURN(BoundAdapter bound, BindAdapters(pipeline.transformer(), plan.adapters, plan.loras));
  return std::make_shared<const BoundAdapter>(std::move(bound));
}

// Shows what is read.
ComponentProgress ShowIn(SampleProgress& progress) {
  return [&progress](absl::string_view component, int64_t bytes, int64_t total) {
    progress.Show(ReadingText(component, bytes, total));
  };
}

// By the run's cache of embeddings, if it has one, else by the text encoders. Those are gone before the transformer is
// loaded: of a large model, only one of both need fit.
absl::StatusOr<EncodedPrompts> EncodePlanned(const Plan& plan, SampleProgress& progress) {
  const auto show = [&](size_t done, size_t all) {
    progress.Show(absl::StrCat("encoding prompt ", done + 1, " of ", all));
  };
  const TextEncoders::Options options{.placement = plan.options.placement,
                                      .max_sequence_length = plan.options.max_sequence_length,
                                      .progress = ShowIn(progress)};
  if (const std::string& cache = plan.config.model().embeds_cache(); !cache.empty()) {
    FLOWAWR_ASSIGN_OR_RETURN(const auto embedder, PromptEmbedder::Create(plan.model, options, cache));
    return EncodePrompts(
        plan.request, [&](const std::string& text) { return embedder->Embed(text); }, show);
  }
  FLOWAWR_ASSIGN_OR_RETURN(const auto encoders, TextEncoders::Load(plan.model, options));
  const auto encode = [&](const std::string& text) {
    for (const std::string& line : encoders->DescribeCut(text)) progress.Say("warning: " + line);
    return encoders->EncodePrompts({text});
  };
  return EncodePrompts(plan.request, encode, show);
}

absl::StatusOr<std::unique_ptr<Pipeline>> LoadImageSide(const Plan& plan, SampleProgress& progress) {
  progress.Show(absl::StrCat("loading ", plan.model));
  Pipeline::Options options = plan.options;
  options.progress = ShowIn(progress);
  return Pipeline::LoadImageSide(plan.model, options);
}

SampleSource SourceOf(const Arguments& arguments, const Plan& plan) {
  return {.model = plan.model,
          .adapters = plan.adapters,
          .dtype = NameOf(plan.options.placement.dtype),
          .max_sequence_length = plan.options.max_sequence_length,
          .noise_file = arguments.latents};
}

// What is drawn, as files: every image at once, the rest by Finish().
class Output {
 public:
  Output(const Arguments& arguments, const SampleRequest& request, SampleSource source)
      : arguments_(arguments), request_(request), source_(std::move(source)) {}

  size_t images() const { return images_; }

  absl::Status Take(SampledImage sampled) {
    FLOWAWR_ASSIGN_OR_RETURN(
        const std::string png,
        EncodePng(sampled.image, ImageMetadata(request_, source_, sampled.prompt, sampled.sample)));
    FLOWAWR_RETURN_IF_ERROR(
        WriteFileAtomically(absl::StrCat(arguments_.out, "/", SampleFileName(sampled.prompt, sampled.sample)), png));
    ++images_;
    if (grid_.size() < FitTogether(request_.images()).images)
      grid_.push_back({std::move(sampled.image), ImageCaption(request_, sampled.prompt, sampled.sample)});
    if (!arguments_.save_latents.empty()) latents_.push_back(std::move(sampled.latents));
    return absl::OkStatus();
  }

  // Of the images that were taken, be they all or not.
  absl::Status Finish() const {
    if (!latents_.empty()) {
      FLOWAWR_RETURN_IF_ERROR(WriteLatentsFile(arguments_.save_latents, latents_,
                                               ImagesMetadata(request_, source_, latents_.size())));
    }
    return grid_.empty() ? absl::OkStatus() : WriteGrid();
  }

  // "all together in OUT/grid.png", after Finish().
  std::string GridText() const {
    if (grid_.empty()) return "too large to be shown together";
    const std::string what = grid_.size() == images_ ? "all" : absl::StrCat("the first ", grid_.size());
    return absl::StrCat(what, " together in ", arguments_.out, "/grid.png");
  }

 private:
  GridShape FitTogether(size_t images) const {
    return FitGrid(images, request_.count > 1 ? request_.count : 0,
                   GridCellFor(request_.height, request_.width, /*has_note=*/request_.count > 1));
  }
  absl::Status WriteGrid() const {
    FLOWAWR_ASSIGN_OR_RETURN(const Image grid, DrawGrid(grid_, FitTogether(grid_.size()).columns));
    FLOWAWR_ASSIGN_OR_RETURN(const std::string png, EncodePng(grid, ImagesMetadata(request_, source_, grid_.size())));
    return WriteFileAtomically(arguments_.out + "/grid.png", png);
  }

  const Arguments& arguments_;
  const SampleRequest& request_;
  const SampleSource source_;
  std::vector<CaptionedImage> grid_;
  std::vector<at::Tensor> latents_;
  size_t images_ = 0;
};

absl::Status Sample(const Arguments& arguments, at::Device device) {
  FLOWAWR_ASSIGN_OR_RETURN(const Plan plan, MakePlan(arguments, device));
  const SampleRequest& request = plan.request;
  FLOWAWR_RETURN_IF_ERROR(MakeDirectories(arguments.out));
  PrepareToCompute(arguments.threads, plan.options.placement.dtype);
  SampleProgress progress;
  FLOWAWR_ASSIGN_OR_RETURN(const EncodedPrompts prompts, EncodePlanned(plan, progress));
  FLOWAWR_ASSIGN_OR_RETURN(const auto pipeline, LoadImageSide(plan, progress));
  FLOWAWR_ASSIGN_OR_RETURN(const std::shared_ptr<const BoundAdapter> adapter, BindPlanned(*pipeline, plan));

  const Interrupt interrupt;  // until here nothing is lost by ending at once
  Output output(arguments, request, SourceOf(arguments, plan));
  const absl::Status drawn = SampleImages(
      *pipeline, adapter, prompts, request,
      [&](const SampleStep& step) {
        if (!interrupt.came()) progress.ShowStep(step);
        return !interrupt.came();
      },
      [&](SampledImage sampled) { return output.Take(std::move(sampled)); });
  progress.Show("");
  const absl::Status finished = output.Finish();
  if (absl::IsCancelled(drawn))
    return absl::CancelledError(
        absl::StrCat("stopped: ", output.images(), " of ", request.images(), " images are in ", arguments.out));
  FLOWAWR_RETURN_IF_ERROR(drawn);
  FLOWAWR_RETURN_IF_ERROR(finished);
  std::printf("%zu images in %s, %s\n", output.images(), arguments.out.c_str(), output.GridText().c_str());
  return absl::OkStatus();
}

absl::Status SampleWithoutThrowing(const Arguments& arguments) {
  FLOWAWR_ASSIGN_OR_RETURN(const at::Device device, FindDevice(arguments.device));
  FLOWAWR_RETURN_IF_ERROR(ChooseKernels(/*deterministic=*/true, device));
  return OnDevice("sampling", device, [&] { return Sample(arguments, device); },
                  "Lower --batch, set --graph-batch 0 or --dtype bfloat16, or choose another --device; `flowawr plan` has "
                  "figures");
}

void AddWhat(CLI::App* command, Arguments* arguments) {
  command->add_option("RUN_DIR,--run-dir", arguments->run_dir, "a run, going on or over");
  command->add_option("--model", arguments->model, "a diffusers folder; with RUN_DIR, instead of the run's");
  CLI::Option* adapter = command
                             ->add_option("--adapter", arguments->adapters,
                                          "a PEFT folder or a diffusers LoRA file; may be repeated; default: the run's")
                             ->type_name("PATH[:SCALE]")
                             ->allow_extra_args(false);
  command->add_option("--scale", arguments->scale, "of every adapter that names none of its own")
      ->check(Number(-kMostScale, kMostScale))
      ->capture_default_str();
  command->add_flag("--base", arguments->base, "without any adapter")->excludes(adapter);
  command->add_option("--prompt", arguments->prompts, "a prompt; may be repeated")->allow_extra_args(false);
  command->add_option("--prompts", arguments->prompts_file, "a file of prompts: one a line, or JSON lines");
  command->add_option("--negative-prompt", arguments->negative_prompt, "what guidance leads away from; default: empty");
  command->add_option("--count", arguments->count, "images of each prompt; default: 1, or what --latents has")
      ->transform(WholeNumber(1, 1000));
}

void AddHow(CLI::App* command, Arguments* arguments) {
  CLI::Option* seed =
      command->add_option("--seed", arguments->seed, "fixes the noise, whatever the batch")
          ->transform(WholeNumber(0, std::numeric_limits<uint64_t>::max()))
          ->capture_default_str();
  command->add_option("--latents", arguments->latents, "safetensors file of initial noise, instead of a seed's")
      ->excludes(seed);
  command->add_option("--solver", arguments->solver, "default: the run's evaluation solver, else euler")
      ->check(CLI::IsMember(SolverNames()));
  command->add_option("--steps", arguments->steps, "default: the run's evaluation steps, else 40")
      ->transform(WholeNumber(1, 1000));
  command
      ->add_option("--guidance", arguments->guidance, "scale of classifier-free guidance; 1: none, and twice as fast")
      ->check(Number(1, 100))
      ->capture_default_str();
  command->add_option("--height", arguments->height, "pixels; default: the run's, else the model's")
      ->transform(WholeNumber(1, 1 << 16));
  command->add_option("--width", arguments->width, "pixels; default: the run's, else the model's")
      ->transform(WholeNumber(1, 1 << 16));
  command->add_option("--batch", arguments->batch, "images of one forward pass; default: 1024x1024 pixels' worth")
      ->transform(WholeNumber(1, 1024));
  command
      ->add_option("--graph-batch", arguments->graph_batch,
                   "on a GPU, steps of a pass of at most so many images are recorded once and replayed, which changes no "
                   "bit; 0: none; default: the run's sampler.graph_batch, else 4")
      ->transform(WholeNumber(0, 64));
  command
      ->add_option("--max-sequence-length", arguments->max_sequence_length,
                   "T5 tokens of a prompt; default: the run's or the model's, else 256 as in diffusers")
      ->transform(WholeNumber(1, 512));
  command->add_option("--dtype", arguments->dtype, "of the weights; default: the run's, else float32")
      ->check(CLI::IsMember({"float32", "bfloat16"}));
  AddDeviceOption(*command, "prompts are encoded and images drawn", &arguments->device);
  command->add_option("--threads", arguments->threads, "default: one a core")->transform(WholeNumber(1, 1024));
}

}  // namespace

void AddSampleCommand(CLI::App& app, int* exit_code) {
  auto arguments = std::make_shared<Arguments>();
  CLI::App* command = app.add_subcommand("sample", kDescription);
  command->footer(kFooter);
  AddWhat(command, arguments.get());
  AddHow(command, arguments.get());
  command->add_option("--out", arguments->out, "folder, made if absent; files of the same names are replaced")
      ->capture_default_str();
  command->add_option("--save-latents", arguments->save_latents,
                      "safetensors file for the final latents of all images");
  command->callback([arguments, exit_code] { *exit_code = ReportAndExitCodeOf(SampleWithoutThrowing(*arguments)); });
}

}  // namespace flowawr
