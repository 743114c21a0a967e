#include "cli/encode_command.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "cli/interrupt.h"
#include "cli/panel.h"
#include "cli/prepare_to_compute.h"
#include "cli/sample_progress.h"
#include "cli/set_option.h"
#include "common/base/clock.h"
#include "common/base/status.h"
#include "common/config/prompts.h"
#include "common/config/run_config.h"
#include "common/process/device_option.h"
#include "common/process/exit_code.h"
#include "common/process/option_values.h"
#include "common/sd3/compute_dtype.h"
#include "common/sd3/latent_shape.h"
#include "common/sd3/model_folder.h"
#include "common/sd3/prompt_cache.h"
#include "common/sd3/text_encoders.h"
#include "common/telemetry/read_progress.h"
#include "common/tensor/determinism.h"
#include "common/tensor/device_error.h"
#include "common/tensor/devices.h"

namespace flowawr {
namespace {

constexpr char kDescription[] = "Compute prompt embeddings before a run, so that its actors need no text encoders";

constexpr char kFooter[] = R"(Examples:
  flowawr encode configs/sd35-medium-ocr.yaml --cache embeds
  flowawr encode --model models/stable-diffusion-3.5-medium --dtype bfloat16 --prompts prompts.txt --cache embeds
  flowawr run configs/sd35-medium-ocr.yaml --set model.embeds_cache=embeds

With CONFIG, all its training and held-out prompts are encoded as its actors would, into its model.embeds_cache, and
the empty prompt, which `flowawr sample --guidance` leads away from. An
actor that finds every prompt in the cache never loads a text encoder, which is most of its memory: T5-XXL alone is
9.5 GB in bfloat16. What is in the cache already is skipped; damaged entries are replaced. Ctrl-C keeps what is done.

The encoders are loaded one after another, each for all prompts, so the peak is the largest one. A prompt of Stable
Diffusion 3.5 takes 1.7 MB of disk in bfloat16 (2.7 MB with --max-sequence-length 256), twice that in float32.)";

// The CLIPs' part of so many prompts is in memory at a time: 0.3 GB in bfloat16.
constexpr size_t kPromptsInTurn = 1024;
constexpr absl::Duration kLineEvery = absl::Seconds(10);
constexpr size_t kCutsToTell = 10;

struct Arguments {
  std::string config, model, cache, dtype, device = "auto";
  std::vector<std::string> overrides, prompts_files;
  int max_sequence_length = 0, batch = 1, threads = 0;
};

struct Plan {
  std::string model, cache;
  TextEncoders::Options options;
  std::vector<std::string> prompts;  // each once
};

absl::StatusOr<Plan> MakePlan(const Arguments& arguments, at::Device device) {
  Plan plan{.options = {.max_sequence_length = 0}};
  std::vector<std::string> files = arguments.prompts_files;
  if (arguments.config.empty() && !arguments.overrides.empty())
    return UsageError("--set changes a configuration: name one");
  if (!arguments.config.empty()) {
    FLOWAWR_ASSIGN_OR_RETURN(const v1::RunConfig config, LoadRunConfig(arguments.config, arguments.overrides));
    plan.model = config.model().path();
    plan.cache = config.model().embeds_cache();
    plan.options.placement.dtype = ScalarTypeOf(config.model().dtype());
    plan.options.max_sequence_length = config.model().max_sequence_length();
    files.push_back(config.prompts().train());
    if (!config.prompts().heldout().empty()) files.push_back(config.prompts().heldout());
  }
  if (!arguments.model.empty()) plan.model = arguments.model;
  if (!arguments.cache.empty()) plan.cache = arguments.cache;
  if (!arguments.dtype.empty()) plan.options.placement.dtype = DTypeNamed(arguments.dtype);
  plan.options.placement.device = device;
  if (arguments.max_sequence_length > 0) plan.options.max_sequence_length = arguments.max_sequence_length;
  if (plan.model.empty())
    return UsageError("name a run's configuration, or --model FOLDER (a diffusers folder)");
  if (plan.options.max_sequence_length == 0) {
    FLOWAWR_ASSIGN_OR_RETURN(plan.options.max_sequence_length, ReadSequenceLength(plan.model, kUsualSequenceLength));
  }
  if (files.empty()) return UsageError("nothing to encode: give --prompts FILE, one prompt a line");
  if (plan.cache.empty())
    return UsageError("nowhere to put the embeddings: give --cache DIR, or set model.embeds_cache");
  FLOWAWR_RETURN_IF_ERROR(CheckModelFolder(plan.model));  // before a file that waits for it
  std::set<std::string> seen;
  for (const std::string& file : files) {
    FLOWAWR_ASSIGN_OR_RETURN(const PromptSet prompts, PromptSet::Load(file));
    for (size_t i = 0; i < prompts.size(); ++i) {
      std::string text = prompts.At(i).text();
      if (seen.insert(text).second) plan.prompts.push_back(std::move(text));
    }
  }
  plan.prompts.emplace_back();  // what guidance leads away from unless told otherwise
  return plan;
}

// The prompts without a whole entry.
std::vector<std::string> Missing(const PromptCache& cache, const std::vector<std::string>& prompts) {
  std::vector<std::string> missing;
  for (const std::string& prompt : prompts) {
    const absl::Status status = cache.Get(prompt).status();
    if (status.ok()) continue;
    if (absl::IsDataLoss(status)) std::fprintf(stderr, "%s; computed anew\n", std::string(status.message()).c_str());
    missing.push_back(prompt);
  }
  return missing;
}

// Shows how far an encoder has come with the prompts of one turn.
class EncodeProgress {
 public:
  void ShowStep(const TextEncoders::Step& step) {
    const absl::Time now = MonotonicNow();
    if (step.component != component_ || step.done <= done_) {
      component_ = step.component;
      start_ = now;
      first_ = step.done;
    }
    done_ = step.done;
    // The first batch is not timed: it includes loading.
    const std::string line = DescribeEncoding(step.component, step.done, step.all, step.done - first_, now - start_);
    if (now - said_ >= kLineEvery || step.done == step.all) {
      display_.Say(line);
      said_ = now;
    } else {
      display_.Show(line);
    }
  }
  // The first few of them.
  void WarnOfCut(const std::string& line) {
    ++cut_;
    if (cut_ <= kCutsToTell) display_.Say("warning: " + line);
    if (cut_ == kCutsToTell + 1) display_.Say("warning: more prompts are too long");
  }
  void Show(const std::string& line) { display_.Show(line); }

