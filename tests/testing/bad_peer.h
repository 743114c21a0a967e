// An actor that others fetch adapters from and that does not do as it should.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <string>
#include <utility>

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

  grpc::Status FetchAdapter(grpc::ServerContext*, const v1::FetchAdapterRequest*,
                            grpc::ServerWriter<v1::FetchPolicyResponse>* writer) override {
    ++asked_;
    return act_(*writer, closed_);
  }

  static grpc::Status Hang(const absl::Notification& closed) {
    closed.WaitForNotification();
    return grpc::Status::CANCELLED;
  }

 private:
  const Act act_;
  std::atomic<int> asked_ = 0;
  absl::Notification closed_;
  const std::unique_ptr<RpcServer> server_;
};

}  // namespace flowawr
