#include "cli/prompts_check.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "cli/interrupt.h"
#include "cli/prompt_findings.h"
#include "cli/reward_access.h"
#include "cli/sample_progress.h"
#include "cli/set_option.h"
#include "common/base/status.h"
#include "common/base/usable_cores.h"
#include "common/base/utf8.h"
#include "common/config/prompts.h"
#include "common/config/run_config.h"
#include "common/process/command_line.h"
#include "common/process/exit_code.h"
#include "common/process/option_values.h"
#include "common/process/without_throwing.h"
#include "common/scoring/prompt_check.h"
#include "common/scoring/reward_terms.h"
#include "common/sd3/latent_shape.h"

namespace flowawr {
namespace {

constexpr char kDescription[] = "Tell which prompts of a file no run could use, line by line, and what to do";

constexpr char kFooter[] = R"(Examples:
  flowawr prompts check prompts.txt --reward ocr
  flowawr prompts check --config configs/tiny-ocr.yaml            both prompt files of a run, its rewards and its model
  flowawr prompts check train.jsonl heldout.jsonl --reward ocr,language=deu --model models/stable-diffusion-3.5-medium

Told are lines that hold no prompt, prompts that a reward can never score (the scorers are asked, as a run asks them
before it begins), and, as warnings, prompts that are longer than the model's text encoders read, that are there twice,
or that are in two of the files. A reward server is started for the while, unless --server names one.

Exit code 0 when every prompt is good, whatever the warnings; 65 when some are not.)";

constexpr size_t kMostPromptBytes = 100;  // of a prompt that is shown

struct Arguments {
  std::vector<std::string> files, rewards, overrides;
  std::string config, server, network_config, model;
  int max_sequence_length = 0, most = 100;
};

// Findings about one kind of thing; only the first `most` are printed, all are counted.
class Findings {
 public:
  explicit Findings(int most) : most_(static_cast<size_t>(most)) {}

  void Add(const std::string& line) {
    if (++count_ <= most_) std::printf("%s\n", SanitizeUtf8(line).c_str());
  }
  // Whether the next one is printed: what is slow to say need not be made else.
  bool has_room() const { return count_ < most_; }
  void Count() { ++count_; }
  void TellRest() const {
    if (count_ > most_) std::printf("and %zu more; --most shows more of them\n", count_ - most_);
  }
  size_t count() const { return count_; }

