#include "cli/learner_connection.h"

#include <CLI/CLI.hpp>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "cli/run_folder.h"
#include "common/base/clock.h"
#include "common/base/status.h"
#include "common/process/command_line.h"
#include "common/process/exit_code.h"
#include "common/process/option_values.h"
#include "common/rpc/channel.h"
#include "common/rpc/peer.h"
#include "common/rpc/status.h"
#include "common/rpc/tls_check.h"

namespace flowawr {

void AddLearnerOptions(CLI::App* command, LearnerAddress* address) {
  command->add_option("RUN_DIR,--run-dir", address->run_dir, "the directory of a run on this machine");
  command->add_option("--learner", address->learner, "HOST:PORT of a learner anywhere; default: the one of RUN_DIR")
      ->check(AddressToReach());
  AddNetworkConfigOption(*command, "the configuration of RUN_DIR", &address->network_config);
}

absl::StatusOr<LearnerConnection> LearnerConnection::Open(const LearnerAddress& address) {
  if (address.run_dir.empty() && address.learner.empty())
    return UsageError("name a run directory, or --learner HOST:PORT");
  LearnerConnection connection;
  FLOWAWR_ASSIGN_OR_RETURN(connection.network_, FindNetworkConfig(address.network_config, address.run_dir));
  connection.endpoint_ = address.learner;
  if (address.learner.empty()) {
    FLOWAWR_ASSIGN_OR_RETURN(const Endpoint endpoint, LearnerEndpointOf(address.run_dir));
    connection.endpoint_ = endpoint.address;
    connection.identity_ = endpoint.identity;
  }
  FLOWAWR_ASSIGN_OR_RETURN(connection.channel_, MakeChannel(connection.endpoint_, connection.network_));
  connection.control_ = v1::Control::NewStub(connection.channel_);
  return connection;
}

void LearnerConnection::WaitForAnother(absl::Duration limit) const {
  // gRPC takes a time of day and waits for the interval up to it, so that each wait reckons its own.
  const absl::Time until = MonotonicNow() + limit;
  const auto deadline = [until] { return absl::ToChronoTime(absl::Now() + (until - MonotonicNow())); };
  const bool is_gone = channel_->WaitForStateChange(GRPC_CHANNEL_READY, deadline());
  if (is_gone) channel_->WaitForConnected(deadline());
}

std::unique_ptr<grpc::ClientContext> LearnerConnection::Context(absl::Duration deadline) const {
  std::unique_ptr<grpc::ClientContext> context = MakeContext(deadline, network_);
  MeantFor(identity_, context.get());
  return context;
}

absl::Status LearnerConnection::Explain(const grpc::Status& status) const {
  const absl::Status error = ExplainFailure(FromGrpc(status), endpoint_, network_);
  if (IsAnotherPeer(error)) {
    return absl::UnavailableError(absl::StrCat(
        "no learner of this run answers: it has ended, and another process listens at its address, ", endpoint_));
  }
  if (absl::IsUnavailable(error)) {
    return absl::UnavailableError(
        absl::StrCat("no learner answers at ", endpoint_, ": is the run still going on? (", error.message(), ")"));
  }
  if (absl::IsDeadlineExceeded(error)) {
    return absl::DeadlineExceededError(absl::StrCat(
        "the learner at ", endpoint_, " is there but does not answer in time: it hangs, is stopped (kill -STOP), or its ",
        "machine is too busy; its log may say more (", error.message(), ")"));
  }
  return Annotate(error, absl::StrCat("the learner at ", endpoint_));
}

bool IsLearnerGone(const absl::Status& status) { return absl::IsNotFound(status) || absl::IsUnavailable(status); }

}  // namespace flowawr
