// The run's connection to its learner: the stream of statuses, and the request to stop.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <thread>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "common/base/steady_cond_var.h"
#include "common/rpc/endpoint_file.h"
#include "flowawr/v1/control.grpc.pb.h"

namespace flowawr {

// Owns two threads at most: one reads WatchStatus and begins anew when the stream breaks; one asks for the shutdown.
// Both end with the object. Thread-safe.
class LearnerWatch {
 public:
  static absl::StatusOr<std::unique_ptr<LearnerWatch>> Start(const Endpoint& endpoint,
                                                             const v1::NetworkConfig& network);
  ~LearnerWatch();
  LearnerWatch(const LearnerWatch&) = delete;
  LearnerWatch& operator=(const LearnerWatch&) = delete;

  // The newest status, once: nullopt until there is a newer one.
  std::optional<v1::Status> Take();
  // The newest status, seen or not; empty before the first.
  v1::Status Latest() const;

  // Asks the learner to save and end. Returns at once; repeated calls do nothing.
  void RequestShutdown();
  // Whether the learner refused or could not be asked.
  bool ShutdownFailed() const;

 private:
  LearnerWatch(std::unique_ptr<v1::Control::Stub> stub, const v1::NetworkConfig& network, std::string identity);
  std::unique_ptr<grpc::ClientContext> Context(absl::Duration deadline) const;
  void Read();
  void AskForShutdown();

  const std::unique_ptr<v1::Control::Stub> stub_;
  const v1::NetworkConfig network_;
  const std::string identity_;  // of the learner: never another one at its address
  mutable absl::Mutex mutex_;
  SteadyCondVar closing_;
  v1::Status latest_ ABSL_GUARDED_BY(mutex_);
  bool is_new_ ABSL_GUARDED_BY(mutex_) = false;
  bool is_closed_ ABSL_GUARDED_BY(mutex_) = false;
  bool shutdown_failed_ ABSL_GUARDED_BY(mutex_) = false;
  grpc::ClientContext* stream_ ABSL_GUARDED_BY(mutex_) = nullptr;    // the one under way
  grpc::ClientContext* shutdown_ ABSL_GUARDED_BY(mutex_) = nullptr;  // the call under way
  std::thread reader_;
  std::thread stopper_;  // of the thread that calls RequestShutdown() and the destructor
};

}  // namespace flowawr
