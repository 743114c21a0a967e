#include "common/telemetry/http_server.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <deque>
#include <exception>
#include <map>
#include <thread>

#include "absl/base/thread_annotations.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "common/base/clock.h"
#include "common/base/host_port.h"
#include "common/base/listen.h"
#include "common/base/status.h"
#include "common/telemetry/http_request.h"
#include "common/telemetry/http_tls.h"

namespace flowawr {
namespace {

constexpr size_t kMaxHeadBytes = 8 << 10;
constexpr size_t kMaxConnections = 64;
constexpr int kHandlerThreads = 2;
constexpr int kBacklog = 64;
constexpr absl::Duration kRequestTime = absl::Seconds(5);   // from connecting, TLS included, to the end of the request
constexpr absl::Duration kAnswerTime = absl::Seconds(10);   // for the client to read the answer
constexpr absl::Duration kGoodbyeTime = absl::Seconds(1);   // for the client to hang up

class Fd {
 public:
  explicit Fd(int fd) : fd_(fd) {}
  ~Fd() {
    if (fd_ >= 0) close(fd_);
  }
  Fd(const Fd&) = delete;
  Fd& operator=(const Fd&) = delete;
  int get() const { return fd_; }

 private:
  const int fd_;
};

std::string ReachableHost(const std::string& host) {
  if (host == "0.0.0.0" || host == "localhost") return "127.0.0.1";
  return host == "::" ? "::1" : host;
}

// A client from its connecting to its end.
struct Connection {
  Connection(int socket, SSL_CTX* context) : fd(socket) {
    if (context != nullptr) tls.emplace(context);
  }

  enum class Stage { kRequest, kHandler, kAnswer, kGoodbye };

  Fd fd;
  std::optional<HttpTlsSession> tls;
  Stage stage = Stage::kRequest;
  absl::Time deadline = MonotonicNow() + kRequestTime;
  std::string request;  // in clear
  std::string wire;     // to be sent
  size_t sent = 0;      // of it
  // The client went while its handler works: kept until the answer comes, so that it counts among the connections.
  bool is_gone = false;
};

}  // namespace

// One thread moves all bytes, others call handlers. The maps of connections are the first thread's own.
class HttpServer::Loop {
 public:
  Loop(HttpOptions options, const HostPort& address, std::unique_ptr<Fd> listener)
      : options_(std::move(options)),
        is_loopback_(address.is_loopback()),
        listener_(std::move(listener)),
        port_(BoundTo(listener_->get()).port),
        endpoint_(HostPort{ReachableHost(address.host), port_}.ToString()),
        wake_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {}

  // The certificate as it is now; a new one that cannot be used changes nothing.
  absl::Status RefreshTls() {
    if (options_.identity == nullptr) return absl::OkStatus();
    HttpIdentity identity = options_.identity();
    if (tls_ != nullptr && identity.key == identity_.key && identity.cert == identity_.cert) return absl::OkStatus();
    FLOWAWR_ASSIGN_OR_RETURN(tls_, MakeHttpTls(identity));
    identity_ = std::move(identity);
    return absl::OkStatus();
  }

  void Start() {
    mover_ = std::thread([this] { Move(); });
    for (std::thread& handler : handlers_threads_) handler = std::thread([this] { CallHandlers(); });
  }

  ~Loop() {
    {
      absl::MutexLock lock(&mutex_);
      is_closing_ = true;
    }
    Wake();
    if (mover_.joinable()) mover_.join();
    for (std::thread& handler : handlers_threads_)
      if (handler.joinable()) handler.join();
  }

  void Handle(const std::string& path, HttpHandler handler) {
    absl::MutexLock lock(&mutex_);
    std::shared_ptr<HttpHandler>& entry = handlers_[path];
    const std::weak_ptr<HttpHandler> old = entry;
    entry = handler == nullptr ? nullptr : std::make_shared<HttpHandler>(std::move(handler));
    const auto is_gone = [&old] { return old.expired(); };
    mutex_.Await(absl::Condition(&is_gone));
  }

