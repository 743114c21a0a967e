#include "common/telemetry/metrics.h"

#include <netdb.h>
#include <sys/socket.h>
#include <unistd.h>

#include <exception>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/str_cat.h"
#include "common/base/host_port.h"
#include "common/base/status.h"
#include "common/base/steady_cond_var.h"
#include "common/base/version.h"
#include "prometheus/exposer.h"
#include "prometheus/gauge.h"

namespace flowawr {
namespace {

// A client that sends or reads slowly occupies one thread, and only for the time-out; the others are served meanwhile.
constexpr char kThreads[] = "4";
constexpr char kTimeoutMs[] = "2000";           // for a request to come, and for each part of the answer to leave
constexpr char kWaitingConnections[] = "16";    // accepted, not yet served; more wait in the system's own queue

// Connects and hangs up.
void TouchPort(const std::string& endpoint) {
  const absl::StatusOr<HostPort> address = ParseHostPort(endpoint);
  if (!address.ok()) return;
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_NUMERICHOST;
  addrinfo* found = nullptr;
  if (getaddrinfo(address->host.c_str(), std::to_string(address->port).c_str(), &hints, &found) != 0) return;
  absl::Cleanup free_found = [found] { freeaddrinfo(found); };
  const int fd = socket(found->ai_family, found->ai_socktype | SOCK_CLOEXEC, found->ai_protocol);
  if (fd < 0) return;
  (void)connect(fd, found->ai_addr, found->ai_addrlen);
  close(fd);
}

}  // namespace

absl::StatusOr<std::unique_ptr<MetricsServer>> MetricsServer::Start(absl::string_view host_port,
                                                                    absl::string_view process_name, bool insecure) {
  FLOWAWR_ASSIGN_OR_RETURN(HostPort address, ParseHostPort(host_port));
  if (!address.is_loopback() && !insecure)
    return absl::PermissionDeniedError(absl::StrCat(
        "/metrics on ", host_port, " would be readable from outside, unencrypted; listen on 127.0.0.1, or ",
        "set network.insecure: true on a network that you trust"));
  // CivetWeb takes numbers only.
  if (address.host == "localhost") address.host = "127.0.0.1";
  std::unique_ptr<MetricsServer> server(new MetricsServer);
  try {
    server->exposer_ = std::make_unique<prometheus::Exposer>(std::vector<std::string>{
        "listening_ports", address.ToString(), "num_threads", kThreads, "request_timeout_ms", kTimeoutMs,
        "linger_timeout_ms", kTimeoutMs, "connection_queue", kWaitingConnections});
    server->port_ = server->exposer_->GetListeningPorts().at(0);
  } catch (const std::exception& error) {
    return absl::AlreadyExistsError(
        absl::StrCat("/metrics cannot listen on ", host_port, ": ", error.what(),
                     "; another process has the port (choose another one, 0: any), or the host is not this machine's"));
  }
  server->endpoint_ = HostPort{address.host, server->port_}.ToString();
  server->registry_ = std::make_shared<prometheus::Registry>();
  prometheus::BuildGauge()
      .Name("flowawr_build_info")
      .Help("Always 1; the labels say what runs.")
      .Register(*server->registry_)
      .Add({{"process", std::string(process_name)}, {"version", Version()}})
      .Set(1);
  server->exposer_->RegisterCollectable(server->registry_);
  return server;
}

void MetricsServer::Show(const std::shared_ptr<prometheus::Collectable>& collectable) {
  exposer_->RegisterCollectable(collectable);
}

MetricsServer::~MetricsServer() {
  if (exposer_ == nullptr) return;
  // CivetWeb notices that it shall stop when somebody connects, else only every two seconds: be that somebody.
  SteadyNotification has_stopped;
  std::thread waker([this, &has_stopped] {
    while (!has_stopped.WaitForNotificationWithTimeout(absl::Milliseconds(2))) TouchPort(endpoint_);
  });
  exposer_.reset();
  has_stopped.Notify();
  waker.join();
}

}  // namespace flowawr
