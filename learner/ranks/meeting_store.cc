#include "learner/ranks/meeting_store.h"

#include <spdlog/spdlog.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <exception>
#include <system_error>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/base/clock.h"
#include "common/base/connect.h"
#include "common/base/resolved.h"
#include "common/base/status.h"
#include "common/base/utf8.h"

namespace flowawr {
namespace {

constexpr char kOfStore[] = "the store";  // what both prove the token for, where a rank says its hello
constexpr absl::Duration kAnswerLimit = absl::Seconds(30);  // of one request: rank 0 answers at once, or is gone
constexpr absl::Duration kWaitSlice = absl::Milliseconds(500);  // of a wait, so that the server can end in between
constexpr absl::Duration kSayAgainEvery = absl::Seconds(10), kPauseWithoutSockets = absl::Milliseconds(100);
constexpr MessageBound kWide = {.text_bytes = int64_t{4} << 20};  // of whoever has proved the token

enum Request : char { kSet = 's', kGet = 'g', kCheck = 'c', kWait = 'w', kDelete = 'd', kPush = 'p' };

std::vector<uint8_t> Bytes(absl::string_view text) { return {text.begin(), text.end()}; }

// A store's connection, which its clones share: one request at a time, as answers come in the order of requests.
struct RequestLine {
  explicit RequestLine(int socket_fd) : link(socket_fd) {}

  absl::Mutex mutex;
  TextLink link;
};

class RemoteStore final : public c10d::Store {
 public:
  explicit RemoteStore(std::shared_ptr<RequestLine> line) : line_(std::move(line)) {}

  c10::intrusive_ptr<c10d::Store> clone() override {
    auto other = c10::make_intrusive<RemoteStore>(line_);
    other->setTimeout(timeout_);
    return other;
  }

  void set(const std::string& key, const std::vector<uint8_t>& value) override { Ask(kSet, key, value); }
  std::vector<uint8_t> get(const std::string& key) override {
    wait({key}, timeout_);
    return Bytes(Ask(kGet, key));
  }
  bool check(const std::vector<std::string>& keys) override {
    return std::all_of(keys.begin(), keys.end(), [this](const std::string& key) { return !Ask(kCheck, key).empty(); });
  }
  bool deleteKey(const std::string& key) override { return !Ask(kDelete, key).empty(); }
  void queuePush(const std::string& key, const std::vector<uint8_t>& value) override { Ask(kPush, key, value); }
  void wait(const std::vector<std::string>& keys) override { wait(keys, timeout_); }
  void wait(const std::vector<std::string>& keys, const std::chrono::milliseconds& timeout) override {
    const absl::Time limit = MonotonicNow() + absl::FromChrono(timeout);
    for (const std::string& key : keys)
      while (Ask(kWait, key).empty())
        if (MonotonicNow() >= limit) C10_THROW_ERROR(DistStoreError, absl::StrCat("nobody has set ", key));
  }
  int64_t add(const std::string&, int64_t) override { C10_THROW_ERROR(NotImplementedError, "no rank adds"); }
  int64_t getNumKeys() override { C10_THROW_ERROR(NotImplementedError, "no rank counts keys"); }

 private:
  std::string Ask(Request request, const std::string& key, const std::vector<uint8_t>& value = {}) {
    const absl::MutexLock lock(&line_->mutex);
    const std::string text = absl::StrCat(std::string(1, request), key, std::string(1, '\0'),
                                          absl::string_view(reinterpret_cast<const char*>(value.data()), value.size()));
    absl::Status status = line_->link.Send({.word = RankWord::kStore, .text = text}, kAnswerLimit);
    if (status.ok()) {
      absl::StatusOr<RankMessage> answer = line_->link.Receive(kAnswerLimit, kWide);
      if (answer.ok() && answer->word == RankWord::kRefused) C10_THROW_ERROR(DistStoreError, SanitizeUtf8(answer->text));
      if (answer.ok()) return std::move(answer->text);
      status = answer.status();
    }
    line_->link.Break();  // a late answer would be taken for the next request's
    C10_THROW_ERROR(DistNetworkError, std::string(status.message()));
  }

