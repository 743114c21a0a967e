// A TCP proxy on loopback that passes on what it reads after a delay, as a far or busy machine would.
#pragma once

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <cstdint>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "absl/synchronization/notification.h"
#include "absl/time/time.h"

namespace flowawr {

class SlowProxy {
 public:
  // Of 127.0.0.1:`port`; each piece that it reads waits for `delay`.
  SlowProxy(int port, absl::Duration delay) : target_(Address(port)), delay_(delay) {
    listener_ = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in address = Address(0);
    bind(listener_, reinterpret_cast<sockaddr*>(&address), sizeof(address));
    socklen_t size = sizeof(address);
    getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &size);
    port_ = ntohs(address.sin_port);
    listen(listener_, 16);
    acceptor_ = std::thread([this] { Accept(); });
  }
  ~SlowProxy() {
    stopping_.Notify();
    shutdown(listener_, SHUT_RDWR);
    acceptor_.join();
    for (std::thread& thread : connections_) thread.join();
    close(listener_);
  }
  SlowProxy(const SlowProxy&) = delete;
  SlowProxy& operator=(const SlowProxy&) = delete;

  std::string endpoint() const { return absl::StrCat("127.0.0.1:", port_); }

 private:
  static sockaddr_in Address(int port) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    address.sin_port = htons(static_cast<uint16_t>(port));
    return address;
  }

  void Accept() {
    while (!stopping_.HasBeenNotified()) {
      const int client = accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
      if (client < 0) continue;
      connections_.emplace_back([this, client] { Serve(client); });
    }
  }

  void Serve(int client) {
    const int server = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (connect(server, reinterpret_cast<const sockaddr*>(&target_), sizeof(target_)) == 0)
      while (!stopping_.HasBeenNotified() && PassOn(client, server)) {
      }
    close(client);
    close(server);
  }

  bool PassOn(int client, int server) {
    pollfd both[] = {{client, POLLIN, 0}, {server, POLLIN, 0}};
    if (poll(both, 2, 50) <= 0) return true;
    stopping_.WaitForNotificationWithTimeout(delay_);
    for (int from = 0; from < 2; ++from) {
      if (both[from].revents == 0) continue;
      char buffer[65536];
      const ssize_t bytes = recv(both[from].fd, buffer, sizeof(buffer), 0);
      if (bytes <= 0 || send(both[1 - from].fd, buffer, bytes, MSG_NOSIGNAL) != bytes) return false;
    }
    return true;
  }

  const sockaddr_in target_;
  const absl::Duration delay_;
  int listener_ = -1;
  int port_ = 0;
  absl::Notification stopping_;
  std::thread acceptor_;
  std::vector<std::thread> connections_;  // of acceptor_ until it has ended
};

}  // namespace flowawr
