#include "cli/reward/spec_commands.h"

#include <CLI/CLI.hpp>
#include <cstdio>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "cli/learner_connection.h"
#include "cli/reward/spec_edit.h"
#include "cli/reward/spec_table.h"
#include "cli/reward/term_text.h"
#include "common/base/status.h"
#include "common/process/exit_code.h"
#include "common/process/option_values.h"
#include "common/scoring/expected_spec.h"
#include "common/scoring/reward_spec_check.h"

namespace flowawr {
namespace {

constexpr absl::Duration kAnswerTime = absl::Seconds(10);
constexpr absl::Duration kSwapTime = absl::Minutes(30);  // answered between two updates
constexpr int kAttempts = 5;  // of a change that others' changes come before
constexpr char kOwn[] = "own";

constexpr char kWhatHappens[] =
    "New scorers are asked for the reward of a plain picture first, and whether they can score every prompt of the\n"
    "run; otherwise nothing changes. Groups under way finish under the old rewards; no batch mixes two.";

struct SpecArguments {
  LearnerAddress address;
  std::vector<std::string> words;  // after RUN_DIR
  std::vector<std::string> terms;  // of --term
  std::string to;
  double weight = 1;
};

using Edit = absl::FunctionRef<absl::Status(const v1::RewardSpec& now, RewardSpecTerms* terms)>;

// Reads the spec, changes it and sets it, unless somebody else has changed it meanwhile: then again.
absl::Status Change(const LearnerAddress& address, Edit edit) {
  FLOWAWR_ASSIGN_OR_RETURN(LearnerConnection learner, LearnerConnection::Open(address));
  absl::Status refused;
  for (int attempt = 0; attempt < kAttempts; ++attempt) {
    FLOWAWR_ASSIGN_OR_RETURN(const v1::Status status,
                             learner.Call(&v1::Control::Stub::GetStatus, v1::GetStatusRequest(), kAnswerTime));
    const v1::RewardSpec& before = status.reward_spec();
    v1::SetRewardSpecRequest request;
    *request.mutable_terms() = before.terms();
    FLOWAWR_RETURN_IF_ERROR(edit(before, request.mutable_terms()));
    const auto context = learner.Context(kSwapTime);
    ExpectRewardSpec(before.version(), context.get());
    v1::RewardSpec after;
    const grpc::Status answer = learner.control().SetRewardSpec(context.get(), request, &after);
    if (answer.ok()) {
      std::fputs(DescribeChange(before, after, status.updates_total()).c_str(), stdout);
      return absl::OkStatus();
    }
    refused = learner.Explain(answer);
    if (answer.error_code() != grpc::StatusCode::ABORTED) break;
  }
  return refused;
}

// With --learner there is no RUN_DIR before the other words, unless one was typed: then its network settings count.
void FindRunDir(SpecArguments* arguments) {
  std::error_code ignored;
  std::string& run_dir = arguments->address.run_dir;
  if (arguments->address.learner.empty() || run_dir.empty() || std::filesystem::is_directory(run_dir, ignored)) return;
  arguments->words.insert(arguments->words.begin(), std::exchange(run_dir, ""));
}

absl::StatusOr<std::string> OneScorer(const SpecArguments& arguments) {
  if (arguments.words.size() == 1) return arguments.words[0];
  return UsageError(
      absl::StrCat("expected RUN_DIR SCORER", arguments.words.empty() ? "; there is no scorer" : ", got ",
                   arguments.words.empty() ? "" : absl::StrJoin(arguments.words, " "),
                   ". `flowawr status RUN_DIR` shows the rewards of a run"));
}

absl::Status SetWeightsOf(const SpecArguments& arguments) {
  if (arguments.words.empty())
    return UsageError("expected RUN_DIR SCORER=WEIGHT..., e.g. runs/tiny-ocr ocr=.5 size=-0.1");
  std::vector<v1::RewardSpecTerm> weights;
  for (const std::string& word : arguments.words) {
    FLOWAWR_ASSIGN_OR_RETURN(weights.emplace_back(), ParseWeight(word));
  }
  return Change(arguments.address, [&](const v1::RewardSpec&, RewardSpecTerms* terms) {
    return SetWeights(weights, terms);
  });
}

absl::Status Add(const SpecArguments& arguments) {
  if (arguments.words.empty())
    return UsageError("expected RUN_DIR TERM, e.g. runs/tiny-ocr size,weight=-0.1");
  std::vector<v1::RewardSpecTerm> added;
  for (const std::string& word : arguments.words) {
    FLOWAWR_ASSIGN_OR_RETURN(added.emplace_back(), ParseTerm(word));
  }
  return Change(arguments.address, [&](const v1::RewardSpec&, RewardSpecTerms* terms) {
    for (const v1::RewardSpecTerm& term : added) FLOWAWR_RETURN_IF_ERROR(AddTerm(term, terms));
    return absl::OkStatus();
  });
}

absl::Status Remove(const SpecArguments& arguments) {
  FLOWAWR_ASSIGN_OR_RETURN(const std::string scorer, OneScorer(arguments));
  return Change(arguments.address,
                [&](const v1::RewardSpec&, RewardSpecTerms* terms) { return RemoveTerm(scorer, terms); });
}

absl::Status PromoteShadow(const SpecArguments& arguments) {
  FLOWAWR_ASSIGN_OR_RETURN(const std::string scorer, OneScorer(arguments));
  return Change(arguments.address, [&](const v1::RewardSpec&, RewardSpecTerms* terms) {
    return Promote(scorer, arguments.weight, terms);
  });
}

absl::Status Swap(const SpecArguments& arguments) {
  if (arguments.terms.empty() == arguments.to.empty())
    return UsageError(
        "say what to swap: `SCORER --to HOST:PORT` moves one reward to another server, `--term ...` names all rewards "
        "anew");
  if (!arguments.to.empty()) {
    FLOWAWR_ASSIGN_OR_RETURN(const std::string scorer, OneScorer(arguments));
    return Change(arguments.address, [&](const v1::RewardSpec&, RewardSpecTerms* terms) {
      return MoveTerm(scorer, arguments.to == kOwn ? "" : arguments.to, terms);
    });
  }
  if (!arguments.words.empty())
    return UsageError(
        absl::StrCat("--term names all rewards, so that ", arguments.words[0], " has no meaning beside it"));
  RewardSpecTerms wanted;
  for (const std::string& text : arguments.terms) {
    FLOWAWR_ASSIGN_OR_RETURN(*wanted.Add(), ParseTerm(text));
  }
  return Change(arguments.address, [&](const v1::RewardSpec& now, RewardSpecTerms* terms) {
    *terms = wanted;
    FillInEndpoints(now, terms);
    return absl::OkStatus();
  });
}

std::string CheckServers(const std::string& text) {
  if (text == kOwn) return "";
  v1::RewardSpecTerm term;
  term.set_scorer("any");
  term.set_timeout_s(1);
  term.set_endpoint(text);
  const std::vector<RewardSpecFault> faults = FindRewardTermFaults(term);
  return text.empty() ? "empty; expected HOST:PORT" : faults.empty() ? "" : faults[0].problem;
}

using Call = absl::Status (*)(const SpecArguments&);

std::shared_ptr<SpecArguments> AddCommand(CLI::App& reward, int* exit_code, const char* name, const char* description,
                                          const std::string& footer, const char* words, const char* words_help,
                                          Call call) {
  auto arguments = std::make_shared<SpecArguments>();
  CLI::App* command = reward.add_subcommand(name, description);
  command->footer(footer);
  AddLearnerOptions(command, &arguments->address);
  command->add_option(words, arguments->words, words_help);
  command->callback([arguments, exit_code, call] {
    FindRunDir(arguments.get());
    *exit_code = ReportAndExitCodeOf(call(*arguments));
  });
  return arguments;
}

}  // namespace

void AddSpecCommands(CLI::App& reward, int* exit_code) {
  AddCommand(reward, exit_code, "weight", "Change the weights of rewards of a run that goes on",
             absl::StrCat("Examples:\n  flowawr reward weight runs/tiny-ocr ocr=.5 size=-0.1\n"
                          "  flowawr reward weight runs/tiny-ocr size=0    # a shadow from then on\n\n"
                          "Negative: less of it is better. 0: scored beside the others and compared with them, but never\n"
                          "trained on and never required.\n",
                          kWhatHappens),
             "WEIGHT", "SCORER=WEIGHT: a scorer of the run and its new weight; repeatable", SetWeightsOf);
  AddCommand(reward, exit_code, "add", "Add a reward to a run that goes on",
             absl::StrCat("Examples:\n  flowawr reward add runs/tiny-ocr size,weight=-0.1\n"
                          "  flowawr reward add runs/tiny-ocr pickscore,weight=0,endpoint=10.0.0.7:7000    # a shadow\n"
                          "  flowawr reward add runs/tiny-ocr pickscore,endpoint=a:7000,endpoint=b:7000    # two servers\n"
                          "  flowawr reward add runs/tiny-ocr clip,weight=0,max_drop=0.5    # watched for reward hacking\n\n"
                          "Without an endpoint: the run's own reward server, where `flowawr reward load` puts it. With a\n"
                          "max_drop the run stops, or warns (evaluation.on_drop), when the held-out reward falls further\n"
                          "below that of the first evaluation which has it.\n",
                          kWhatHappens),
             "TERM", "SCORER[,weight=W][,endpoint=HOST:PORT]...[,required=false][,timeout=S][,max_drop=D]; repeatable", Add);
  AddCommand(reward, exit_code, "remove", "Take a reward out of a run that goes on",
             absl::StrCat("Example:\n  flowawr reward remove runs/tiny-ocr size\n\n", kWhatHappens), "SCORER",
             "a scorer of the run", Remove);
  const auto promoted = AddCommand(
      reward, exit_code, "promote", "Train on a shadow, a reward of weight 0",
      absl::StrCat("Example:\n  flowawr reward promote runs/tiny-ocr pickscore --weight 0.5\n\n"
                   "`flowawr status` tells how a shadow judges beside the rewards that are trained on.\n",
                   kWhatHappens),
      "SCORER", "a shadow of the run", PromoteShadow);
  const RewardTermBounds& bounds = BoundsOfRewardTerms();
  reward.get_subcommand("promote")
      ->add_option("--weight", promoted->weight, "its weight from then on")
      ->check(Number(bounds.least_weight, bounds.most_weight))
      ->capture_default_str();
  const auto swapped = AddCommand(
      reward, exit_code, "swap", "Move a reward of a run that goes on to another server, or replace all rewards",
      absl::StrCat("Examples:\n  flowawr reward swap runs/tiny-ocr pickscore --to 10.0.0.7:7000\n"
                   "  flowawr reward swap runs/tiny-ocr --term ocr,weight=1 --term size,weight=-0.1,required=false\n\n"
                   "--to keeps the weight and all else. --term names all rewards; one without an endpoint keeps the\n"
                   "server that its scorer has now, else it is the run's own.\n",
                   kWhatHappens),
      "SCORER", "the scorer to move, with --to", Swap);
  CLI::App* swap = reward.get_subcommand("swap");
  swap->add_option("--to", swapped->to,
                   "HOST:PORT of its reward server from then on, several with commas between; own: that of the run")
      ->check(CheckServers);
  swap->add_option("--term", swapped->terms,
                   "SCORER[,weight=W][,endpoint=HOST:PORT]...[,required=false][,timeout=S][,max_drop=D]; repeatable")
      ->check([](const std::string& text) { return std::string(ParseTerm(text).status().message()); })
      ->allow_extra_args(false);
}

}  // namespace flowawr
