#include "cli/learner_watch.h"

#include "absl/time/time.h"
#include "common/base/clock.h"
#include "common/base/status.h"
#include "common/rpc/channel.h"
#include "common/rpc/peer.h"

namespace flowawr {
namespace {

constexpr double kStatusesPerSecond = 4;
constexpr absl::Duration kStreamDeadline = absl::Hours(24);  // a stream that reaches it is opened again
constexpr absl::Duration kShutdownDeadline = absl::Minutes(15);
constexpr absl::Duration kPause = absl::Milliseconds(300);  // between two attempts

}  // namespace

absl::StatusOr<std::unique_ptr<LearnerWatch>> LearnerWatch::Start(const Endpoint& endpoint,
                                                                  const v1::NetworkConfig& network) {
  FLOWAWR_ASSIGN_OR_RETURN(auto channel, MakeChannel(endpoint.address, network));
  std::unique_ptr<LearnerWatch> watch(new LearnerWatch(v1::Control::NewStub(channel), network, endpoint.identity));
  watch->reader_ = std::thread(&LearnerWatch::Read, watch.get());
  return watch;
}

LearnerWatch::LearnerWatch(std::unique_ptr<v1::Control::Stub> stub, const v1::NetworkConfig& network,
                           std::string identity)
    : stub_(std::move(stub)), network_(network), identity_(std::move(identity)) {}

std::unique_ptr<grpc::ClientContext> LearnerWatch::Context(absl::Duration deadline) const {
  std::unique_ptr<grpc::ClientContext> context = MakeContext(deadline, network_);
  MeantFor(identity_, context.get());
  return context;
}

LearnerWatch::~LearnerWatch() {
  {
    absl::MutexLock lock(&mutex_);
    is_closed_ = true;
    closing_.SignalAll();
    if (stream_ != nullptr) stream_->TryCancel();
    if (shutdown_ != nullptr) shutdown_->TryCancel();
  }
  reader_.join();
  if (stopper_.joinable()) stopper_.join();
}

std::optional<v1::Status> LearnerWatch::Take() {
  absl::MutexLock lock(&mutex_);
  if (!is_new_) return std::nullopt;
  is_new_ = false;
  return latest_;
}

v1::Status LearnerWatch::Latest() const {
  absl::MutexLock lock(&mutex_);
  return latest_;
}

void LearnerWatch::RequestShutdown() {
  if (!stopper_.joinable()) stopper_ = std::thread(&LearnerWatch::AskForShutdown, this);
}

bool LearnerWatch::ShutdownFailed() const {
  absl::MutexLock lock(&mutex_);
  return shutdown_failed_;
}

void LearnerWatch::Read() {
  while (true) {
    const std::unique_ptr<grpc::ClientContext> context = Context(kStreamDeadline);
    {
      absl::MutexLock lock(&mutex_);
      if (is_closed_) return;
      stream_ = context.get();
    }
    v1::WatchStatusRequest request;
    request.set_max_hz(kStatusesPerSecond);
    const auto stream = stub_->WatchStatus(context.get(), request);
    v1::Status status;
    while (stream->Read(&status)) {
      absl::MutexLock lock(&mutex_);
      latest_ = status;
      is_new_ = true;
    }
    stream->Finish();  // a learner that ended or is not there yet; the supervisor judges that
    absl::MutexLock lock(&mutex_);
    stream_ = nullptr;
    const absl::Time until = MonotonicNow() + kPause;
    while (!is_closed_ && MonotonicNow() < until) closing_.WaitWithTimeout(&mutex_, until - MonotonicNow());
  }
}

void LearnerWatch::AskForShutdown() {
  const std::unique_ptr<grpc::ClientContext> context = Context(kShutdownDeadline);
  {
    absl::MutexLock lock(&mutex_);
    if (is_closed_) return;
    shutdown_ = context.get();
  }
  v1::ShutdownResponse response;
  const grpc::Status status = stub_->Shutdown(context.get(), {}, &response);
  absl::MutexLock lock(&mutex_);
  shutdown_ = nullptr;
  shutdown_failed_ = !status.ok();
}

}  // namespace flowawr