  const std::shared_ptr<RequestLine> line_;
};

}  // namespace

StoreServer::StoreServer(int listening_fd, RankTokens tokens, StoreBound bound)
    : listening_fd_(listening_fd),
      tokens_(std::move(tokens)),
      store_(c10::make_intrusive<BoundedStore>(bound)),
      accepting_([this] { Accept(); }) {}

StoreServer::~StoreServer() {
  {
    const absl::MutexLock lock(&mutex_);
    is_closing_ = true;
    for (Connection& connection : connections_) connection.link.Break();
  }
  shutdown(listening_fd_, SHUT_RDWR);  // ends the accept
  accepting_.join();
  std::list<Connection> connections;
  {
    const absl::MutexLock lock(&mutex_);
    connections.swap(connections_);
  }
  for (Connection& connection : connections) connection.thread.join();
  close(listening_fd_);
}

void StoreServer::Accept() {
  while (true) {
    sockaddr_storage address{};
    socklen_t length = sizeof address;
    const int socket_fd =
        accept4(listening_fd_, reinterpret_cast<sockaddr*>(&address), &length, SOCK_CLOEXEC | SOCK_NONBLOCK);
    const absl::MutexLock lock(&mutex_);
    if (is_closing_) {
      if (socket_fd >= 0) close(socket_fd);
      return;
    }
    if (socket_fd >= 0) {
      Add(socket_fd, HostOf(address, length));
    } else {
      mutex_.AwaitWithTimeout(absl::Condition(&is_closing_), kPauseWithoutSockets);
    }
  }
}

void StoreServer::Add(int socket_fd, std::string host) {
  int strangers = 0;
  for (auto each = connections_.begin(); each != connections_.end();) {
    if (each->has_ended) {
      each->thread.join();
      each = connections_.erase(each);
      continue;
    }
    strangers += !each->has_proved;
    ++each;
  }
  if (strangers >= kMostStrangers || connections_.size() >= kMostConnections) {
    close(socket_fd);
    return;
  }
  const int on = 1;
  setsockopt(socket_fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);  // finds ends whose machine is gone
  Connection& connection = connections_.emplace_back(socket_fd, std::move(host));
  try {
    connection.thread = std::thread([this, &connection] { Serve(connection); });
  } catch (const std::system_error&) {  // there are as many threads as there may be: whoever is no stranger tries again
    connections_.pop_back();
  }
}

void StoreServer::Serve(Connection& connection) {
  const absl::Status proved = AdmitRank(connection.link, tokens_, kOfStore, kProofLimit);
  if (proved.ok()) {
    {
      const absl::MutexLock lock(&mutex_);
      connection.has_proved = true;
    }
    ServeProved(connection);
  } else {
    LogRefusal(connection.host, proved);
  }
  connection.link.Break();
  const absl::MutexLock lock(&mutex_);
  connection.has_ended = true;
}

void StoreServer::LogRefusal(const std::string& host, const absl::Status& why) {
  if (absl::IsUnavailable(why) || absl::IsCancelled(why)) return;  // it has left
  const absl::MutexLock lock(&mutex_);
  if (MonotonicNow() - refused_at_ < kSayAgainEvery) return;
  refused_at_ = MonotonicNow();
  spdlog::warn("{} is refused at the ranks' meeting point: {}", host, std::string(why.message()));
}

void StoreServer::ServeProved(Connection& connection) {
  while (true) {
    const absl::StatusOr<RankMessage> request = connection.link.Receive(absl::InfiniteDuration(), kWide);
    if (!request.ok() || request->word != RankWord::kStore || request->text.empty()) return;
    RankMessage answer{.word = RankWord::kStore};
    if (absl::StatusOr<std::string> text = Answer(request->text); text.ok()) {
      answer.text = *std::move(text);
    } else {
      LogRefusal(connection.host, text.status());
      answer = {.word = RankWord::kRefused, .text = std::string(text.status().message())};
    }
    if (!connection.link.Send(answer, kAnswerLimit).ok()) return;
  }
}

// Of what is no more than yes or no, nothing is no.
absl::StatusOr<std::string> StoreServer::Answer(const std::string& request) {
  constexpr char kYes[] = "yes";
  const size_t end = std::min(request.find('\0', 1), request.size());
  const std::string key = request.substr(1, end - 1);
  const absl::string_view value = absl::string_view(request).substr(std::min(end + 1, request.size()));
  try {
    switch (request.front()) {
      case kSet:
        store_->set(key, Bytes(value));
        return kYes;
      case kGet: {
        const std::vector<uint8_t> found = store_->check({key}) ? store_->get(key) : std::vector<uint8_t>();
        return std::string(found.begin(), found.end());
      }
      case kCheck:
        return store_->check({key}) ? kYes : "";
      case kWait:
        return IsSetSoon(key) ? kYes : "";
      case kDelete:
        return store_->deleteKey(key) ? kYes : "";
      case kPush:
        store_->queuePush(key, Bytes(value));
        return kYes;
      default:
        return absl::InvalidArgumentError("the other end asks for what this version does not know");
    }
  } catch (const c10::Error& error) {
    return absl::ResourceExhaustedError(error.what_without_backtrace());
  } catch (const std::exception& error) {
    return absl::InternalError(error.what());
  }
}

bool StoreServer::IsSetSoon(const std::string& key) {
  try {
    store_->wait({key}, absl::ToChronoMilliseconds(kWaitSlice));
    return true;
  } catch (const std::exception&) {
    return false;
  }
}

absl::StatusOr<c10::intrusive_ptr<c10d::Store>> ReachStore(const HostPort& rank0, const RankTokens& tokens,
                                                           absl::Duration limit) {
  const absl::Time deadline = MonotonicNow() + limit;
  FLOWAWR_ASSIGN_OR_RETURN(const int socket_fd, Connect(rank0, limit));
  auto line = std::make_shared<RequestLine>(socket_fd);
  FLOWAWR_RETURN_IF_ERROR(ProveToRank0(line->link, tokens, kOfStore, deadline - MonotonicNow()));
  return c10::make_intrusive<RemoteStore>(std::move(line));
}

}  // namespace flowawr