  int port() const { return port_; }
  const std::string& endpoint() const { return endpoint_; }
  bool has_tls() const { return options_.identity != nullptr; }

 private:
  struct Job {
    uint64_t connection;
    ParsedHttpRequest request;
  };
  struct Answer {
    uint64_t connection;
    std::string text;
  };

  void Wake() const {
    const uint64_t one = 1;
    (void)!write(wake_.get(), &one, sizeof(one));
  }

  void Move();
  void Accept();
  // Each false: the connection is over.
  bool Receive(uint64_t id, Connection& connection);
  bool Send(Connection& connection);
  bool TakeRequest(uint64_t id, Connection& connection);
  void Finish(Connection& connection, absl::string_view text);

  void CallHandlers();
  HttpResponse Respond(const ParsedHttpRequest& request);
  std::shared_ptr<HttpHandler> HandlerOf(const std::string& path) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const HttpOptions options_;
  const bool is_loopback_;
  const std::unique_ptr<Fd> listener_;
  const int port_;
  const std::string endpoint_;
  const Fd wake_;

  // Of the moving thread, and of Start() before it.
  HttpIdentity identity_;
  std::shared_ptr<SSL_CTX> tls_;
  std::map<uint64_t, Connection> connections_;
  uint64_t last_id_ = 0;

  mutable absl::Mutex mutex_;
  bool is_closing_ ABSL_GUARDED_BY(mutex_) = false;
  std::deque<Job> jobs_ ABSL_GUARDED_BY(mutex_);       // no more than there are connections
  std::vector<Answer> answers_ ABSL_GUARDED_BY(mutex_);
  std::map<std::string, std::shared_ptr<HttpHandler>> handlers_ ABSL_GUARDED_BY(mutex_);

