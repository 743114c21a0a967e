#include "cli/plan_command.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <limits>
#include <memory>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "cli/device_split.h"
#include "cli/machine_memory.h"
#include "cli/memory_plan.h"
#include "cli/panel.h"
#include "cli/pass_times.h"
#include "cli/set_option.h"
#include "cli/time_plan.h"
#include "common/base/device_list.h"
#include "common/base/status.h"
#include "common/base/usable_cores.h"
#include "common/config/prompts.h"
#include "common/config/run_config.h"
#include "common/nn/bf16.h"
#include "common/process/exit_code.h"
#include "common/process/option_values.h"
#include "common/rollout/group_schema.h"
#include "common/sd3/compute_dtype.h"
#include "common/sd3/latent_shape.h"
#include "common/process/processor.h"
#include "common/tensor/cuda_driver.h"
#include "common/tensor/device_names.h"
#include "common/tensor/learner_devices.h"
#include "common/tensor/placement.h"

namespace flowawr {
namespace {

constexpr char kDescription[] = "Tell what a run needs in memory and in time, before it loads or downloads anything";

// In forward passes through the transformer at Stable Diffusion 3.5 Medium's size, by operations counted: a row of
// training with its backward pass, and the decoding of an image.
constexpr double kTrainingPasses = 2.23, kDecodingPasses = 1.15;
// What CUDA and its libraries keep for a process. Assumed, not measured.
constexpr int64_t kDeviceContextBytes = 1'000'000'000;

constexpr char kFooter[] = R"(Examples:
  flowawr plan configs/tiny-ocr.yaml
  flowawr plan configs/sd35-medium-ocr.yaml --model sd35-medium     the model need not be there yet
  flowawr plan configs/sd35-medium-ocr.yaml --model sd35-medium --memory 64GiB --actors 1
  flowawr plan configs/sd35-medium-ocr.yaml --actors 0              of the learner's machine alone
  flowawr plan configs/sd35-medium-ocr.yaml --set train.micro_batch=2 --set train.checkpointed_blocks=24
  flowawr plan configs/sd35-medium-ocr.yaml --model sd35-medium --devices 8 --device-memory 80GB

Read from the configuration and the model's config.json files. The first part is the run as it is configured, process by
process; the table is the learner's peak at other sizes and settings, `*` where it and the actors of this machine fit.
What the columns change: train.checkpointed_blocks (blocks whose activations are computed again instead of kept: the
same bits, up to two fifths slower), train.micro_batch (rows computed at once) and train.threads (micro-batches side by
side). Resident memory of a CPU run, right to some 15 %. Reward servers are not in it: see their scorers.

Where the machine has accelerators, or --devices says how many there will be, their memory comes next: what each process
needs of a device, and a proposal who computes where (a long list by its ends; --json has it in full). By the same
formulas; no GPU has confirmed them yet. The table is then what the run would be without devices.

The last part is time: some passes through models of these sizes but few blocks are timed on this machine, in its threads,
which takes a few seconds (half a minute at the size of Stable Diffusion 3.5; --no-time leaves it out). On a machine that
does nothing else it is right to a factor of 1.5. Scoring is assumed, not measured.)";

struct Arguments {
  std::string config, model, memory, device_memory;
  std::vector<std::string> overrides;
  int actors = -1, devices = -1;
  bool json = false, no_time = false;
};

struct Time {
  TimePlan plan;
  double measured_in = 0;  // seconds that measuring took
  int64_t heldout_prompts = 0;
};

// What makes a run fit on devices that are too small for it as it is configured.
struct LessOnDevices {
  TrainChoice train;
  bool takes_embeds_cache = false;  // besides: actors without text encoders
};

struct Devices {
  std::vector<std::string> names;
  int64_t memory = 0;  // of each; 0: unknown
  DeviceNeeds needs;
  DeviceSplit split;
  std::optional<LessOnDevices> less;  // where it does not fit; nullopt: nothing helps
};

struct Row {
  int side_height = 0, side_width = 0;
  int micro_batch = 0;
  std::vector<int64_t> learner, machine;  // by column
};

struct Table {
  std::vector<int> checkpointed;  // the columns
  std::vector<Row> rows;
};

struct Answer {
  v1::RunConfig config;
  ModelSizes model;
  ThreadBudget budget;
  int actors = 0;
  int64_t memory = 0;
  MemoryPlan plan;
  Table table;
  std::optional<TrainChoice> choice;
  std::optional<Time> time;
  std::optional<Devices> devices;
};

absl::StatusOr<Table> MakeTable(const Answer& answer) {
  const int blocks = static_cast<int>(answer.model.transformer.num_layers);
  Table table{.checkpointed = {0, blocks / 2, blocks}};
  const v1::ModelConfig& own = answer.config.model();
  std::set<std::pair<int, int>> sizes = {{512, 512}, {768, 768}, {1024, 1024}, {own.height(), own.width()}};
  std::set<int> micro_batches = {1, 2, 4, 8, 16, answer.config.train().micro_batch()};
  for (const auto& [height, width] : sizes) {
    for (const int micro_batch : micro_batches) {
      Row row{height, width, micro_batch, {}, {}};
      v1::RunConfig config = answer.config;
      config.mutable_model()->set_height(height);
      config.mutable_model()->set_width(width);
      config.mutable_train()->set_micro_batch(micro_batch);
      for (const int checkpointed : table.checkpointed) {
        config.mutable_train()->set_checkpointed_blocks(checkpointed);
        const auto plan = PlanMemory(config, answer.model, answer.budget, kernels::HasBf16Instructions());
        if (!plan.ok()) break;  // a size that the model cannot do
        row.learner.push_back(MemoryPlan::Sum(plan->learner));
        row.machine.push_back(plan->Machine(answer.actors));
      }
      if (row.learner.size() == table.checkpointed.size()) table.rows.push_back(std::move(row));
    }
  }
  return table;
}

// Of a model that has no folder.
PictureSizes UsualSizes(const ModelSizes& model) {
  PictureSizes sizes{.transformer = model.transformer, .vae_downscale = model.vae.downscale()};
  sizes.usual_height = sizes.usual_width = static_cast<int>(model.transformer.sample_size) * sizes.vae_downscale;
  return sizes;
}

// How many prompts a run is evaluated with. The file may not be there yet: then as many as the configuration says, or
// 0.
int64_t CountHeldoutPrompts(const v1::RunConfig& config) {
  if (config.prompts().heldout().empty()) return 0;
  const absl::StatusOr<PromptSet> prompts = PromptSet::Load(config.prompts().heldout());
  if (prompts.ok()) return static_cast<int64_t>(prompts->size());
  return std::max(config.evaluation().prompts(), config.evaluation().final_prompts());
}

absl::StatusOr<Time> MeasureTime(const Answer& answer, int cores) {
  const auto begin = std::chrono::steady_clock::now();
  ThreadBudget budget = answer.budget;
  budget.actors = std::max(1, answer.actors);  // elsewhere they are taken to be as fast as one here
  FLOWAWR_ASSIGN_OR_RETURN(const PassTimes times, MeasurePassTimes(answer.config, answer.model, budget));
  Time time;
  time.heldout_prompts = CountHeldoutPrompts(answer.config);
  time.plan = PlanTime(answer.config, budget, time.heldout_prompts, cores, times);
  time.measured_in = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  return time;
}

// Those to plan for. None: there are none.
absl::StatusOr<Devices> DevicesOf(const Arguments& arguments) {
  Devices devices;
  if (arguments.devices >= 0) {
    for (int i = 0; i < arguments.devices; ++i) devices.names.push_back(absl::StrCat("cuda:", i));
  } else {
    FLOWAWR_ASSIGN_OR_RETURN(devices.names, ResolveDeviceNames({"auto"}));
    if (devices.names.front() == "cpu") devices.names.clear();
  }
  if (!arguments.device_memory.empty()) {
    FLOWAWR_ASSIGN_OR_RETURN(devices.memory, ParseMemory(arguments.device_memory, "--device-memory"));
  } else if (const auto driver = AskCudaDriver(); driver.ok() && !driver->devices.empty()) {
    devices.memory = driver->devices.front().memory_bytes;
  }
  if (devices.names.empty() && !arguments.device_memory.empty())
    return UsageError("--device-memory is of devices, and there are none: say how many to plan for, --devices N");
  if (arguments.devices > 0 && devices.memory == 0)
    return UsageError("--devices needs --device-memory, like 80GB: this machine has no such device to ask");
  return devices;
}

// Of the scorers of the run's own reward server: their files. What is not there yet is not counted.
int64_t ScorerBytes(const v1::RewardsConfig& rewards) {
  int64_t bytes = 0;
  std::error_code error;
  for (const v1::RewardTerm& term : rewards.terms()) {
    for (const auto& [option, folder] : term.options()) {
      if (!term.endpoint().empty() || !std::filesystem::is_directory(folder, error)) continue;
      for (const auto& file : std::filesystem::directory_iterator(folder, error))
        if (file.path().extension() == ".safetensors") bytes += static_cast<int64_t>(file.file_size(error));
    }
  }
  return bytes;
}

absl::StatusOr<DeviceNeeds> NeedsOf(const v1::RunConfig& config, const ModelSizes& model) {
  // Of one micro-batch and one pass at a time, as an engine or an actor has on a device.
  const ThreadBudget one;
  FLOWAWR_ASSIGN_OR_RETURN(const MemoryPlan plan, PlanMemory(config, model, one, /*has_bf16_kernels=*/true));
  const TrainingWork work = TrainingWorkOf(config);
  const double guided = IsGuided(config.sampler()) ? 2 : 1;
  const double images = config.rollout().groups_per_batch() * config.rollout().samples_per_group();
  const double passes = kTrainingPasses + (work.computes_old ? 1 : 0) + (work.computes_reference ? 1 : 0);
  return DeviceNeeds{.actor = kDeviceContextBytes + MemoryPlan::OfDevice(plan.actor),
                     .learner = kDeviceContextBytes + MemoryPlan::OfDevice(plan.learner),
                     .scorers = ScorerBytes(config.rewards()),
                     .sampling = images * (config.sampler().steps() * guided + kDecodingPasses),
                     .training = static_cast<double>(work.rows) * guided * passes,
                     .take_turns = config.rollout().max_staleness() == 0};
}

// By the order of ChooseWhatFits(), with text encoders as long as there is room for them.
absl::StatusOr<std::optional<LessOnDevices>> LessFor(const v1::RunConfig& config, const ModelSizes& model,
                                                     const Devices& devices) {
  const int blocks = static_cast<int>(model.transformer.num_layers);
  for (const bool takes_embeds_cache : {false, true}) {
    v1::RunConfig trial = config;
    if (takes_embeds_cache) trial.mutable_model()->set_embeds_cache("to be filled");
    for (int checkpointed = 0; checkpointed <= blocks; checkpointed += std::max(1, blocks / 4)) {
      for (int rows = config.train().micro_batch(); rows > 0; rows /= 2) {
        trial.mutable_train()->set_checkpointed_blocks(checkpointed);
        trial.mutable_train()->set_micro_batch(rows);
        FLOWAWR_ASSIGN_OR_RETURN(const DeviceNeeds needs, NeedsOf(trial, model));
        if (SplitDevices(needs, static_cast<int>(devices.names.size()), devices.memory).fits)
          return LessOnDevices{.train = {.checkpointed_blocks = checkpointed, .micro_batch = rows},
                               .takes_embeds_cache = takes_embeds_cache};
      }
    }
  }
  return std::nullopt;
}

absl::StatusOr<Answer> Plan(const Arguments& arguments) {
  if (arguments.config.empty())
    return UsageError(
        "name a configuration file, e.g. `flowawr plan configs/sd35-medium-ocr.yaml --model sd35-medium`");
  Answer answer;
  FLOWAWR_ASSIGN_OR_RETURN(answer.config, LoadRunConfig(arguments.config, arguments.overrides));
  const std::string folder = arguments.model.empty() ? answer.config.model().path() : arguments.model;
  if (folder == "sd35-medium") {
    answer.model = Sd35MediumSizes();
    FillInModelDefaults(UsualSizes(answer.model), answer.config.mutable_model());
  } else {
    absl::StatusOr<ModelSizes> model = ReadModelSizes(folder, answer.config.model().embeds_cache().empty());
    if (absl::IsNotFound(model.status()))
      return Annotate(model.status(),
                      absl::StrCat("no model in ", folder, " (--model sd35-medium plans with the published sizes)"));
    FLOWAWR_ASSIGN_OR_RETURN(answer.model, std::move(model));
    answer.config.mutable_model()->set_path(folder);
    FLOWAWR_RETURN_IF_ERROR(FillInModelDefaults(answer.config.mutable_model()));
  }
  const int cores = UsableCoresHere().count;
  FLOWAWR_ASSIGN_OR_RETURN(Devices devices, DevicesOf(arguments));
  if (!devices.names.empty()) {
    FLOWAWR_ASSIGN_OR_RETURN(devices.needs, NeedsOf(answer.config, answer.model));
    devices.split = SplitDevices(devices.needs, static_cast<int>(devices.names.size()),
                                 devices.memory > 0 ? devices.memory : std::numeric_limits<int64_t>::max());
    if (!devices.split.fits) {
      FLOWAWR_ASSIGN_OR_RETURN(devices.less, LessFor(answer.config, answer.model, devices));
    }
    answer.devices = std::move(devices);
  }
  answer.budget = BudgetThreads(cores, answer.config,
                                answer.devices ? static_cast<int>(answer.devices->split.actors.size()) : 0);
  answer.actors = arguments.actors < 0 ? answer.budget.actors : arguments.actors;
  answer.memory = MachineMemory();
  if (!arguments.memory.empty()) {
    FLOWAWR_ASSIGN_OR_RETURN(answer.memory, ParseMemory(arguments.memory));
  }
  const bool has_bf16_kernels = kernels::HasBf16Instructions();
  FLOWAWR_ASSIGN_OR_RETURN(answer.plan, PlanMemory(answer.config, answer.model, answer.budget, has_bf16_kernels));
  FLOWAWR_ASSIGN_OR_RETURN(answer.table, MakeTable(answer));
  FLOWAWR_ASSIGN_OR_RETURN(answer.choice, ChooseWhatFits(answer.config, answer.model, answer.budget, has_bf16_kernels,
                                                         answer.actors, answer.memory));
  if (!arguments.no_time) {
    FLOWAWR_ASSIGN_OR_RETURN(answer.time, MeasureTime(answer, cores));
  }
  return answer;
}

std::string Count(int64_t count, const std::string& noun) {
  return absl::StrCat(count, " ", noun, count == 1 ? "" : "s");
}

std::string PartsText(const std::string& title, const std::vector<MemoryPart>& parts) {
  std::string text = absl::StrCat(title, "\n");
  for (const MemoryPart& part : parts) absl::StrAppendFormat(&text, "  %9s  %s\n", FormatMemory(part.bytes), part.name);
  absl::StrAppendFormat(&text, "  %9s  together\n\n", FormatMemory(MemoryPlan::Sum(parts)));
  return text;
}

// Of the run on the processor, whatever devices there are.
std::string Advice(const Answer& answer) {
  const std::string memory = absl::StrCat(answer.devices ? "Without the devices, " : "", FormatMemory(answer.memory));
  const std::string with = answer.actors == 0 ? "" : absl::StrCat(" beside ", Count(answer.actors, "actor"));
  if (answer.choice)
    return absl::StrFormat("%s: fits%s with train.checkpointed_blocks: %d, train.micro_batch: %d, train.threads: %d\n",
                           memory, with, answer.choice->checkpointed_blocks, answer.choice->micro_batch,
                           answer.choice->threads);
  return absl::StrFormat(
      "%s: too little%s, whatever train.* says: fewer actors (local.actors), a smaller picture (model.height, "
      "model.width)%s, or the actors on another machine\n",
      memory, with, answer.config.model().dtype() == v1::BFLOAT16 ? "" : ", bfloat16 (model.dtype)");
}

// "12.3 s", "1:02:03", "12.5 days".
std::string Duration(double seconds) {
  constexpr double kDay = 24 * 3600;
  if (seconds < 120) return absl::StrFormat("%.3g s", seconds);
  if (seconds < 2 * kDay) return FormatDuration(seconds);
  return absl::StrFormat("%.*f days", seconds < 100 * kDay ? 1 : 0, seconds / kDay);
}

std::string TimeText(const Answer& answer) {
  const v1::RunConfig& config = answer.config;
  const TimePlan& plan = answer.time->plan;
  const int64_t images = int64_t{config.rollout().groups_per_batch()} * config.rollout().samples_per_group();
  std::string text = absl::StrFormat("\nTime of a run on this machine%s alone, %s; measured in %.0f s\n",
                                     answer.devices ? "'s processor" : "", Count(std::max(1, answer.actors), "actor"),
                                     answer.time->measured_in);
  const auto line = [&](double seconds, const std::string& what) {
    absl::StrAppendFormat(&text, "  %10s  %s\n", Duration(seconds), what);
  };
  line(plan.sampling, absl::StrCat("to draw ", Count(images, "image"), " in ", config.sampler().steps(), " steps"));
  line(plan.decoding, "to decode them");
  line(plan.scoring, absl::StrFormat("to score them, taken to be %.2g s of a core each",
                                     AssumedScoringSeconds(int64_t{config.model().height()} * config.model().width())));
  line(plan.training, absl::StrCat("to train on ", Count(TrainingWorkOf(config).rows, "row")));
  line(plan.update(), "an update");
  if (plan.evaluations > 0)
    line(plan.evaluation, absl::StrCat("an evaluation, ", plan.evaluations, " of them on the way"));
  if (plan.first_evaluations > 0)
    line(plan.first_evaluation, "an evaluation before the first and after the last update");
  line(plan.total(),
       absl::StrCat("together, ", Count(plan.updates, "update"),
                    config.train().target_reward() != 0 ? " or fewer, if train.target_reward is reached" : "",
                    "; give or take a factor of 1.5"));
  return text;
}

// What is slow about bfloat16 on this processor, and whether float32 would fit.
std::string DtypeAdvice(const Answer& answer) {
  if (answer.config.model().dtype() != v1::BFLOAT16 || SlowBfloat16().empty()) return "";
  v1::RunConfig config = answer.config;
  config.mutable_model()->set_dtype(v1::FLOAT32);
  const auto plan = PlanMemory(config, answer.model, answer.budget, kernels::HasBf16Instructions());
  return absl::StrFormat("%s%s (--set model.dtype=float32).\n", SlowBfloat16(),
                         plan.ok() ? absl::StrCat(": ", FormatMemory(plan->Machine(answer.actors))) : "");
}

std::vector<std::string> NamesOf(const Devices& devices, const std::vector<int>& numbers) {
  std::vector<std::string> names;
  for (const int number : numbers) names.push_back(devices.names[number]);
  return names;
}

// Which of the learner's devices each of its ranks gets, where there are several ranks.
std::string RanksText(const std::vector<std::string>& learner, int ranks) {
  std::string text;
  for (int rank = 0; rank < ranks && ranks > 1; ++rank)
    absl::StrAppend(&text, "    rank ", rank, ": ", DeviceListText(DevicesOfRank(learner, rank, ranks)), "\n");
  const std::string shared = WarningOfSharedDevices(learner, ranks);
  return shared.empty() ? text : absl::StrCat(text, "    ", shared, "\n");
}

std::string DevicesText(const Devices& devices, const v1::RunConfig& config) {
  std::string text = absl::StrCat("Devices: ", devices.names.size(),
                                  devices.memory > 0 ? absl::StrCat(" of ", FormatMemory(devices.memory)) : "", "\n");
  const auto line = [&text](int64_t bytes, const std::string& what) {
    absl::StrAppendFormat(&text, "  %9s  %s\n", FormatMemory(bytes), what);
  };
  line(devices.needs.actor, "each actor");
  line(devices.needs.learner, "the learner, on each of its devices");
  line(devices.needs.scorers, "scorers: their weights' files that are there");
  const std::vector<std::string> learner = NamesOf(devices, devices.split.learner);
  absl::StrAppend(&text, devices.split.fits ? "Proposed:\n" : "Proposed, though some device would need more than it has:\n",
                  "  train.devices: [", DeviceListText(learner), "]\n", RanksText(learner, config.train().ranks()),
                  "  local.actor_devices: [", DeviceListText(NamesOf(devices, devices.split.actors)), "]\n",
                  "  local.reward_device: ", devices.names[devices.split.scorers], "\n");
  if (devices.less)
    absl::StrAppend(&text, "Fits with train.checkpointed_blocks: ", devices.less->train.checkpointed_blocks,
                    ", train.micro_batch: ", devices.less->train.micro_batch,
                    devices.less->takes_embeds_cache ? ", and model.embeds_cache, filled by `flowawr encode`" : "", "\n");
  if (!devices.split.fits && !devices.less)
    absl::StrAppend(&text, "Nothing of train.* makes it fit: ",
                    config.model().dtype() == v1::BFLOAT16 ? "" : "model.dtype: bfloat16, ",
                    "a smaller picture, or more memory\n");
  return absl::StrCat(text, "\n");
}

std::string Text(const Answer& answer) {
  const v1::RunConfig& config = answer.config;
  const char* dtype = NameOf(ScalarTypeOf(config.model().dtype()));
  std::string text =
      absl::StrFormat("%s, %s, %d x %d pixels; micro-batch %d, %s, %d of %d blocks checkpointed\n\n", answer.model.name,
                      dtype, config.model().height(), config.model().width(), config.train().micro_batch(),
                      Count(answer.budget.learner_threads, "thread"),
                      std::min<int64_t>(config.train().checkpointed_blocks(), answer.model.transformer.num_layers),
                      answer.model.transformer.num_layers);
  absl::StrAppend(&text, "This machine: ", DescribeProcessor(), "\n\n");
  absl::StrAppend(&text, PartsText("Learner", answer.plan.learner));
  if (answer.plan.other_ranks > 0) absl::StrAppend(&text, PartsText("Each other rank", answer.plan.rank));
  absl::StrAppend(&text, PartsText("Each actor", answer.plan.actor));
  const bool has_devices = answer.devices.has_value();
  absl::StrAppendFormat(&text, "This machine, %s and %s%s: %s of %s\n",
                        answer.plan.other_ranks > 0 ? absl::StrCat(answer.plan.other_ranks + 1, " ranks of the learner")
                                                    : "learner",
                        Count(answer.actors, "actor"), has_devices ? ", beside what lies on devices" : "",
                        FormatMemory(answer.plan.Host(answer.actors, has_devices, has_devices)), FormatMemory(answer.memory));
  if (answer.actors > 0 && !has_devices) {
    absl::StrAppendFormat(&text,
                          "  At most: if the model's files are in %s, processes map them and share the pages, most of "
                          "%s for each actor.\n",
                          dtype,
                          FormatMemory(TransformerValues(answer.model.transformer) *
                                       static_cast<int64_t>(c10::elementSize(ScalarTypeOf(config.model().dtype())))));
  }
  absl::StrAppend(&text, "\n");

  if (answer.devices) absl::StrAppend(&text, DevicesText(*answer.devices, answer.config));
  absl::StrAppendFormat(&text, "%s, %s, by blocks checkpointed (* fits here, with %s)\n",
                        has_devices ? "Without the devices: the learner" : "The learner",
                        Count(answer.budget.learner_threads, "thread"), Count(answer.actors, "actor"));
  absl::StrAppendFormat(&text, "  %-12s %11s", "pixels", "micro-batch");
  for (const int checkpointed : answer.table.checkpointed)
    absl::StrAppendFormat(&text, " %10s", absl::StrCat(checkpointed));
  absl::StrAppend(&text, "\n");
  for (const Row& row : answer.table.rows) {
    absl::StrAppendFormat(&text, "  %-12s %11d", absl::StrCat(row.side_height, " x ", row.side_width), row.micro_batch);
    for (size_t column = 0; column < row.learner.size(); ++column) {
      absl::StrAppendFormat(&text, " %9s%c", FormatMemory(row.learner[column]),
                            row.machine[column] <= answer.memory ? '*' : ' ');
    }
    absl::StrAppend(&text, "\n");
  }
  return absl::StrCat(text, "\n", Advice(answer), DtypeAdvice(answer), answer.time ? TimeText(answer) : "");
}

nlohmann::json PartsJson(const std::vector<MemoryPart>& parts) {
  nlohmann::json json = nlohmann::json::array();
  for (const MemoryPart& part : parts) json.push_back({{"part", part.name}, {"bytes", part.bytes}});
  return json;
}

std::string Json(const Answer& answer) {
  nlohmann::json table = nlohmann::json::array();
  for (const Row& row : answer.table.rows) {
    for (size_t column = 0; column < row.learner.size(); ++column) {
      table.push_back({{"height", row.side_height},
                       {"width", row.side_width},
                       {"micro_batch", row.micro_batch},
                       {"checkpointed_blocks", answer.table.checkpointed[column]},
                       {"learner_bytes", row.learner[column]},
                       {"machine_bytes", row.machine[column]},
                       {"fits", row.machine[column] <= answer.memory}});
    }
  }
  nlohmann::json json = {{"model", answer.model.name},
                         {"memory", answer.memory},
                         {"actors", answer.actors},
                         {"learner_threads", answer.budget.learner_threads},
                         {"cores", UsableCoresHere().count},
                         {"core_limit", UsableCoresHere().limit},
                         {"instruction_set", std::string(kernels::NameOf(kernels::ActiveInstructionSet()))},
                         {"learner", PartsJson(answer.plan.learner)},
                         {"rank", PartsJson(answer.plan.rank)},
                         {"other_ranks", answer.plan.other_ranks},
                         {"actor", PartsJson(answer.plan.actor)},
                         {"machine_bytes", answer.plan.Machine(answer.actors)},
                         {"table", std::move(table)}};
  if (answer.time) {
    const TimePlan& plan = answer.time->plan;
    json["seconds"] = {{"sampling", plan.sampling},
                       {"decoding", plan.decoding},
                       {"scoring_assumed", plan.scoring},
                       {"training", plan.training},
                       {"update", plan.update()},
                       {"updates", plan.updates},
                       {"evaluation", plan.evaluation},
                       {"evaluations", plan.evaluations},
                       {"first_evaluation", plan.first_evaluation},
                       {"first_evaluations", plan.first_evaluations},
                       {"total", plan.total()},
                       {"factor_of_error", 1.5},
                       {"measured_in", answer.time->measured_in}};
  }
  if (answer.devices) {
    const Devices& devices = *answer.devices;
    json["devices"] = {{"count", devices.names.size()},
                       {"memory", devices.memory},
                       {"actor_bytes", devices.needs.actor},
                       {"learner_bytes", devices.needs.learner},
                       {"scorer_bytes", devices.needs.scorers},
                       {"fits", devices.split.fits},
                       {"train_devices", NamesOf(devices, devices.split.learner)},
                       {"actor_devices", NamesOf(devices, devices.split.actors)},
                       {"reward_device", devices.names[devices.split.scorers]}};
    if (devices.less)
      json["devices"]["fits_with"] = {{"checkpointed_blocks", devices.less->train.checkpointed_blocks},
                                      {"micro_batch", devices.less->train.micro_batch},
                                      {"embeds_cache", devices.less->takes_embeds_cache}};
  }
  if (answer.choice)
    json["choice"] = {{"checkpointed_blocks", answer.choice->checkpointed_blocks},
                      {"micro_batch", answer.choice->micro_batch},
                      {"threads", answer.choice->threads}};
  return json.dump(1) + "\n";
}

}  // namespace

