#include "cli/reward_commands.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <map>
#include <memory>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "cli/learner_connection.h"
#include "cli/panel.h"
#include "cli/run_folder.h"
#include "common/base/host_port.h"
#include "common/base/nearest_word.h"
#include "common/base/shell_quote.h"
#include "common/base/status.h"
#include "common/base/utf8.h"
#include "common/process/command_line.h"
#include "common/process/exit_code.h"
#include "common/process/option_values.h"
#include "common/rpc/channel.h"
#include "common/rpc/peer.h"
#include "common/rpc/status.h"
#include "common/rpc/tls_check.h"
#include "common/scoring/scorer_text.h"
#include "flowawr/v1/reward.grpc.pb.h"

namespace flowawr {
namespace {

constexpr absl::Duration kAnswerTime = absl::Seconds(10);
constexpr absl::Duration kInUse = absl::Minutes(1);  // a scorer that was asked within it probably has a run
constexpr absl::Duration kLoadTime = absl::Minutes(10);  // a scorer may read a model
constexpr absl::Duration kSwapTime = absl::Minutes(30);  // answered between two updates

struct ServerArguments {
  std::string server, run_dir, network_config, scorer;
  bool force = false;
};

struct RewardServer {
  v1::NetworkConfig network;
  std::string endpoint;
  std::string identity;  // of the process that was found through a run's folder; empty: whoever listens there
  std::unique_ptr<v1::RewardService::Stub> stub;

  std::unique_ptr<grpc::ClientContext> Context(absl::Duration deadline) const {
    std::unique_ptr<grpc::ClientContext> context = MakeContext(deadline, network);
    MeantFor(identity, context.get());
    return context;
  }

