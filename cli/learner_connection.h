// How a command reaches the learner that it is about.
#pragma once

#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "flowawr/v1/control.grpc.pb.h"
#include "grpcpp/channel.h"
#include "grpcpp/client_context.h"
#include "grpcpp/support/status.h"

namespace CLI {
class App;
}

namespace flowawr {

// What people type to name a learner.
struct LearnerAddress {
  std::string run_dir;
  std::string learner;         // host:port
  std::string network_config;  // a configuration whose `network` is used, where there is no run directory
};

// RUN_DIR, --learner and --network-config. `address` must outlive the parsing.
void AddLearnerOptions(CLI::App* command, LearnerAddress* address);

// Safe to move; calls may come from several threads.
class LearnerConnection {
 public:
  // The address from --learner, else from RUN_DIR/endpoints/learner; the network settings from --network-config, else
  // from RUN_DIR/config.yaml, else the defaults. Does not connect yet.
  // InvalidArgument when nothing was named, Unavailable for a run that is stopped.
  static absl::StatusOr<LearnerConnection> Open(const LearnerAddress& address);

  v1::Control::Stub& control() { return *control_; }
  // After a call that the learner ended: until that learner is gone and one listens there again. At most for `limit`.
  void WaitForAnother(absl::Duration limit) const;
  std::unique_ptr<grpc::ClientContext> Context(absl::Duration deadline) const;
  // One call, e.g. Call(&v1::Control::Stub::Pause, v1::PauseRequest(), time); its error is explained as below.
  template <typename Request, typename Response>
  absl::StatusOr<Response> Call(grpc::Status (v1::Control::Stub::*method)(grpc::ClientContext*, const Request&,
                                                                          Response*),
                                const Request& request, absl::Duration deadline) {
    Response response;
    const grpc::Status answer = (*control_.*method)(Context(deadline).get(), request, &response);
    if (!answer.ok()) return Explain(answer);
    return response;
  }
  // The call's error with the learner's address, and for a dead learner, or another in its place, what to do.
  absl::Status Explain(const grpc::Status& status) const;

 private:
  std::string endpoint_;
  std::string identity_;  // of the process that was found through a folder; empty: whoever listens there is meant
  v1::NetworkConfig network_;
  std::shared_ptr<grpc::Channel> channel_;
  std::unique_ptr<v1::Control::Stub> control_;
};

// This run's learner does not answer: the run is stopped, or was killed with its endpoint file left behind, whoever
// listens at that address now.
bool IsLearnerGone(const absl::Status& status);

}  // namespace flowawr
