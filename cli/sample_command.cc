#include "cli/sample_command.h"

#include <ATen/Parallel.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <exception>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "cli/run_folder.h"
#include "cli/sample_images.h"
#include "common/base/file.h"
#include "common/base/status.h"
#include "common/config/prompts.h"
#include "common/process/exit_code.h"

namespace flowawr {
namespace {

constexpr char kDescription[] = "Draw pictures with a model folder or a run's result, as PNG files";

constexpr char kFooter[] = R"(Examples:
  flowawr sample runs/tiny-ocr --prompt 'a sign that says "CAT"'
  flowawr sample runs/tiny-ocr --base --prompts models/tiny-sd3/prompts/heldout.txt --out before
  flowawr sample --model models/tiny-sd3 --height 32 --width 64 --prompt 'a sign that says "DOG"' --count 4
  flowawr sample --model stable-diffusion-3.5-medium --adapter runs/sd35/export/peft --dtype bfloat16 --prompt 'a cat'

A run gives its model, picture size, evaluation solver and steps, and its average policy: the exported one, else the
newest checkpoint's. The same command gives the same bytes; every PNG carries what made it as text. OUT/grid.png shows
them all.)";

constexpr int64_t kMostGridPixels = int64_t{1} << 26;
constexpr int kGridGap = 4;

struct Arguments {
  std::string run_dir, model, adapter, prompts_file, out = "samples", solver, dtype;
  std::vector<std::string> prompts;
  bool base = false;
  uint64_t seed = 1;
  int steps = 0, height = 0, width = 0, count = 1, threads = 0;
};

// Every choice made, from the arguments or from the run.
struct Plan {
  SampleRequest request;
  std::string model;
  std::string peft_folder;   // or
  std::string adapter_file;  // with config.lora; both empty: the base model
  Pipeline::Options options;
  v1::RunConfig config;
};

absl::Status AddPrompts(const Arguments& arguments, SampleRequest* request) {
  request->prompts = arguments.prompts;
  if (!arguments.prompts_file.empty()) {
    FLOWAWR_ASSIGN_OR_RETURN(const std::vector<v1::Prompt> prompts, LoadPrompts(arguments.prompts_file));
    for (const v1::Prompt& prompt : prompts) request->prompts.push_back(prompt.text());
  }
  if (request->prompts.empty())
    return absl::InvalidArgumentError("nothing to draw: give --prompt TEXT, or --prompts FILE with one prompt a line");
  return absl::OkStatus();
}

absl::Status AddRun(const Arguments& arguments, Plan* plan) {
  FLOWAWR_ASSIGN_OR_RETURN(plan->config, ReadRunFolderConfig(arguments.run_dir));
  const v1::RunConfig& config = plan->config;
  plan->model = config.model().path();
  plan->options.dtype = config.model().dtype() == v1::BFLOAT16 ? at::kBFloat16 : at::kFloat;
  plan->options.max_sequence_length = config.model().max_sequence_length();
  plan->request.solver = config.evaluation().solver();
  plan->request.steps = config.evaluation().steps();
  plan->request.height = config.model().height();
  plan->request.width = config.model().width();
  if (arguments.base || !arguments.adapter.empty()) return absl::OkStatus();
  std::error_code ignored;
  if (std::filesystem::exists(ExportedPeftFolder(arguments.run_dir) + "/adapter_model.safetensors", ignored)) {
    plan->peft_folder = ExportedPeftFolder(arguments.run_dir);
    return absl::OkStatus();
  }
  const absl::StatusOr<CheckpointFolder> checkpoint = NewestCheckpoint(arguments.run_dir);
  if (!checkpoint.ok())
    return Annotate(checkpoint.status(), "no policy to draw with (--base draws with the base model)");
  plan->adapter_file = checkpoint->path + "/average.safetensors";
  return absl::OkStatus();
}

absl::StatusOr<Plan> MakePlan(const Arguments& arguments) {
  Plan plan;
  FLOWAWR_RETURN_IF_ERROR(AddPrompts(arguments, &plan.request));
  if (arguments.run_dir.empty() && arguments.model.empty())
    return absl::InvalidArgumentError("name a run directory, or --model FOLDER (a diffusers folder)");
  if (!arguments.run_dir.empty()) FLOWAWR_RETURN_IF_ERROR(AddRun(arguments, &plan));
  if (!arguments.model.empty()) plan.model = arguments.model;
  if (!arguments.adapter.empty()) plan.peft_folder = arguments.adapter;
  if (!arguments.dtype.empty()) plan.options.dtype = arguments.dtype == "bfloat16" ? at::kBFloat16 : at::kFloat;
  if (const auto solver = SolverFromName(arguments.solver)) plan.request.solver = *solver;
  if (arguments.steps > 0) plan.request.steps = arguments.steps;
  if (arguments.height > 0) plan.request.height = arguments.height;
  if (arguments.width > 0) plan.request.width = arguments.width;
  plan.request.count = arguments.count;
  plan.request.seed = arguments.seed;
  return plan;
}

// What a model folder alone tells: the square its position table was made for.
void FillInSize(const Pipeline& pipeline, SampleRequest* request) {
  const int side = static_cast<int>(pipeline.transformer().config().sample_size) * pipeline.vae().downscale();
  if (request->height == 0) request->height = side;
  if (request->width == 0) request->width = side;
}

absl::StatusOr<std::optional<BoundAdapter>> BindPlanned(const Pipeline& pipeline, const Plan& plan) {
  if (plan.peft_folder.empty() && plan.adapter_file.empty()) return std::nullopt;
  FLOWAWR_ASSIGN_OR_RETURN(BoundAdapter bound,
                           plan.peft_folder.empty()
                               ? BindAdapterFile(pipeline.transformer(), plan.adapter_file, plan.config.lora())
                               : BindPeftFolder(pipeline.transformer(), plan.peft_folder));
  return bound;
}

// One line that is written over on a terminal; silent elsewhere.
class Progress {
 public:
  explicit Progress(size_t images) : images_(images), is_terminal_(isatty(STDERR_FILENO) != 0) {}
  ~Progress() {
    if (is_terminal_ && done_ > 0) std::fputc('\n', stderr);
  }
  void Add() {
    ++done_;
    if (is_terminal_) std::fprintf(stderr, "\r%zu of %zu images", done_, images_);
  }