 private:
  const size_t most_;
  size_t count_ = 0;
};

struct Plan {
  std::vector<std::string> files;
  std::vector<RewardPlan> rewards;
  std::string model;  // empty: no token limits are looked at
  int max_sequence_length = 0;
};

absl::StatusOr<Plan> MakePlan(const Arguments& arguments) {
  Plan plan{.files = arguments.files, .model = arguments.model, .max_sequence_length = arguments.max_sequence_length};
  RewardArguments reward{.server = arguments.server,
                         .network_config = arguments.network_config,
                         .threads = 1};  // no picture is scored
  if (arguments.config.empty() && !arguments.overrides.empty())
    return UsageError("--set changes a configuration: name one with --config");
  if (!arguments.config.empty()) {
    FLOWAWR_ASSIGN_OR_RETURN(const v1::RunConfig config, LoadRunConfig(arguments.config, arguments.overrides));
    if (plan.files.empty()) {
      plan.files.push_back(config.prompts().train());
      if (!config.prompts().heldout().empty()) plan.files.push_back(config.prompts().heldout());
    }
    if (plan.model.empty()) {
      plan.model = config.model().path();
      if (plan.max_sequence_length == 0) plan.max_sequence_length = config.model().max_sequence_length();
    }
    if (arguments.rewards.empty()) {
      reward.what = arguments.config;
      reward.overrides = arguments.overrides;
      FLOWAWR_ASSIGN_OR_RETURN(plan.rewards.emplace_back(), PlanRewards(reward));
    } else if (reward.network_config.empty()) {
      reward.network_config = arguments.config;
    }
  }
  reward.overrides.clear();
  for (const std::string& what : arguments.rewards) {
    reward.what = what;
    FLOWAWR_ASSIGN_OR_RETURN(plan.rewards.emplace_back(), PlanRewards(reward));
  }
  if (plan.files.empty())
    return UsageError("nothing to check: name a prompt file, or a run's configuration with --config");
  if (!plan.model.empty() && plan.max_sequence_length == 0) {
    FLOWAWR_ASSIGN_OR_RETURN(plan.max_sequence_length, ReadSequenceLength(plan.model, kUsualSequenceLength));
  }
  return plan;
}

std::string Quoted(const std::string& prompt) {
  return absl::StrCat("\"", TruncateUtf8(prompt, kMostPromptBytes), "\"");
}

// One file and what was found in it.
struct Checked {
  std::string file;
  PromptSet prompts;
  size_t bad = 0;
};

absl::StatusOr<Checked> ReadLines(const std::string& file, int most) {
  Checked checked{.file = file};
  std::vector<PromptFault> faults;
  FLOWAWR_ASSIGN_OR_RETURN(checked.prompts, PromptSet::Load(file, &faults));
  Findings lines(most);
  for (const PromptFault& fault : faults) lines.Add(absl::StrCat(fault.where, ": ", fault.message));
  lines.TellRest();
  checked.bad = faults.size();
  return checked;
}

// What is to be done about prompts that a scorer of that kind can never score.
std::string Remedy(const std::string& kind) {
  if (kind == "ocr")
    return "put the text that the picture should show into double quotes, as in a sign that says \"OPEN\", or give the "
           "line a field \"target\" (*.jsonl, *.csv)";
  if (kind == "geneval")
    return "give the line the fields \"tag\" and \"include\" of GenEval's metadata (*.jsonl), as `flowawr prompts "
           "geneval` writes them";
  return "mend these lines or take them away; prompts.skip_bad leaves them out of a run";
}

// A term that is not required matters here too: whoever asks wants to know.
void AskScorers(const RewardAccess& access, int most, Checked& checked, std::vector<std::string>& warnings) {
  for (int at = 0; at < access.spec().terms_size(); ++at) {
    const v1::RewardSpecTerm& asked = access.spec().terms(at);
    v1::RewardSpec one;
    v1::RewardSpecTerm& term = *one.add_terms();
    term = asked;
    term.set_is_required(true);
    term.set_weight(1);
    const PromptCheck check = CheckPrompts(one, access.network(), checked.prompts);
    for (const std::string& note : check.notes) warnings.push_back(note);
    Findings prompts(most);
    for (const auto& [i, why] : check.faults) {
      if (prompts.has_room()) {
        const std::string text = checked.prompts.At(i).text();
        prompts.Add(absl::StrCat(checked.prompts.Where(i), ": ", why,
                                 absl::StrContains(why, text) ? "" : absl::StrCat("\n    ", Quoted(text))));
      } else {
        prompts.Count();
      }
    }
    prompts.TellRest();
    if (!check.faults.empty()) std::printf("what to do: %s\n", Remedy(access.kinds()[at]).c_str());
    if (IsRequired(asked)) {
      checked.bad += check.faults.size();
    } else if (!check.faults.empty()) {
      warnings.push_back(absl::StrCat(check.faults.size(), " prompts of ", checked.file, " have no reward by ",
                                      asked.scorer(), ", which is not required"));
    }
  }
}

std::vector<NamedPrompts> Named(const std::vector<Checked>& files) {
  std::vector<NamedPrompts> named;
  for (const Checked& checked : files) named.push_back({checked.file, &checked.prompts});
  return named;
}

absl::Status CheckLengths(const Plan& plan, const std::vector<Checked>& files, int most) {
  FLOWAWR_ASSIGN_OR_RETURN(const CutPrompts cut, FindCutPrompts(plan.model, plan.max_sequence_length, Named(files),
                                                                static_cast<size_t>(most)));
  Findings cuts(most);
  for (const std::string& sentence : cut.sentences) cuts.Add(absl::StrCat("warning: ", sentence));
  while (cuts.count() < cut.count) cuts.Count();
  cuts.TellRest();
  return absl::OkStatus();
}

absl::Status Check(const Arguments& arguments) {
  FLOWAWR_ASSIGN_OR_RETURN(const Plan plan, MakePlan(arguments));
  std::vector<Checked> files;
  for (const std::string& file : plan.files) {
    FLOWAWR_ASSIGN_OR_RETURN(files.emplace_back(), ReadLines(file, arguments.most));
  }
  const Interrupt interrupt;
  const auto is_wanted = [&interrupt] { return !interrupt.came(); };
  std::vector<std::string> warnings, asked;
  for (const RewardPlan& rewards : plan.rewards) {
    SampleProgress progress;
    FLOWAWR_ASSIGN_OR_RETURN(
        const std::unique_ptr<RewardAccess> access,
        RewardAccess::Open(rewards, is_wanted, [&](const std::string& line) { progress.Show(line); }));
    progress.Show("");
    for (const v1::RewardSpecTerm& term : access->spec().terms()) asked.push_back(term.scorer());
    for (Checked& checked : files) {
      if (!is_wanted()) return absl::CancelledError("stopped");
      AskScorers(*access, arguments.most, checked, warnings);
    }
  }
  if (!plan.model.empty()) FLOWAWR_RETURN_IF_ERROR(CheckLengths(plan, files, arguments.most));
  for (std::string& sentence : DescribeRepeatedPrompts(Named(files))) warnings.push_back(std::move(sentence));
  for (const std::string& warning : warnings) std::printf("warning: %s\n", SanitizeUtf8(warning).c_str());

  std::string by;
  for (const std::string& scorer : asked) absl::StrAppend(&by, by.empty() ? "; asked: " : ", ", scorer);
  if (asked.empty()) by = "; no scorer was asked (--reward SCORER, or --config)";
  size_t bad = 0;
  for (const Checked& checked : files) {
    std::printf("%s: %zu prompts, %zu faults\n", checked.file.c_str(), checked.prompts.size(), checked.bad);
    bad += checked.bad;
  }
  std::printf("%s%s\n", bad == 0 ? "all prompts are good" : absl::StrCat(bad, " faults").c_str(), by.c_str());
  std::fflush(stdout);  // before the error on stderr
  return bad == 0 ? absl::OkStatus() : absl::DataLossError(absl::StrCat(bad, " faults; mend those lines"));
}

}  // namespace