  std::thread mover_;
  std::array<std::thread, kHandlerThreads> handlers_threads_;
};

void HttpServer::Loop::Move() {
  while (true) {
    std::vector<Answer> answers;
    {
      absl::MutexLock lock(&mutex_);
      if (is_closing_) return;
      answers.swap(answers_);
    }
    for (const Answer& answer : answers) {
      const auto found = connections_.find(answer.connection);
      if (found->second.is_gone)
        connections_.erase(found);
      else
        Finish(found->second, answer.text);
    }

    const absl::Time now = MonotonicNow();
    absl::Time next = absl::InfiniteFuture();
    std::vector<pollfd> waits = {{wake_.get(), POLLIN, 0},
                                 {connections_.size() < kMaxConnections ? listener_->get() : -1, POLLIN, 0}};
    std::vector<uint64_t> ids;
    for (auto it = connections_.begin(); it != connections_.end();) {
      Connection& connection = it->second;
      if (connection.deadline <= now) {
        it = connections_.erase(it);
        continue;
      }
      next = std::min(next, connection.deadline);
      short events = connection.sent < connection.wire.size() ? POLLOUT : 0;
      if (connection.stage == Connection::Stage::kRequest || connection.stage == Connection::Stage::kGoodbye)
        events |= POLLIN;
      waits.push_back({connection.is_gone ? -1 : connection.fd.get(), events, 0});
      ids.push_back(it->first);
      ++it;
    }
    // A connection that was ended above makes room for one that waits.
    if (connections_.size() < kMaxConnections) waits[1].fd = listener_->get();
    const absl::Duration pause = std::min(next - now, absl::Minutes(1)) + absl::Milliseconds(1);
    if (poll(waits.data(), waits.size(), static_cast<int>(absl::ToInt64Milliseconds(pause))) <= 0) continue;
    if (waits[0].revents != 0) {
      uint64_t ignored = 0;
      (void)!read(wake_.get(), &ignored, sizeof(ignored));
    }
    for (size_t i = 0; i < ids.size(); ++i) {
      const auto found = connections_.find(ids[i]);
      const short events = waits[i + 2].revents;
      bool is_alive = true;
      if ((events & (POLLIN | POLLHUP | POLLERR)) != 0 && found->second.stage != Connection::Stage::kHandler)
        is_alive = Receive(found->first, found->second);
      else if ((events & (POLLHUP | POLLERR)) != 0)
        found->second.is_gone = true;
      if (found->second.is_gone) continue;
      if (is_alive && found->second.sent < found->second.wire.size()) is_alive = Send(found->second);
      if (is_alive) continue;
      if (found->second.stage == Connection::Stage::kHandler)
        found->second.is_gone = true;
      else
        connections_.erase(found);
    }
    if (waits[1].revents != 0) Accept();
  }
}

void HttpServer::Loop::Accept() {
  const int fd = accept4(listener_->get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK);
  if (fd < 0) {
    // Out of files: looking away for a moment is better than asking again at once.
    if (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS) poll(nullptr, 0, 50);
    return;
  }
  (void)RefreshTls();
  connections_.try_emplace(++last_id_, fd, tls_.get());
}

bool HttpServer::Loop::Receive(uint64_t id, Connection& connection) {
  char buffer[4096];
  const ssize_t bytes = recv(connection.fd.get(), buffer, sizeof(buffer), 0);
  if (bytes < 0 && (errno == EAGAIN || errno == EINTR)) return true;
  if (bytes <= 0) return false;
  if (connection.stage != Connection::Stage::kRequest) return true;  // more than a request: not looked at
  if (!connection.tls) {
    connection.request.append(buffer, bytes);
    return TakeRequest(id, connection);
  }
  const bool is_good = connection.tls->Receive({buffer, static_cast<size_t>(bytes)}, &connection.request);
  connection.tls->TakeOutput(&connection.wire);  // an alert, too
  if (is_good) return TakeRequest(id, connection);
  (void)Send(connection);
  return false;
}

bool HttpServer::Loop::TakeRequest(uint64_t id, Connection& connection) {
  const size_t end = connection.request.find("\r\n\r\n");
  if (end == std::string::npos && connection.request.size() <= kMaxHeadBytes) return true;
  ParsedHttpRequest parsed;
  if (end == std::string::npos || end > kMaxHeadBytes) {
    parsed.refusal = {.code = 431, .body = absl::StrCat("a request has at most ", kMaxHeadBytes, " bytes here\n")};
  } else {
    parsed = ParseHttpRequest(connection.request.substr(0, end + 4));
  }
  if (!parsed.refusal && is_loopback_ && !IsNoOtherName(parsed.host))
    parsed.refusal = {.code = 421,
                      .body = "this page is for this machine alone: open it by its address or as localhost\n"};
  if (!parsed.refusal && options_.admits != nullptr && !options_.admits(parsed.token)) {
    parsed.refusal = {.code = 401, .body = "a token is wanted that may look here (network.read_only_token_file)\n"};
    parsed.refusal->headers.emplace_back("WWW-Authenticate", "Basic realm=\"flowawr: the token is the password\"");
  }
  connection.request = std::string();
  if (parsed.refusal) {
    Finish(connection, FormatHttpResponse(*parsed.refusal, parsed));
    return true;
  }
  connection.stage = Connection::Stage::kHandler;
  connection.deadline = absl::InfiniteFuture();
  absl::MutexLock lock(&mutex_);
  jobs_.push_back({id, std::move(parsed)});
  return true;
}

void HttpServer::Loop::Finish(Connection& connection, absl::string_view text) {
  connection.stage = Connection::Stage::kAnswer;
  connection.deadline = MonotonicNow() + kAnswerTime;
  if (!connection.tls) {
    connection.wire.append(text.data(), text.size());
  } else if (connection.tls->Finish(text)) {
    connection.tls->TakeOutput(&connection.wire);
  }
}

bool HttpServer::Loop::Send(Connection& connection) {
  const ssize_t bytes = send(connection.fd.get(), connection.wire.data() + connection.sent,
                             connection.wire.size() - connection.sent, MSG_NOSIGNAL);
  if (bytes < 0) return errno == EAGAIN || errno == EINTR;
  connection.sent += bytes;
  if (connection.sent < connection.wire.size()) return true;
  connection.wire.clear();
  connection.sent = 0;
  if (connection.stage != Connection::Stage::kAnswer) return true;
  // Closing at once would throw away what the client has not read yet, if it sent more than a request.
  shutdown(connection.fd.get(), SHUT_WR);
  connection.stage = Connection::Stage::kGoodbye;
  connection.deadline = MonotonicNow() + kGoodbyeTime;
  return true;
}

void HttpServer::Loop::CallHandlers() {
  while (true) {
    Job job;
    {
      absl::MutexLock lock(&mutex_);
      const auto has_work = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return is_closing_ || !jobs_.empty(); };
      mutex_.Await(absl::Condition(&has_work));
      if (is_closing_) return;
      job = std::move(jobs_.front());
      jobs_.pop_front();
    }
    std::string text = FormatHttpResponse(Respond(job.request), job.request);
    {
      absl::MutexLock lock(&mutex_);
      answers_.push_back({job.connection, std::move(text)});
    }
    Wake();
  }
}