void AddPlanCommand(CLI::App& app, int* exit_code) {
  auto arguments = std::make_shared<Arguments>();
  CLI::App* command = app.add_subcommand("plan", kDescription);
  command->footer(kFooter);
  command->add_option("CONFIG", arguments->config, "the YAML file of a run");
  AddSetOption(*command, &arguments->overrides);
  command->add_option("--model", arguments->model,
                      "a diffusers folder (its config.json files suffice), or sd35-medium; default: the run's");
  command->add_option("--memory", arguments->memory, "to plan for, like 24GiB; default: this machine's");
  command->add_option("--actors", arguments->actors, "on this machine; default: those that `flowawr run` starts")
      ->transform(WholeNumber(0, 1024));
  command->add_option("--devices", arguments->devices, "accelerators to plan for; default: those of this machine")
      ->transform(WholeNumber(0, 1024));
  command->add_option("--device-memory", arguments->device_memory,
                      "of each of them, like 80GB; default: what this machine's have");
  command->add_flag("--json", arguments->json, "for programs");
  command->add_flag("--no-time", arguments->no_time, "memory alone: nothing is measured");
  command->callback([arguments, exit_code] {
    const absl::StatusOr<Answer> answer = Plan(*arguments);
    if (answer.ok()) std::fputs((arguments->json ? Json(*answer) : Text(*answer)).c_str(), stdout);
    *exit_code = ReportAndExitCodeOf(answer.status());
  });
}

}  // namespace flowawr