 private:
  SampleProgress display_;
  std::string component_;
  size_t first_ = 0, done_ = 0, cut_ = 0;
  absl::Time start_, said_ = absl::InfinitePast();
};

absl::Status Encode(const Arguments& arguments, at::Device device) {
  FLOWAWR_ASSIGN_OR_RETURN(Plan plan, MakePlan(arguments, device));
  PrepareToCompute(arguments.threads, plan.options.placement.dtype);
  FLOWAWR_ASSIGN_OR_RETURN(
      const std::unique_ptr<PromptCache> cache,
      PromptCache::Open(plan.cache, plan.model, plan.options.placement.dtype, plan.options.max_sequence_length));
  FLOWAWR_RETURN_IF_ERROR(Annotate(cache->Prepare(), "the cache"));
  const std::vector<std::string> missing = Missing(*cache, plan.prompts);
  const Interrupt interrupt;
  EncodeProgress progress;
  plan.options.progress = [&](absl::string_view component, int64_t bytes, int64_t total) {
    progress.Show(ReadingText(component, bytes, total));
  };
  size_t written = 0;
  absl::Status status;
  for (size_t begin = 0; begin < missing.size() && status.ok(); begin += kPromptsInTurn) {
    const std::vector<std::string> turn(missing.begin() + begin,
                                        missing.begin() + std::min(begin + kPromptsInTurn, missing.size()));
    status = TextEncoders::EncodeInTurn(
        plan.model, plan.options, turn, arguments.batch, [&](const std::string& line) { progress.WarnOfCut(line); },
        [&](const TextEncoders::Step& step) {
          progress.ShowStep({.component = step.component, .done = begin + step.done, .all = missing.size()});
          return !interrupt.came();
        },
        [&](size_t prompt, const PromptEmbeds& embeds) {
          absl::Status put = cache->Put(turn[prompt], embeds);
          written += put.ok();
          return put;
        });
  }
  progress.Show("");
  const PromptCache::Usage usage = cache->usage();
  std::printf("%zu of %zu prompts encoded, %zu were there; %s now holds %d entries, %.1f MB\n", written, missing.size(),
              plan.prompts.size() - missing.size(), cache->folder().c_str(), static_cast<int>(usage.entries),
              static_cast<double>(usage.bytes) / 1e6);
  if (absl::IsCancelled(status) && written == missing.size()) return absl::OkStatus();
  if (absl::IsCancelled(status)) return absl::CancelledError("stopped; the same command goes on from here");
  return status;
}

absl::Status EncodeWithoutThrowing(const Arguments& arguments) {
  FLOWAWR_ASSIGN_OR_RETURN(const at::Device device, FindDevice(arguments.device));
  FLOWAWR_RETURN_IF_ERROR(ChooseKernels(/*deterministic=*/true, device));
  return OnDevice("encoding prompts", device, [&] { return Encode(arguments, device); },
                  "Lower --batch, set --dtype bfloat16, or choose another --device");
}

}  // namespace

