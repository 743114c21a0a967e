// An actor that others fetch adapters from and that does not do as it should.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/synchronization/notification.h"
#include "common/rpc/server.h"
#include "flowawr/v1/policy.grpc.pb.h"

namespace flowawr {

// As processes have it from their configuration.
inline v1::NetworkConfig PeerNetwork() {
  v1::NetworkConfig network;
  network.set_max_message_mib(64);
  return network;
}

// Thread-safe.
class BadPeer final : public v1::PolicyPeer::Service {
 public:
  // Answers one call. Who hangs waits for `closed`.
  using Act = std::function<grpc::Status(grpc::ServerWriter<v1::FetchPolicyResponse>&, const absl::Notification& closed)>;
  explicit BadPeer(Act act)
      : act_(std::move(act)),
        server_(RpcServer::Start({.listen = "127.0.0.1:0", .network = PeerNetwork()}, {this}).value()) {}
  ~BadPeer() override { Close(); }

  // From now on nobody is there.
  void Close() {
    if (!closed_.HasBeenNotified()) closed_.Notify();
    server_->Shutdown(absl::ZeroDuration());
  }
  const std::string& endpoint() const { return server_->endpoint(); }
  int asked() const { return asked_; }
  // The names of what the last call said of itself.
  std::vector<std::string> shown() const {
    absl::MutexLock lock(&mutex_);
    return shown_;
  }

  grpc::Status FetchAdapter(grpc::ServerContext* context, const v1::FetchAdapterRequest*,
                            grpc::ServerWriter<v1::FetchPolicyResponse>* writer) override {
    ++asked_;
    {
      absl::MutexLock lock(&mutex_);
      shown_.clear();
      for (const auto& [name, value] : context->client_metadata()) shown_.emplace_back(name.data(), name.size());
    }
    return act_(*writer, closed_);
  }

  static grpc::Status Hang(const absl::Notification& closed) {
    closed.WaitForNotification();
    return grpc::Status::CANCELLED;
  }

 private:
  const Act act_;
  std::atomic<int> asked_ = 0;
  mutable absl::Mutex mutex_;
  std::vector<std::string> shown_ ABSL_GUARDED_BY(mutex_);
  absl::Notification closed_;
  const std::unique_ptr<RpcServer> server_;
};

}  // namespace flowawr
