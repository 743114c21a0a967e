#include "learner/ranks/meeting_point.h"

#include <netdb.h>
#include <sys/socket.h>
#include <unistd.h>

#include <chrono>
#include <cstring>
#include <exception>
#include <functional>
#include <utility>
#include <vector>

#include <torch/csrc/distributed/c10d/PrefixStore.hpp>
#include <torch/csrc/distributed/c10d/ProcessGroupGloo.hpp>
#include <torch/csrc/distributed/c10d/TCPStore.hpp>
#include <torch/types.h>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "common/base/clock.h"
#include "common/base/status.h"

namespace flowawr {
namespace {

constexpr int64_t kMostBytes = int64_t{1} << 40;  // of one message: what is longer is no length
constexpr absl::Duration kStoreLimit = absl::Seconds(30);  // rank 0's store answers at once, or is gone
constexpr int kTag = 0;
constexpr char kHellos[] = "hellos";  // how many ranks have said it

std::chrono::milliseconds Milliseconds(absl::Duration duration) { return absl::ToChronoMilliseconds(duration); }

std::vector<uint8_t> Bytes(const std::string& text) { return {text.begin(), text.end()}; }

// Without where in Gloo's source it was thrown and without its advice to its own users.
std::string Plain(std::string words) {
  words = words.substr(0, words.find(". This is typically"));
  const size_t place = words.starts_with('[') ? words.find("] ") : std::string::npos;
  return place == std::string::npos ? words : words.substr(place + 2);
}

// c10d and Gloo tell of everything by exceptions.
absl::Status Guarded(const std::string& what, absl::Duration limit, const std::function<void()>& call) {
  const absl::Time since = MonotonicNow();
  std::string words;
  try {
    call();
    return absl::OkStatus();
  } catch (const c10::Error& error) {
    words = error.what_without_backtrace();
  } catch (const std::exception& error) {
    words = error.what();
  }
  if (MonotonicNow() - since >= limit * 0.95)
    return absl::DeadlineExceededError(absl::StrCat(what, ": nothing for ", absl::FormatDuration(limit)));
  return absl::UnavailableError(absl::StrCat(what, ": ", Plain(words)));
}

// Send and receive are what every backend of c10d has; only where the bytes lie is Gloo's.
class PairLink final : public RankLink {
 public:
  PairLink(c10::intrusive_ptr<c10d::Backend> group, int peer) : group_(std::move(group)), peer_(peer) {}

  absl::Status Send(const RankMessage& message, absl::Duration limit) override {
    at::Tensor head = at::tensor({static_cast<int64_t>(message.word), static_cast<int64_t>(message.bytes.size())});
    FLOWAWR_RETURN_IF_ERROR(Move(head, /*is_send=*/true, limit));
    at::Tensor bytes = View(message.bytes.data(), message.bytes.size());
    return bytes.numel() == 0 ? absl::OkStatus() : Move(bytes, /*is_send=*/true, limit);
  }

  absl::StatusOr<RankMessage> Receive(absl::Duration limit) override {
    at::Tensor head = at::zeros({2}, at::kLong);
    FLOWAWR_RETURN_IF_ERROR(Move(head, /*is_send=*/false, limit));
    const int64_t size = head[1].item<int64_t>();
    if (size < 0 || size > kMostBytes) return absl::InternalError("the other end speaks another language");
    RankMessage message{static_cast<RankWord>(head[0].item<int64_t>()), std::string(static_cast<size_t>(size), '\0')};
    at::Tensor bytes = View(message.bytes.data(), message.bytes.size());
    if (size > 0) FLOWAWR_RETURN_IF_ERROR(Move(bytes, /*is_send=*/false, limit));
    return message;
  }

 private:
  static at::Tensor View(const char* data, size_t size) {
    return at::from_blob(const_cast<char*>(data), {static_cast<int64_t>(size)}, at::TensorOptions(at::kByte));
  }

  absl::Status Move(const at::Tensor& tensor, bool is_send, absl::Duration limit) {
    return Guarded(is_send ? "sending" : "receiving", limit, [&] {
      std::vector<at::Tensor> tensors = {tensor};
      const auto work = is_send ? group_->send(tensors, peer_, kTag) : group_->recv(tensors, peer_, kTag);
      work->wait(Milliseconds(limit));
    });
  }