void AddPromptsCheck(CLI::App* prompts, int* exit_code) {
  const auto arguments = std::make_shared<Arguments>();
  CLI::App* command = prompts->add_subcommand("check", kDescription);
  command->footer(kFooter);
  command->add_option("FILE", arguments->files, "prompt files; default: those of --config");
  command->add_option("--reward", arguments->rewards, "a scorer to ask; may be repeated; default: those of --config")
      ->type_name("SCORER[=KIND][,OPTION=VALUE...]")
      ->allow_extra_args(false);
  command->add_option("--config", arguments->config, "a run's configuration: its prompts, rewards and model");
  AddSetOption(*command, &arguments->overrides);
  command->add_option("--server", arguments->server, "HOST:PORT of a reward server; default: one of its own")
      ->check(AddressToReach());
  AddNetworkConfigOption(*command, "that of --config, else neither TLS nor token", &arguments->network_config);
  command->add_option("--model", arguments->model, "a diffusers folder, for its encoders' limits; default: --config's");
  command
      ->add_option("--max-sequence-length", arguments->max_sequence_length,
                   "T5 tokens of a prompt; default: the run's or the model's, else 128")
      ->transform(WholeNumber(1, 512));
  command->add_option("--most", arguments->most, "findings that are shown of each kind; all are counted")
      ->transform(WholeNumber(1, 100'000'000))
      ->capture_default_str();
  command->callback([arguments, exit_code] {
    *exit_code = ReportAndExitCodeOf(WithoutThrowing("the check failed", [&] { return Check(*arguments); }));
  });
}

}  // namespace flowawr