 private:
  size_t images_;
  bool is_terminal_;
  size_t done_ = 0;
};

absl::Status WriteGrid(const std::vector<Image>& images, const SampleRequest& request, const std::string& file) {
  const int columns =
      request.count > 1 ? request.count : static_cast<int>(std::ceil(std::sqrt(static_cast<double>(images.size()))));
  FLOWAWR_ASSIGN_OR_RETURN(const std::string png, EncodePng(Grid(images, columns, kGridGap)));
  return WriteFileAtomically(file, png);
}

absl::Status Sample(const Arguments& arguments) {
  FLOWAWR_ASSIGN_OR_RETURN(Plan plan, MakePlan(arguments));
  if (arguments.threads > 0) at::set_num_threads(arguments.threads);
  FLOWAWR_ASSIGN_OR_RETURN(const std::unique_ptr<Pipeline> pipeline, Pipeline::Load(plan.model, plan.options));
  FillInSize(*pipeline, &plan.request);
  FLOWAWR_ASSIGN_OR_RETURN(const std::optional<BoundAdapter> adapter, BindPlanned(*pipeline, plan));
  FLOWAWR_RETURN_IF_ERROR(MakeDirectories(arguments.out));

  const SampleRequest& request = plan.request;
  const std::string adapter_name = plan.peft_folder.empty() ? plan.adapter_file : plan.peft_folder;
  const int64_t cell = int64_t{request.height + kGridGap} * (request.width + kGridGap);
  Progress progress(request.prompts.size() * static_cast<size_t>(request.count));
  std::vector<Image> grid;
  size_t images = 0;
  const auto take = [&](SampledImage sampled) -> absl::Status {
    FLOWAWR_ASSIGN_OR_RETURN(
        const std::string png,
        EncodePng(sampled.image, SampleMetadata(request, sampled.prompt, sampled.sample, plan.model, adapter_name)));
    FLOWAWR_RETURN_IF_ERROR(
        WriteFileAtomically(absl::StrCat(arguments.out, "/", SampleFileName(sampled.prompt, sampled.sample)), png));
    if (cell * static_cast<int64_t>(grid.size() + 1) <= kMostGridPixels) grid.push_back(std::move(sampled.image));
    ++images;
    progress.Add();
    return absl::OkStatus();
  };
  FLOWAWR_RETURN_IF_ERROR(SampleImages(*pipeline, adapter.has_value() ? &*adapter : nullptr, request, take));
  FLOWAWR_RETURN_IF_ERROR(WriteGrid(grid, request, arguments.out + "/grid.png"));
  std::printf("%zu images in %s, all together in %s/grid.png\n", images, arguments.out.c_str(), arguments.out.c_str());
  return absl::OkStatus();
}

absl::Status SampleWithoutThrowing(const Arguments& arguments) {
  try {
    return Sample(arguments);
  } catch (const std::exception& error) {
    return absl::InternalError(absl::StrCat("sampling failed: ", error.what()));
  }
}

}  // namespace

void AddSampleCommand(CLI::App& app, int* exit_code) {
  auto arguments = std::make_shared<Arguments>();
  CLI::App* command = app.add_subcommand("sample", kDescription);
  command->footer(kFooter);
  command->add_option("RUN_DIR,--run-dir", arguments->run_dir, "a run, going on or over");
  command->add_option("--model", arguments->model, "a diffusers folder; with RUN_DIR, instead of the run's");
  CLI::Option* adapter = command->add_option("--adapter", arguments->adapter, "a PEFT folder; default: the run's");
  command->add_flag("--base", arguments->base, "without any adapter")->excludes(adapter);
  command->add_option("--prompt", arguments->prompts, "a prompt; may be repeated")->allow_extra_args(false);
  command->add_option("--prompts", arguments->prompts_file, "a file of prompts: one a line, or JSON lines");
  command->add_option("--count", arguments->count, "images of each prompt")
      ->check(CLI::Range(1, 1000))
      ->capture_default_str();
  command->add_option("--seed", arguments->seed, "fixes the noise")->capture_default_str();
  command->add_option("--solver", arguments->solver, "default: the run's evaluation solver, else euler")
      ->check(CLI::IsMember({SolverName(v1::EULER), SolverName(v1::DPM_SOLVER_PP_2M)}));
  command->add_option("--steps", arguments->steps, "default: the run's evaluation steps, else 40")
      ->check(CLI::Range(1, 1000));
  command->add_option("--height", arguments->height, "pixels; default: the run's, else the model's")
      ->check(CLI::Range(16, 4096));
  command->add_option("--width", arguments->width, "pixels; default: the run's, else the model's")
      ->check(CLI::Range(16, 4096));
  command->add_option("--dtype", arguments->dtype, "of the weights; default: the run's, else float32")
      ->check(CLI::IsMember({"float32", "bfloat16"}));
  command->add_option("--threads", arguments->threads, "default: one a core")->check(CLI::Range(1, 1024));
  command->add_option("--out", arguments->out, "folder, made if absent; files of the same names are replaced")
      ->capture_default_str();
  command->callback([arguments, exit_code] { *exit_code = ReportAndExitCodeOf(SampleWithoutThrowing(*arguments)); });
}

}  // namespace flowawr