  absl::Status Explain(const grpc::Status& status) const {
    const absl::Status error = ExplainFailure(FromGrpc(status), endpoint, network);
    if (IsAnotherPeer(error))
      return absl::UnavailableError(absl::StrCat("no reward server of this run answers: it has ended, and another ",
                                                 "process listens at its address, ", endpoint));
    return Annotate(
        error, absl::StrCat(absl::IsUnavailable(error) ? "no reward server answers at " : "reward server ", endpoint));
  }
};

absl::StatusOr<RewardServer> Open(const ServerArguments& arguments) {
  if (arguments.server.empty() && arguments.run_dir.empty())
    return absl::InvalidArgumentError("name a reward server: the folder of a run for its own, or --server HOST:PORT");
  RewardServer server;
  server.endpoint = arguments.server;
  FLOWAWR_ASSIGN_OR_RETURN(server.network, FindNetworkConfig(arguments.network_config, arguments.run_dir));
  if (arguments.server.empty()) {
    FLOWAWR_ASSIGN_OR_RETURN(const Endpoint endpoint, RewardServerEndpointOf(arguments.run_dir));
    server.endpoint = endpoint.address;
    server.identity = endpoint.identity;
  }
  FLOWAWR_ASSIGN_OR_RETURN(const auto channel, MakeChannel(server.endpoint, server.network));
  server.stub = v1::RewardService::NewStub(channel);
  return server;
}

absl::StatusOr<v1::ListScorersResponse> ScorersOf(const RewardServer& server) {
  v1::ListScorersResponse response;
  const grpc::Status answer = server.stub->ListScorers(server.Context(kAnswerTime).get(), {}, &response);
  if (!answer.ok()) return server.Explain(answer);
  return response;
}

absl::Status List(const ServerArguments& arguments) {
  FLOWAWR_ASSIGN_OR_RETURN(const RewardServer server, Open(arguments));
  FLOWAWR_ASSIGN_OR_RETURN(const v1::ListScorersResponse scorers, ScorersOf(server));
  std::fputs(DescribeScorers(scorers).c_str(), stdout);
  return absl::OkStatus();
}

absl::Status Load(const ServerArguments& arguments) {
  FLOWAWR_ASSIGN_OR_RETURN(const v1::LoadScorerRequest request, ParseScorer(arguments.scorer));
  FLOWAWR_ASSIGN_OR_RETURN(const RewardServer server, Open(arguments));
  v1::LoadScorerResponse response;
  const grpc::Status answer = server.stub->LoadScorer(server.Context(kLoadTime).get(), request, &response);
  if (!answer.ok()) return server.Explain(answer);
  std::printf("loaded %s (%s)\n", response.scorer().name().c_str(), response.scorer().version().c_str());
  return absl::OkStatus();
}

// The reward terms that a run, where it answers, has of the scorer; none where there is no such run.
std::vector<std::string> TermsInUse(const ServerArguments& arguments, const RewardServer& server) {
  std::vector<std::string> terms;
  if (arguments.run_dir.empty()) return terms;
  absl::StatusOr<LearnerConnection> learner =
      LearnerConnection::Open({arguments.run_dir, "", arguments.network_config});
  if (!learner.ok()) return terms;
  const absl::StatusOr<v1::Status> status =
      learner->Call(&v1::Control::Stub::GetStatus, v1::GetStatusRequest(), kAnswerTime);
  if (!status.ok()) return terms;
  for (int i = 0; i < status->reward_spec().terms_size(); ++i) {
    const v1::RewardSpecTerm& term = status->reward_spec().terms(i);
    if (term.scorer() == arguments.scorer && (term.endpoint().empty() || term.endpoint() == server.endpoint))
      terms.push_back(absl::StrCat("term ", i, " (", term.scorer(), ", weight ", term.weight(), ") of run ",
                                   status->name(), " in ", status->run_dir()));
  }
  return terms;
}

// A run without its scorer fails every group and pauses. FailedPrecondition where one needs it, or may.
absl::Status CheckIsUnused(const ServerArguments& arguments, const RewardServer& server) {
  constexpr char kHint[] =
      "swap the run's rewards first (flowawr reward swap), or unload it all the same: --force";
  const std::vector<std::string> terms = TermsInUse(arguments, server);
  if (!terms.empty())
    return absl::FailedPreconditionError(
        absl::StrCat("scorer ", arguments.scorer, " is in use: ", absl::StrJoin(terms, ", "), "; ", kHint));
  if (!arguments.run_dir.empty()) return absl::OkStatus();
  FLOWAWR_ASSIGN_OR_RETURN(const v1::ListScorersResponse list, ScorersOf(server));
  for (const v1::ScorerInfo& scorer : list.scorers()) {
    if (scorer.name() != arguments.scorer || !scorer.has_seconds_since_use() ||
        scorer.seconds_since_use() > absl::ToDoubleSeconds(kInUse))
      continue;
    return absl::FailedPreconditionError(
        absl::StrFormat("scorer %s was asked for a reward %.0f seconds ago, so a run probably needs it; %s",
                        arguments.scorer, scorer.seconds_since_use(), kHint));
  }
  return absl::OkStatus();
}

absl::Status Unload(const ServerArguments& arguments) {
  FLOWAWR_ASSIGN_OR_RETURN(const RewardServer server, Open(arguments));
  if (!arguments.force) FLOWAWR_RETURN_IF_ERROR(CheckIsUnused(arguments, server));
  v1::UnloadScorerRequest request;
  request.set_name(arguments.scorer);
  v1::UnloadScorerResponse response;
  const grpc::Status answer =
      server.stub->UnloadScorer(server.Context(kLoadTime).get(), request, &response);
  if (!answer.ok()) return server.Explain(answer);
  std::printf("unloaded %s\n", arguments.scorer.c_str());
  return absl::OkStatus();
}

// A scorer that its server does not have would fail every group from the swap on: refused before, where this can be
// known. A term without an endpoint is the run's own reward server's.
absl::Status CheckIsLoaded(const LearnerAddress& address, const v1::RewardSpecTerm& term) {
  ServerArguments arguments{term.endpoint(), address.run_dir, address.network_config, ""};
  if (arguments.server.empty() && arguments.run_dir.empty()) return absl::OkStatus();  // only the learner knows it
  FLOWAWR_ASSIGN_OR_RETURN(const RewardServer server, Open(arguments));
  FLOWAWR_ASSIGN_OR_RETURN(const v1::ListScorersResponse list, ScorersOf(server));
  std::vector<std::string> names;
  for (const v1::ScorerInfo& scorer : list.scorers()) names.push_back(scorer.name());
  if (std::find(names.begin(), names.end(), term.scorer()) != names.end()) return absl::OkStatus();
  const std::string meant = DidYouMean(term.scorer(), names);
  return absl::NotFoundError(absl::StrCat("the reward server ", server.endpoint, " has no scorer \"", term.scorer(),
                                          "\"; there ", names.empty() ? "is none" : "are: ", absl::StrJoin(names, ", "),
                                          meant.empty() ? "." : meant, " Load it first: flowawr reward load ",
                                          ShellQuote(absl::StrCat(term.scorer(), "=KIND")), " --server ",
                                          ShellQuote(server.endpoint)));
}

absl::Status Swap(const LearnerAddress& address, const std::vector<std::string>& terms) {
  v1::SetRewardSpecRequest request;
  for (const std::string& text : terms) {
    FLOWAWR_ASSIGN_OR_RETURN(*request.add_terms(), ParseTerm(text));
  }
  FLOWAWR_ASSIGN_OR_RETURN(LearnerConnection learner, LearnerConnection::Open(address));
  FLOWAWR_ASSIGN_OR_RETURN(const v1::Status status,
                           learner.Call(&v1::Control::Stub::GetStatus, v1::GetStatusRequest(), kAnswerTime));
  FillInEndpoints(status.reward_spec(), request.mutable_terms());
  for (const v1::RewardSpecTerm& term : request.terms()) FLOWAWR_RETURN_IF_ERROR(CheckIsLoaded(address, term));
  FLOWAWR_ASSIGN_OR_RETURN(const v1::RewardSpec spec,
                           learner.Call(&v1::Control::Stub::SetRewardSpec, request, kSwapTime));
  std::printf("%s\n", DescribeRewardSpec(spec).c_str());
  return absl::OkStatus();
}

void AddServerCommand(CLI::App* reward, int* exit_code, const char* name, const char* description, const char* footer,
                      const char* scorer, absl::Status (*call)(const ServerArguments&)) {
  auto arguments = std::make_shared<ServerArguments>();
  CLI::App* command = reward->add_subcommand(name, description);
  command->footer(footer);
  if (scorer != nullptr) command->add_option("SCORER", arguments->scorer, scorer)->required();
  command->add_option("RUN_DIR,--run-dir", arguments->run_dir,
                      "a run on this machine: the reward server that it started");
  command->add_option("--server", arguments->server, "HOST:PORT of the reward server; default: that of the run")
      ->check(AddressToReach());
  if (call == &Unload) command->add_flag("--force", arguments->force, "though a run uses it, which will then pause");
  AddNetworkConfigOption(*command, "the configuration of the run, else neither TLS nor token",
                         &arguments->network_config);
  command->callback([arguments, exit_code, call] { *exit_code = ReportAndExitCodeOf(call(*arguments)); });
}

}  // namespace

absl::StatusOr<v1::RewardSpecTerm> ParseTerm(const std::string& text) {
  const std::vector<std::string> parts = absl::StrSplit(text, ',');
  v1::RewardSpecTerm term;
  term.set_scorer(parts[0]);
  term.set_weight(1);
  term.set_is_required(true);
  term.set_timeout_s(60);
  const auto refuse = [&text](absl::string_view why) {
    return absl::InvalidArgumentError(
        absl::StrCat("reward \"", TruncateUtf8(text, 200), "\": ", why,
                     "expected SCORER[,weight=W][,endpoint=HOST:PORT][,required=false][,timeout=SECONDS]"));
  };
  if (parts[0].empty() || parts[0].find('=') != std::string::npos) return refuse("it begins with no scorer; ");
  for (size_t i = 1; i < parts.size(); ++i) {
    const std::pair<std::string, std::string> pair = absl::StrSplit(parts[i], absl::MaxSplits('=', 1));
    double number = 0;
    bool flag = false;
    if (pair.first == "weight" && absl::SimpleAtod(pair.second, &number) && std::fabs(number) <= 1000) {
      term.set_weight(number);
    } else if (pair.first == "timeout" && absl::SimpleAtod(pair.second, &number) && number >= 0.1 && number <= 3600) {
      term.set_timeout_s(number);
    } else if (pair.first == "required" && absl::SimpleAtob(pair.second, &flag)) {
      term.set_is_required(flag);
    } else if (pair.first == "endpoint" && ParseHostPort(pair.second).ok()) {
      term.set_endpoint(pair.second);
    } else {
      const std::map<std::string, std::string> accepted = {{"weight", "a number from -1000 to 1000"},
                                                           {"endpoint", "HOST:PORT"},
                                                           {"required", "true or false"},
                                                           {"timeout", "seconds, from 0.1 to 3600"}};
      if (const auto known = accepted.find(pair.first); known != accepted.end())
        return refuse(absl::StrCat("\"", TruncateUtf8(pair.second, 64), "\" is no ", pair.first, " (", known->second,
                                   "); "));
      return refuse(absl::StrCat("there is no \"", TruncateUtf8(pair.first, 64), "\"",
                                 DidYouMean(pair.first, {"weight", "endpoint", "required", "timeout"}), "; "));
    }
  }
  return term;
}

void FillInEndpoints(const v1::RewardSpec& now, google::protobuf::RepeatedPtrField<v1::RewardSpecTerm>* terms) {
  for (v1::RewardSpecTerm& term : *terms) {
    if (!term.endpoint().empty()) continue;
    for (const v1::RewardSpecTerm& other : now.terms())
      if (other.scorer() == term.scorer()) term.set_endpoint(other.endpoint());
  }
}

std::string DescribeScorers(const v1::ListScorersResponse& scorers) {
  std::string text;
  if (scorers.scorers().empty()) text = "no scorer is loaded\n";
  for (const v1::ScorerInfo& scorer : scorers.scorers()) {
    absl::StrAppendFormat(&text, "%-12s %-12s %s: %d images, %d errors, %d queued\n", scorer.name(), scorer.kind(),
                          scorer.version(), scorer.images_scored(), scorer.errors(), scorer.queued_images());
  }
  absl::StrAppend(&text, "kinds that can be loaded: ", absl::StrJoin(scorers.available_kinds(), ", "), "\n");
  return text;
}

void AddRewardCommands(CLI::App& app, int* exit_code) {
  CLI::App* reward = app.add_subcommand("reward", "Scorers of a reward server, rewards of a run");
  reward->require_subcommand(1);
  AddServerCommand(reward, exit_code, "list", "List what a reward server has loaded",
                   "Examples:\n  flowawr reward list runs/tiny-ocr\n"
                   "  flowawr reward list --server 127.0.0.1:50052",
                   nullptr, List);
  AddServerCommand(reward, exit_code, "load", "Load a scorer while the server runs",
                   "Example:\n  flowawr reward load size=jpeg_compressibility,scale=5 runs/tiny-ocr",
                   "NAME[=KIND][,option=value...]", Load);
  AddServerCommand(reward, exit_code, "unload", "Unload a scorer once what it scores is done",
                   "Example:\n  flowawr reward unload size runs/tiny-ocr", "a name that `list` shows",
                   Unload);
  auto address = std::make_shared<LearnerAddress>();
  auto terms = std::make_shared<std::vector<std::string>>();
  CLI::App* swap = reward->add_subcommand("swap", "Replace the rewards of a run that goes on");
  swap->footer(
      "Example:\n  flowawr reward swap runs/tiny-ocr --term ocr,weight=1 --term size,weight=-0.1,required=false\n\n"
      "Groups under way finish under the old rewards; no batch mixes two. A term without an endpoint keeps the one "
      "that\n"
      "its scorer has now, else it is the run's own reward server's. Scorers that are not loaded are refused.");
  AddLearnerOptions(swap, address.get());
  swap->add_option("--term", *terms, "SCORER[,weight=W][,endpoint=HOST:PORT][,required=false][,timeout=S]; repeatable")
      ->check([](const std::string& text) { return std::string(ParseTerm(text).status().message()); })
      ->required()
      ->allow_extra_args(false);
  swap->callback([address, terms, exit_code] { *exit_code = ReportAndExitCodeOf(Swap(*address, *terms)); });
}

}  // namespace flowawr