  const c10::intrusive_ptr<c10d::Backend> group_;
  const int peer_;
};

class StoreMeetingPoint final : public MeetingPoint {
 public:
  StoreMeetingPoint(c10::intrusive_ptr<c10d::TCPStore> store, std::string host)
      : store_(std::move(store)), host_(std::move(host)) {
    store_->setTimeout(Milliseconds(kStoreLimit));
  }

  HostPort address() const override { return {host_, store_->getPort()}; }

  absl::Status SayHello(const std::string& text) override {
    return Store([&] { store_->set(HelloKey(static_cast<uint64_t>(store_->add(kHellos, 1))), Bytes(text)); });
  }

  absl::StatusOr<std::optional<std::string>> NextHello() override {
    // c10d's own waiting writes a warning whenever it ends without a key.
    int64_t said = 0;
    bool is_there = false;
    const std::string key = HelloKey(next_hello_);
    FLOWAWR_RETURN_IF_ERROR(Store([&] {
      said = store_->add(kHellos, 0);
      is_there = store_->check({key});
    }));
    if (!is_there) {
      // A rank that died between its two words leaves a number without a text: it is passed over once another came.
      if (static_cast<uint64_t>(said) > next_hello_) ++next_hello_;
      return std::nullopt;
    }
    ++next_hello_;
    FLOWAWR_ASSIGN_OR_RETURN(std::string text, Take(key));
    return text;
  }

  absl::Status Answer(const std::string& session, const std::string& text) override {
    return Store([&] { store_->set(AnswerKey(session), Bytes(text)); });
  }

  absl::StatusOr<std::string> AwaitAnswer(const std::string& session, absl::Duration limit) override {
    FLOWAWR_RETURN_IF_ERROR(Guarded("waiting for rank 0's answer", limit,
                                    [&] { store_->wait({AnswerKey(session)}, Milliseconds(limit)); }));
    return Take(AnswerKey(session));
  }

  absl::StatusOr<std::unique_ptr<RankLink>> Link(const std::string& session, bool is_rank0, const std::string& host,
                                                 absl::Duration limit) override {
    std::unique_ptr<RankLink> link;
    FLOWAWR_RETURN_IF_ERROR(Guarded("linking ranks", limit, [&] {
      const auto options = c10d::ProcessGroupGloo::Options::create(Milliseconds(limit));
      options->devices = {c10d::ProcessGroupGloo::createDeviceForHostname(host)};
      options->threads = 1;  // of collectives, of which there are none
      const auto store = c10::make_intrusive<c10d::PrefixStore>(absl::StrCat("link/", session), store_);
      link = std::make_unique<PairLink>(
          c10::make_intrusive<c10d::ProcessGroupGloo>(store, is_rank0 ? 0 : 1, 2, options), is_rank0 ? 1 : 0);
    }));
    return link;
  }

 private:
  static std::string HelloKey(uint64_t number) { return absl::StrCat("hello/", number); }
  static std::string AnswerKey(const std::string& session) { return absl::StrCat("answer/", session); }

  static absl::Status Store(const std::function<void()>& call) {
    return Guarded("rank 0's store", absl::InfiniteDuration(), call);
  }

  absl::StatusOr<std::string> Take(const std::string& key) {
    std::string text;
    FLOWAWR_RETURN_IF_ERROR(Store([&] {
      const std::vector<uint8_t> bytes = store_->get(key);
      text.assign(bytes.begin(), bytes.end());
      store_->deleteKey(key);
    }));
    return text;
  }

  const c10::intrusive_ptr<c10d::TCPStore> store_;
  const std::string host_;
  uint64_t next_hello_ = 1;
};

struct Resolved {
  addrinfo* first = nullptr;
  ~Resolved() {
    if (first != nullptr) freeaddrinfo(first);
  }
};

absl::Status Resolve(const HostPort& address, Resolved* resolved) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  const int error = getaddrinfo(address.host.c_str(), absl::StrCat(address.port).c_str(), &hints, &resolved->first);
  if (error == 0) return absl::OkStatus();
  return absl::UnavailableError(absl::StrCat(address.host, ": ", gai_strerror(error)));
}

std::string HostOf(const sockaddr_storage& address, socklen_t length) {
  char host[NI_MAXHOST] = "";
  getnameinfo(reinterpret_cast<const sockaddr*>(&address), length, host, sizeof host, nullptr, 0, NI_NUMERICHOST);
  return host;
}

}  // namespace

