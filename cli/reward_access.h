// Where a command gets rewards from: reward servers that are there, or one of its own, which it starts and ends.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "cli/child_process.h"
#include "flowawr/v1/config.pb.h"
#include "flowawr/v1/reward.grpc.pb.h"

namespace flowawr {

// What people type.
struct RewardArguments {
  std::string what;                    // CONFIG, or SCORER[=KIND][,option=value...]
  std::vector<std::string> overrides;  // of a CONFIG, as of --set
  std::string server;                  // HOST:PORT, of the scorers that name no other; empty: one of its own
  std::string network_config;          // as of --network-config
  int threads = 1;                     // of the own server's scorers
  std::string device = "auto";         // of theirs, too; auto: the CONFIG's local.reward_device
};

struct RewardPlan {
  v1::RewardSpec spec;                        // a term without endpoint is the own server's
  std::vector<v1::LoadScorerRequest> scorers;  // of the own server; none: there is no such server
  v1::NetworkConfig network;
  std::string network_config;  // for the own server; empty: neither TLS nor token
  v1::RunConfig config;        // where a CONFIG was named
  bool has_config = false;
  int threads = 1;
  std::string device;
};

// InvalidArgument and NotFound say what is wrong with the arguments. A word that is a file or the folder of a run, or
// looks like a file of YAML, is a CONFIG. Starts nothing.
absl::StatusOr<RewardPlan> PlanRewards(const RewardArguments& arguments);

// Not thread-safe. Its own server ends with it, and with the thread that opened it.
class RewardAccess {
 public:
  // Starts the own server and loads its scorers; asks the others whether they have theirs. `say` is told what is waited
  // for; Cancelled soon after `is_wanted` says no. Errors name the server or the scorer and what to do.
  static absl::StatusOr<std::unique_ptr<RewardAccess>> Open(const RewardPlan& plan, absl::FunctionRef<bool()> is_wanted,
                                                            absl::FunctionRef<void(const std::string&)> say);
  ~RewardAccess();
  RewardAccess(const RewardAccess&) = delete;
  RewardAccess& operator=(const RewardAccess&) = delete;

  // Internal, with the end of its log, when the own server has ended: nothing more comes of waiting for it.
  absl::Status CheckServer() const;

  // Every term with its endpoint.
  const v1::RewardSpec& spec() const { return spec_; }
  const v1::NetworkConfig& network() const { return network_; }
  // By term: what scores, e.g. "tesseract 5.3.0 eng"; empty where the server does not tell.
  const std::vector<std::string>& versions() const { return versions_; }
  // By term: of which kind its scorer is; empty likewise.
  const std::vector<std::string>& kinds() const { return kinds_; }

 private:
  using Wanted = absl::FunctionRef<bool()>;

  explicit RewardAccess(const RewardPlan& plan) : spec_(plan.spec), network_(plan.network) {}
  absl::Status StartServer(const RewardPlan& plan, Wanted is_wanted);
  absl::Status LoadScorers(const RewardPlan& plan, Wanted is_wanted, absl::FunctionRef<void(const std::string&)> say);
  absl::Status FindScorers(Wanted is_wanted);
  absl::StatusOr<v1::ListScorersResponse> List(const std::string& endpoint, Wanted is_wanted) const;
  // How the own server ended, as an error with the end of its log.
  absl::Status Ended(const std::string& how) const;

  v1::RewardSpec spec_;
  v1::NetworkConfig network_;
  std::vector<std::string> versions_, kinds_;
  std::string folder_;  // of the own server's log and address; empty: there is none
  std::string endpoint_;
  std::unique_ptr<ChildProcess> server_;
};

}  // namespace flowawr