std::string DescribeEncoding(const std::string& component, size_t done, size_t all, size_t timed,
                             absl::Duration elapsed) {
  std::string text = absl::StrCat(component, ": ", done, " of ", all, " prompts");
  const double seconds = absl::ToDoubleSeconds(elapsed);
  if (timed == 0 || seconds <= 0 || done == all) return text;
  const double rate = static_cast<double>(timed) / seconds;
  absl::StrAppend(&text, absl::StrFormat(", %.3g a second, about ", rate),
                  FormatDuration(static_cast<double>(all - done) / rate), " left");
  return text;
}

void AddEncodeCommand(CLI::App& app, int* exit_code) {
  auto arguments = std::make_shared<Arguments>();
  CLI::App* command = app.add_subcommand("encode", kDescription);
  command->footer(kFooter);
  command->add_option("CONFIG", arguments->config, "a run's configuration: its model, prompts and cache");
  AddSetOption(*command, &arguments->overrides);
  command->add_option("--model", arguments->model, "a diffusers folder; with CONFIG, instead of the run's");
  command->add_option("--prompts", arguments->prompts_files, "a file of prompts; may be repeated")
      ->allow_extra_args(false);
  command->add_option("--cache", arguments->cache, "folder, made if absent; default: the run's model.embeds_cache");
  command
      ->add_option("--max-sequence-length", arguments->max_sequence_length,
                   "T5 tokens of a prompt; default: the run's or the model's, else 128")
      ->transform(WholeNumber(1, 512));
  command->add_option("--dtype", arguments->dtype, "of weights and embeddings; default: the run's, else float32")
      ->check(CLI::IsMember({"float32", "bfloat16"}));
  command
      ->add_option("--batch", arguments->batch,
                   "prompts of one forward pass; 1 gives the very bits that an actor computes")
      ->transform(WholeNumber(1, 1024))
      ->capture_default_str();
  AddDeviceOption(*command, "prompts are encoded", &arguments->device);
  command->add_option("--threads", arguments->threads, "default: one a core")->transform(WholeNumber(1, 1024));
  command->callback([arguments, exit_code] {
    *exit_code = ReportAndExitCodeOf(EncodeWithoutThrowing(*arguments));
  });
}

}  // namespace flowawr