absl::StatusOr<std::unique_ptr<MeetingPoint>> MeetingPoint::Serve(const HostPort& listen) {
  // c10d by itself would listen on every address of the machine.
  Resolved resolved;
  FLOWAWR_RETURN_IF_ERROR(Annotate(Resolve(listen, &resolved), "network.ranks_listen"));
  const int socket_fd = socket(resolved.first->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (socket_fd < 0) return absl::ErrnoToStatus(errno, "network.ranks_listen");
  absl::Cleanup closer = [socket_fd] { close(socket_fd); };
  const int yes = 1;
  setsockopt(socket_fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
  if (bind(socket_fd, resolved.first->ai_addr, resolved.first->ai_addrlen) != 0)
    return absl::Status(errno == EADDRINUSE ? absl::StatusCode::kAlreadyExists : absl::StatusCode::kInvalidArgument,
                        absl::StrCat("network.ranks_listen: ", listen.ToString(), ": ", std::strerror(errno)));
  sockaddr_storage bound{};
  socklen_t length = sizeof bound;
  getsockname(socket_fd, reinterpret_cast<sockaddr*>(&bound), &length);
  char port[NI_MAXSERV] = "";
  getnameinfo(reinterpret_cast<const sockaddr*>(&bound), length, nullptr, 0, port, sizeof port, NI_NUMERICSERV);

  c10d::TCPStoreOptions options;
  options.isServer = true;
  options.waitWorkers = false;
  options.port = static_cast<uint16_t>(std::stoi(port));
  options.masterListenFd = socket_fd;
  std::unique_ptr<MeetingPoint> point;
  FLOWAWR_RETURN_IF_ERROR(Guarded("network.ranks_listen", absl::InfiniteDuration(), [&] {
    point = std::make_unique<StoreMeetingPoint>(c10::make_intrusive<c10d::TCPStore>(HostOf(bound, length), options),
                                                listen.host);
  }));
  std::move(closer).Cancel();  // the store's now
  return point;
}

absl::StatusOr<std::unique_ptr<MeetingPoint>> MeetingPoint::Reach(const HostPort& rank0, absl::Duration limit) {
  c10d::TCPStoreOptions options;
  options.port = static_cast<uint16_t>(rank0.port);
  options.waitWorkers = false;
  options.timeout = Milliseconds(limit);
  std::unique_ptr<MeetingPoint> point;
  const absl::Status reached = Guarded("", absl::InfiniteDuration(), [&] {
    point = std::make_unique<StoreMeetingPoint>(c10::make_intrusive<c10d::TCPStore>(rank0.host, options), rank0.host);
  });
  if (reached.ok()) return point;
  return absl::UnavailableError(absl::StrCat("rank 0 does not answer at ", rank0.ToString(), " within ",
                                             absl::FormatDuration(limit), ": is it running, with train.ranks above 1?"));
}

absl::StatusOr<BothHosts> HostsTowards(const HostPort& other) {
  Resolved resolved;
  FLOWAWR_RETURN_IF_ERROR(Resolve(other, &resolved));
  const int socket_fd = socket(resolved.first->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (socket_fd < 0) return absl::ErrnoToStatus(errno, other.ToString());
  const absl::Cleanup closer = [socket_fd] { close(socket_fd); };
  if (connect(socket_fd, resolved.first->ai_addr, resolved.first->ai_addrlen) != 0)
    return absl::UnavailableError(absl::StrCat(other.ToString(), ": ", std::strerror(errno)));
  sockaddr_storage own{}, peer{};
  socklen_t own_length = sizeof own, peer_length = sizeof peer;
  getsockname(socket_fd, reinterpret_cast<sockaddr*>(&own), &own_length);
  getpeername(socket_fd, reinterpret_cast<sockaddr*>(&peer), &peer_length);
  return BothHosts{HostOf(own, own_length), HostOf(peer, peer_length)};
}

}  // namespace flowawr
