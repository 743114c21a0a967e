#include "cli/reward_access.h"

#include <signal.h>
#include <stdlib.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <future>
#include <optional>
#include <system_error>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "cli/supervisor.h"
#include "common/base/clock.h"
#include "common/base/shell_quote.h"
#include "common/base/status.h"
#include "common/config/paths.h"
#include "common/config/run_config.h"
#include "common/process/exit_code.h"
#include "common/rpc/channel.h"
#include "common/rpc/endpoint_file.h"
#include "common/rpc/status.h"
#include "common/scoring/reward_server_errors.h"
#include "common/scoring/reward_terms.h"
#include "common/scoring/scorer_text.h"

namespace flowawr {
namespace {

constexpr absl::Duration kAnswerTime = absl::Seconds(10);
constexpr absl::Duration kLoadTime = absl::Minutes(10);  // a scorer may read a model
constexpr absl::Duration kStartTime = absl::Minutes(1);
constexpr absl::Duration kStopGrace = absl::Seconds(5);
constexpr absl::Duration kTick = absl::Milliseconds(20);
constexpr double kPatience = 300;  // seconds for a picture, at least: nobody waits for it as a run would

absl::Status Stopped() { return absl::CancelledError("stopped"); }

bool IsConfig(const std::string& what) {
  std::error_code ignored;
  return absl::EndsWithIgnoreCase(what, ".yaml") || absl::EndsWithIgnoreCase(what, ".yml") ||
         std::filesystem::is_regular_file(what, ignored) ||
         std::filesystem::exists(absl::StrCat(what, "/", kRunConfigFile), ignored);
}

v1::LoadScorerRequest ScorerOf(const v1::RewardTerm& term) {
  v1::LoadScorerRequest scorer;
  scorer.set_name(term.scorer());
  scorer.set_kind(term.kind().empty() ? term.scorer() : term.kind());
  *scorer.mutable_options() = term.options();
  return scorer;
}

absl::Status AddConfig(const RewardArguments& arguments, RewardPlan* plan) {
  FLOWAWR_ASSIGN_OR_RETURN(plan->config, LoadRunConfig(arguments.what, arguments.overrides));
  plan->has_config = true;
  for (const v1::RewardTerm& configured : plan->config.rewards().terms()) {
    v1::RewardSpecTerm& term = *plan->spec.add_terms();
    term = SpecTermOf(configured);
    term.set_timeout_s(std::max(term.timeout_s(), kPatience));
    if (!term.endpoint().empty()) continue;
    term.set_endpoint(arguments.server);
    if (arguments.server.empty()) plan->scorers.push_back(ScorerOf(configured));
  }
  return absl::OkStatus();
}

absl::Status AddScorer(const RewardArguments& arguments, RewardPlan* plan) {
  if (!arguments.overrides.empty()) return UsageError("--set changes a configuration: name one");
  FLOWAWR_ASSIGN_OR_RETURN(v1::LoadScorerRequest scorer, ParseScorer(arguments.what));
  v1::RewardSpecTerm& term = *plan->spec.add_terms();
  term.set_scorer(scorer.name());
  term.set_endpoint(arguments.server);
  term.set_weight(1);
  term.set_is_required(true);
  term.set_timeout_s(kPatience);
  if (arguments.server.empty()) {
    plan->scorers.push_back(std::move(scorer));
  } else if (!scorer.options().empty() || scorer.kind() != scorer.name()) {
    return UsageError(absl::StrCat(
        arguments.what, ": a server that is there has its scorers loaded: name one of them, without kind and options (",
        "flowawr reward list --server ", ShellQuote(arguments.server), ")"));
  }
  return absl::OkStatus();
}

// Runs `call` beside, and cancels it when it is no longer wanted.
grpc::Status CallUnlessUnwanted(grpc::ClientContext& context, absl::FunctionRef<bool()> is_wanted,
                                absl::FunctionRef<grpc::Status()> call) {
  std::future<grpc::Status> answer = std::async(std::launch::async, call);
  while (answer.wait_for(absl::ToChronoMilliseconds(kTick)) != std::future_status::ready)
    if (!is_wanted()) context.TryCancel();
  return answer.get();
}

}  // namespace

absl::StatusOr<RewardPlan> PlanRewards(const RewardArguments& arguments) {
  RewardPlan plan;
  plan.threads = arguments.threads;
  plan.device = arguments.device;
  const bool is_config = IsConfig(arguments.what);
  FLOWAWR_RETURN_IF_ERROR(is_config ? AddConfig(arguments, &plan) : AddScorer(arguments, &plan));
  if (is_config && plan.device == "auto") plan.device = plan.config.local().reward_device();
  // A server of its own alone needs neither TLS nor token: nobody else speaks to it.
  if (plan.scorers.size() < static_cast<size_t>(plan.spec.terms_size()))
    plan.network_config = arguments.network_config.empty() && is_config ? arguments.what : arguments.network_config;
  FLOWAWR_ASSIGN_OR_RETURN(plan.network, LoadNetworkConfig(plan.network_config));
  return plan;
}

absl::StatusOr<std::unique_ptr<RewardAccess>> RewardAccess::Open(const RewardPlan& plan,
                                                                 absl::FunctionRef<bool()> is_wanted,
                                                                 absl::FunctionRef<void(const std::string&)> say) {
  std::unique_ptr<RewardAccess> access(new RewardAccess(plan));
  if (!plan.scorers.empty()) {
    say("starting a reward server");
    FLOWAWR_RETURN_IF_ERROR(access->StartServer(plan, is_wanted));
    FLOWAWR_RETURN_IF_ERROR(access->LoadScorers(plan, is_wanted, say));
    for (v1::RewardSpecTerm& term : *access->spec_.mutable_terms())
      if (term.endpoint().empty()) term.set_endpoint(access->endpoint_);
  }
  FLOWAWR_RETURN_IF_ERROR(access->FindScorers(is_wanted));
  return access;
}

RewardAccess::~RewardAccess() {
  if (server_ != nullptr) {
    server_->Signal(SIGTERM);
    const absl::Time deadline = MonotonicNow() + kStopGrace;
    while (!server_->Poll().has_value()) {
      if (MonotonicNow() > deadline) server_->Signal(SIGKILL);
      absl::SleepFor(kTick);
    }
  }
  std::error_code ignored;
  if (!folder_.empty()) std::filesystem::remove_all(folder_, ignored);
}

absl::Status RewardAccess::StartServer(const RewardPlan& plan, Wanted is_wanted) {
  std::error_code error;
  std::string folder = (std::filesystem::temp_directory_path(error) / "flowawr-XXXXXX").string();
  if (error || mkdtemp(folder.data()) == nullptr)
    return absl::InternalError(absl::StrCat(folder, " cannot be made; set TMPDIR to a folder that can be written"));
  folder_ = folder;
  const std::string endpoint_file = folder_ + "/endpoint";
  const std::string listen = plan.network_config.empty() ? "127.0.0.1:0" : plan.network.reward_listen();
  std::vector<std::string> command = {FolderOfPrograms() + "/flowawr-reward-server",
                                      "--listen",
                                      listen,
                                      "--endpoint-file",
                                      endpoint_file,
                                      "--threads",
                                      absl::StrCat(plan.threads),
                                      "--device",
                                      plan.device};
  if (!plan.network_config.empty()) command.insert(command.end(), {"--network-config", plan.network_config});
  FLOWAWR_ASSIGN_OR_RETURN(ChildProcess child, ChildProcess::Start(command, folder_ + "/log"));
  server_ = std::make_unique<ChildProcess>(std::move(child));
  for (const absl::Time deadline = MonotonicNow() + kStartTime; MonotonicNow() < deadline; absl::SleepFor(kTick)) {
    if (!is_wanted()) return Stopped();
    absl::StatusOr<std::string> endpoint = ReadEndpointFile(endpoint_file);
    if (endpoint.ok()) {
      endpoint_ = *std::move(endpoint);
      return absl::OkStatus();
    }
    FLOWAWR_RETURN_IF_ERROR(CheckServer());
  }
  return absl::DeadlineExceededError("the reward server did not start within a minute");
}

absl::Status RewardAccess::CheckServer() const {
  if (server_ == nullptr) return absl::OkStatus();
  const std::optional<std::string> end = server_->Poll();
  return end.has_value() ? Ended(*end) : absl::OkStatus();
}

absl::Status RewardAccess::Ended(const std::string& how) const {
  return absl::InternalError(absl::StrCat("the reward server ended", how.empty() ? "" : ", ", how, "; its log ends:\n",
                                          TailOfLog(folder_ + "/log", 10)));
}

absl::Status RewardAccess::LoadScorers(const RewardPlan& plan, Wanted is_wanted,
                                       absl::FunctionRef<void(const std::string&)> say) {
  FLOWAWR_ASSIGN_OR_RETURN(const auto channel, MakeChannel(endpoint_, network_));
  const auto stub = v1::RewardService::NewStub(channel);
  for (const v1::LoadScorerRequest& scorer : plan.scorers) {
    say(absl::StrCat("loading scorer ", scorer.name()));
    v1::LoadScorerResponse response;
    const auto context = MakeContext(kLoadTime, network_);
    const grpc::Status answer = CallUnlessUnwanted(
        *context, is_wanted, [&] { return stub->LoadScorer(context.get(), scorer, &response); });
    if (answer.ok()) continue;
    if (!is_wanted()) return Stopped();
    FLOWAWR_RETURN_IF_ERROR(CheckServer());
    return Annotate(FromGrpc(answer), absl::StrCat("scorer ", scorer.name()));
  }
  return absl::OkStatus();
}

absl::StatusOr<v1::ListScorersResponse> RewardAccess::List(const std::string& endpoint, Wanted is_wanted) const {
  FLOWAWR_ASSIGN_OR_RETURN(const auto channel, MakeChannel(endpoint, network_));
  const auto stub = v1::RewardService::NewStub(channel);
  v1::ListScorersResponse response;
  const auto context = MakeContext(kAnswerTime, network_);
  const grpc::Status answer =
      CallUnlessUnwanted(*context, is_wanted, [&] { return stub->ListScorers(context.get(), {}, &response); });
  if (answer.ok()) return response;
  if (!is_wanted()) return Stopped();
  return ExplainRewardServer(FromGrpc(answer), endpoint, network_);
}

// A scorer that one of its term's servers has is there.
absl::Status RewardAccess::FindScorers(Wanted is_wanted) {
  for (const v1::RewardSpecTerm& term : spec_.terms()) {
    versions_.emplace_back();
    kinds_.emplace_back();
    absl::Status missing = absl::InvalidArgumentError(absl::StrCat("scorer ", term.scorer(), " names no server"));
    for (const std::string& endpoint : EndpointsOf(term.endpoint())) {
      const absl::StatusOr<v1::ListScorersResponse> list = List(endpoint, is_wanted);
      if (absl::IsUnimplemented(list.status())) {  // somebody's own server, which need not list
        missing = absl::OkStatus();
        break;
      }
      if (!list.ok()) {
        missing = list.status();
        continue;
      }
      std::vector<std::string> names;
      const v1::ScorerInfo* found = nullptr;
      for (const v1::ScorerInfo& scorer : list->scorers()) {
        names.push_back(scorer.name());
        if (scorer.name() == term.scorer()) found = &scorer;
      }
      if (found != nullptr) {
        versions_.back() = found->version();
        kinds_.back() = found->kind();
        missing = absl::OkStatus();
        break;
      }
      missing = ScorerNotLoaded(term.scorer(), endpoint, names);
    }
    FLOWAWR_RETURN_IF_ERROR(missing);
  }
  return absl::OkStatus();
}

}  // namespace flowawr