std::shared_ptr<HttpHandler> HttpServer::Loop::HandlerOf(const std::string& path) const {
  if (const auto found = handlers_.find(path); found != handlers_.end()) return found->second;
  std::shared_ptr<HttpHandler> nearest;  // the longest that the path begins with
  size_t length = 0;
  for (const auto& [prefix, handler] : handlers_)
    if (absl::EndsWith(prefix, "/") && absl::StartsWith(path, prefix) && prefix.size() > length) {
      nearest = handler;
      length = prefix.size();
    }
  return nearest;
}

HttpResponse HttpServer::Loop::Respond(const ParsedHttpRequest& request) {
  std::shared_ptr<HttpHandler> handler;
  std::string paths;
  {
    absl::MutexLock lock(&mutex_);
    handler = HandlerOf(request.request.path);
    for (const auto& [path, each] : handlers_)
      if (each != nullptr) absl::StrAppend(&paths, path, "\n");
  }
  HttpResponse response;
  if (handler == nullptr) {
    response = {.code = 404, .body = absl::StrCat("there is no such page; there are:\n", paths)};
  } else {
    try {
      response = (*handler)(request.request);
    } catch (const std::exception& error) {
      response = {.code = 500, .body = absl::StrCat("internal error: ", error.what(), "\n")};
    }
  }
  absl::MutexLock lock(&mutex_);  // whoever waits for this handler's end looks again
  handler.reset();
  return response;
}

absl::StatusOr<std::unique_ptr<HttpServer>> HttpServer::Start(HttpOptions options) {
  FLOWAWR_ASSIGN_OR_RETURN(const HostPort address, ParseHostPort(options.listen));
  const std::string& listen = options.listen;
  if (!address.is_loopback() && options.identity == nullptr && !options.insecure)
    return absl::PermissionDeniedError(absl::StrCat(
        "/metrics on ", listen, " would be readable from outside, unencrypted; set network.metrics_tls, listen on ",
        "127.0.0.1, or set network.insecure: true on a network that you trust"));
  const absl::StatusOr<int> fd = Listen(address, kBacklog);
  if (!fd.ok()) return Annotate(fd.status(), absl::StrCat("/metrics cannot listen on ", listen));
  auto listener = std::make_unique<Fd>(*fd);
  fcntl(listener->get(), F_SETFL, O_NONBLOCK);
  auto loop = std::make_unique<Loop>(std::move(options), address, std::move(listener));
  FLOWAWR_RETURN_IF_ERROR(loop->RefreshTls());
  loop->Start();
  return std::unique_ptr<HttpServer>(new HttpServer(std::move(loop)));
}

HttpServer::HttpServer(std::unique_ptr<Loop> loop) : loop_(std::move(loop)) {}
HttpServer::~HttpServer() = default;

void HttpServer::Handle(const std::string& path, HttpHandler handler) { loop_->Handle(path, std::move(handler)); }
int HttpServer::port() const { return loop_->port(); }
const std::string& HttpServer::endpoint() const { return loop_->endpoint(); }
bool HttpServer::has_tls() const { return loop_->has_tls(); }

}  // namespace flowawr
