#include "cli/reward/server_commands.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <system_error>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "cli/learner_connection.h"
#include "cli/run_folder.h"
#include "common/base/host_port.h"
#include "common/base/status.h"
#include "common/config/paths.h"
#include "common/process/command_line.h"
#include "common/process/exit_code.h"
#include "common/process/option_values.h"
#include "common/rpc/channel.h"
#include "common/rpc/peer.h"
#include "common/rpc/status.h"
#include "common/scoring/reward_server_errors.h"
#include "common/scoring/reward_terms.h"
#include "common/scoring/scorer_text.h"
#include "flowawr/v1/reward.grpc.pb.h"

namespace flowawr {
namespace {

constexpr absl::Duration kAnswerTime = absl::Seconds(10);
constexpr absl::Duration kInUse = absl::Minutes(1);  // a scorer that was asked within it probably has a run
constexpr absl::Duration kLoadTime = absl::Minutes(10);  // a scorer may read a model

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
    const absl::Status error = FromGrpc(status);
    if (IsAnotherPeer(error))
      return absl::UnavailableError(absl::StrCat("no reward server of this run answers: it has ended, and another ",
                                                 "process listens at its address, ", endpoint));
    return ExplainRewardServer(error, endpoint, network);
  }
};

absl::StatusOr<RewardServer> Open(const ServerArguments& arguments) {
  if (arguments.server.empty() && arguments.run_dir.empty())
    return UsageError("name a reward server: the folder of a run for its own, or --server HOST:PORT");
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

// A server on this machine need not be told where people are: relative paths start at their folder, not at the server's.
// A `kind` that is left out is the server's to know; then what is called `model` is a path if there is such a folder.
void StartPathsHere(const RewardServer& server, v1::LoadScorerRequest* scorer) {
  const absl::StatusOr<HostPort> place = ParseHostPort(server.endpoint);
  if (!place.ok() || !place->is_loopback()) return;
  for (auto& [option, value] : *scorer->mutable_options()) {
    std::error_code error;
    const std::filesystem::path path = std::filesystem::absolute(value, error);
    if (error || !IsScorerPath(scorer->kind(), option)) continue;
    if (scorer->kind().empty() && !std::filesystem::exists(path, error)) continue;
    value = path.lexically_normal().string();
  }
}

absl::Status Load(const ServerArguments& arguments) {
  FLOWAWR_ASSIGN_OR_RETURN(v1::LoadScorerRequest request, ParseScorer(arguments.scorer));
  FLOWAWR_ASSIGN_OR_RETURN(const RewardServer server, Open(arguments));
  StartPathsHere(server, &request);
  v1::LoadScorerResponse response;
  const grpc::Status answer = server.stub->LoadScorer(server.Context(kLoadTime).get(), request, &response);
  if (!answer.ok()) return server.Explain(answer);
  std::printf("loaded %s (%s)\n", response.scorer().name().c_str(), response.scorer().version().c_str());
  return absl::OkStatus();
}

absl::Status Reload(const ServerArguments& arguments) {
  FLOWAWR_ASSIGN_OR_RETURN(v1::LoadScorerRequest request, ParseScorer(arguments.scorer));
  if (!absl::StrContains(arguments.scorer.substr(0, arguments.scorer.find(',')), '=')) request.clear_kind();
  FLOWAWR_ASSIGN_OR_RETURN(const RewardServer server, Open(arguments));
  StartPathsHere(server, &request);
  v1::LoadScorerResponse response;
  const grpc::Status answer = server.stub->ReloadScorer(server.Context(kLoadTime).get(), request, &response);
  if (!answer.ok()) return server.Explain(answer);
  std::printf("reloaded %s (%s)\n", response.scorer().name().c_str(), response.scorer().version().c_str());
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
    const std::vector<std::string> endpoints = EndpointsOf(term.endpoint());
    const bool is_here = endpoints.empty() || std::count(endpoints.begin(), endpoints.end(), server.endpoint) > 0;
    if (term.scorer() == arguments.scorer && is_here)
      terms.push_back(absl::StrCat("term ", i, " (", term.scorer(), ", weight ", term.weight(), ") of run ",
                                   status->name(), " in ", status->run_dir()));
  }
  return terms;
}

// A run without its scorer fails every group and pauses. FailedPrecondition where one needs it, or may.
absl::Status CheckIsUnused(const ServerArguments& arguments, const RewardServer& server) {
  constexpr char kHint[] =
      "take it out of the run's rewards first (flowawr reward remove or swap), or unload it all the same: --force";
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

std::string DescribeScorers(const v1::ListScorersResponse& scorers) {
  std::string text;
  if (scorers.scorers().empty()) text = "no scorer is loaded\n";
  constexpr size_t kWidest = 40;
  size_t names = 0, kinds = 0;  // widths of the columns
  for (const v1::ScorerInfo& scorer : scorers.scorers()) {
    names = std::min(std::max(names, scorer.name().size()), kWidest);
    kinds = std::min(std::max(kinds, scorer.kind().size()), kWidest);
  }
  for (const v1::ScorerInfo& scorer : scorers.scorers()) {
    absl::StrAppendFormat(&text, "%-*s %-*s %s: %d images, %d errors, %d queued", static_cast<int>(names),
                          scorer.name(), static_cast<int>(kinds), scorer.kind(), scorer.version(),
                          scorer.images_scored(), scorer.errors(), scorer.queued_images());
    if (scorer.memory_bytes() > 0) absl::StrAppendFormat(&text, ", %.1f MB of weights", scorer.memory_bytes() / 1e6);
    if (scorer.health() == v1::ScorerInfo::STUCK)
      absl::StrAppend(&text, ", STUCK", scorer.health_message().empty() ? "" : ": ", scorer.health_message());
    absl::StrAppend(&text, "\n");
  }
  absl::StrAppend(&text, "kinds that can be loaded: ", absl::StrJoin(scorers.available_kinds(), ", "), "\n");
  return text;
}

void AddServerCommands(CLI::App& reward, int* exit_code) {
  AddServerCommand(&reward, exit_code, "list", "List what a reward server has loaded",
                   "Examples:\n  flowawr reward list runs/tiny-ocr\n"
                   "  flowawr reward list --server 127.0.0.1:50052",
                   nullptr, List);
  AddServerCommand(&reward, exit_code, "load", "Load a scorer while the server runs",
                   "Example:\n  flowawr reward load size=jpeg_compressibility,scale=5 runs/tiny-ocr\n\n"
                   "A server that is started again, empty, has it loaded again by the run that uses it. No run uses it\n"
                   "yet: see `flowawr reward add`. Files and folders of a server on this machine start at your working\n"
                   "directory; name those of a server elsewhere in full, as it sees them.",
                   "NAME[=KIND][,option=value...]", Load);
  AddServerCommand(&reward, exit_code, "reload", "Load a scorer anew, in the place of the one of that name",
                   "Examples:\n  flowawr reward reload size,scale=10 runs/tiny-ocr\n"
                   "  flowawr reward reload pickscore --server 10.0.0.7:7000    # e.g. after its files have changed\n\n"
                   "The old one answers until the new one is ready. Without a kind it keeps the one it has, and then,\n"
                   "without options, those too. Rewards before and after are of different things where options or\n"
                   "weights are others: a run does not hear of it.",
                   "NAME[=KIND][,option=value...]", Reload);
  AddServerCommand(&reward, exit_code, "unload", "Unload a scorer once what it scores is done",
                   "Example:\n  flowawr reward unload size runs/tiny-ocr", "a name that `list` shows",
                   Unload);
}

}  // namespace flowawr
