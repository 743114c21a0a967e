#include "common/base/connect.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "common/base/await_ready.h"
#include "common/base/clock.h"
#include "common/base/listen.h"

namespace flowawr {
namespace {

using ::testing::HasSubstr;

constexpr absl::Duration kLong = absl::Minutes(1);

// Takes no connection, and refuses none: as many wait for it as may.
class FullListener {
 public:
  FullListener() {
    while (true) {
      const absl::StatusOr<int> fd = Connect(address_, absl::Milliseconds(100));
      if (!fd.ok()) return;
      waiting_.push_back(*fd);
    }
  }
  ~FullListener() {
    for (const int fd : waiting_) close(fd);
    close(listening_fd_);
  }
  const HostPort& address() const { return address_; }

 private:
  const int listening_fd_ = Listen({"127.0.0.1", 0}, /*backlog=*/0).value();
  const HostPort address_ = BoundTo(listening_fd_);
  std::vector<int> waiting_;
};

class Listener {
 public:
  ~Listener() { close(listening_fd_); }
  const HostPort& address() const { return address_; }

 private:
  const int listening_fd_ = Listen({"127.0.0.1", 0}, /*backlog=*/8).value();
  const HostPort address_ = BoundTo(listening_fd_);
};

// The addresses of a name that has all of these.
Addresses NameOf(const std::vector<HostPort>& hosts) {
  Addresses all;
  for (auto host = hosts.rbegin(); host != hosts.rend(); ++host) {
    Addresses first = Resolve(*host).value();
    addrinfo* last = first.get();
    while (last->ai_next != nullptr) last = last->ai_next;
    last->ai_next = all.release();
    all = std::move(first);
  }
  return all;
}

int PortOfPeer(int fd) {
  sockaddr_in peer{};
  socklen_t size = sizeof peer;
  getpeername(fd, reinterpret_cast<sockaddr*>(&peer), &size);
  return ntohs(peer.sin_port);
}

TEST(Connect, FindsWhoListensAtOneOfANamesAddresses) {
  const Listener listener;  // where localhost has ::1 as well, at its other address alone
  const absl::StatusOr<int> fd = Connect({"localhost", listener.address().port}, kLong);
  ASSERT_TRUE(fd.ok()) << fd.status();
  EXPECT_EQ(PortOfPeer(*fd), listener.address().port);
  close(*fd);
}

TEST(Connect, AnAddressThatRefusesOrDoesNotAnswerKeepsNoLaterOneOut) {
  const FullListener silent;
  const Listener listener;
  int unused_port = 0;
  { unused_port = Listener().address().port; }
  const Addresses name = NameOf({{"127.0.0.1", unused_port}, silent.address(), listener.address()});
  const absl::Time since = MonotonicNow();
  const absl::StatusOr<int> fd = Connect(name, absl::Milliseconds(500));
  ASSERT_TRUE(fd.ok()) << fd.status();
  EXPECT_GE(MonotonicNow() - since, absl::Milliseconds(200)) << "half of the time is the silent one's";
  EXPECT_EQ(PortOfPeer(*fd), listener.address().port);
  close(*fd);
}

TEST(Connect, AllAddressesTogetherHaveTheTimeOfOne) {
  const FullListener silent;
  const Addresses name = NameOf(std::vector<HostPort>(200, silent.address()));
  const absl::Time since = MonotonicNow();
  const absl::Status gone = Connect(name, absl::Milliseconds(500)).status();
  EXPECT_TRUE(absl::IsUnavailable(gone)) << gone;
  EXPECT_GE(MonotonicNow() - since, absl::Milliseconds(500));
  EXPECT_LT(MonotonicNow() - since, absl::Seconds(90)) << "each on its own has taken all of it";
}

TEST(Connect, TellsWhomItDidNotReachAndWhy) {
  const int port = Listener().address().port;
  const absl::Status refused = Connect({"127.0.0.1", port}, kLong).status();
  EXPECT_TRUE(absl::IsUnavailable(refused)) << refused;
  EXPECT_THAT(std::string(refused.message()), HasSubstr("127.0.0.1:" + std::to_string(port)));
  EXPECT_THAT(std::string(refused.message()), HasSubstr("Connection refused"));
  const absl::Status unknown = Connect({"no.such.host.invalid", port}, kLong).status();
  EXPECT_TRUE(absl::IsUnavailable(unknown)) << unknown;
}

// Signals that interrupt system calls hit the thread of whoever makes it, until it is gone.
class Interrupter {
 public:
  Interrupter() {
    struct sigaction action{};
    action.sa_handler = [](int) { ++signals_; };  // without SA_RESTART
    sigaction(SIGUSR1, &action, &before_);
    thread_ = std::thread([this, interrupted = pthread_self()] {
      pollfd none{};
      while (!is_over_) {
        pthread_kill(interrupted, SIGUSR1);
        poll(&none, 0, /*timeout=*/10);
      }
    });
  }
  ~Interrupter() {
    is_over_ = true;
    thread_.join();
    sigaction(SIGUSR1, &before_, nullptr);
  }
  static int signals() { return signals_; }

 private:
  static inline std::atomic<int> signals_ = 0;
  struct sigaction before_{};
  std::atomic<bool> is_over_ = false;
  std::thread thread_;
};

TEST(AwaitReady, GoesOnWithWhatIsLeftOfTheTimeAfterASignal) {
  int ends[2];
  ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
  {
    const Interrupter interrupter;
    while (Interrupter::signals() < 2) poll(nullptr, 0, /*timeout=*/1);
    const absl::Time deadline = MonotonicNow() + absl::Milliseconds(300);
    const absl::Status late = AwaitReady(ends[0], POLLIN, deadline);
    EXPECT_TRUE(absl::IsDeadlineExceeded(late)) << late;
    EXPECT_GE(MonotonicNow(), deadline);
    ASSERT_EQ(send(ends[1], "x", 1, 0), 1);
    EXPECT_EQ(AwaitReady(ends[0], POLLIN, deadline), absl::OkStatus()) << "what is ready is, however late it is";
  }
  close(ends[1]);
  close(ends[0]);
}

TEST(Connect, GoesOnAfterASignal) {
  const FullListener silent;
  const Interrupter interrupter;
  const absl::Time since = MonotonicNow();
  EXPECT_FALSE(Connect(silent.address(), absl::Milliseconds(300)).ok());
  EXPECT_GE(MonotonicNow() - since, absl::Milliseconds(300)) << "it was taken for a failure";
}

}  // namespace
}  // namespace flowawr
