#include "common/rpc/channel_poller.h"

#include <pthread.h>

#include <cstdint>
#include <map>
#include <thread>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "grpcpp/completion_queue.h"

namespace flowawr {
namespace {

// One for the process and never destroyed: its thread waits for events until the process ends.
class Poller {
 public:
  static Poller& Instance() {
    static Poller* const poller = new Poller;
    return *poller;
  }

  uint64_t Add(std::shared_ptr<grpc::Channel> channel) {
    absl::MutexLock lock(&mutex_);
    const uint64_t id = next_id_++;
    Watch(id, *channel);
    channels_.emplace(id, std::move(channel));
    return id;
  }

  // The watch under way ends with the channel.
  void Remove(uint64_t id) {
    std::shared_ptr<grpc::Channel> removed;  // destroyed without the lock
    absl::MutexLock lock(&mutex_);
    const auto found = channels_.find(id);
    removed = std::move(found->second);
    channels_.erase(found);
  }

 private:
  Poller() { std::thread([this] { Run(); }).detach(); }

  void Watch(uint64_t id, grpc::Channel& channel) {
    channel.NotifyOnStateChange(channel.GetState(false), std::chrono::system_clock::time_point::max(), &queue_,
                                reinterpret_cast<void*>(id));
  }

  void Run() {
    pthread_setname_np(pthread_self(), "channels");
    void* tag = nullptr;
    bool is_ok = false;
    while (queue_.Next(&tag, &is_ok)) {
      const auto id = reinterpret_cast<uint64_t>(tag);
      absl::MutexLock lock(&mutex_);
      if (const auto found = channels_.find(id); found != channels_.end()) Watch(id, *found->second);
    }
  }

  grpc::CompletionQueue queue_;
  absl::Mutex mutex_;
  std::map<uint64_t, std::shared_ptr<grpc::Channel>> channels_ ABSL_GUARDED_BY(mutex_);
  uint64_t next_id_ ABSL_GUARDED_BY(mutex_) = 1;
};

// What the callers share: the last of them ends the watch.
struct Watched {
  explicit Watched(std::shared_ptr<grpc::Channel> watched)
      : channel(watched.get()), id(Poller::Instance().Add(std::move(watched))) {}
  ~Watched() { Poller::Instance().Remove(id); }
  Watched(const Watched&) = delete;
  Watched& operator=(const Watched&) = delete;

  grpc::Channel* const channel;
  const uint64_t id;
};

}  // namespace

std::shared_ptr<grpc::Channel> KeepPolled(std::shared_ptr<grpc::Channel> channel) {
  auto watched = std::make_shared<Watched>(std::move(channel));
  grpc::Channel* const raw = watched->channel;
  return {std::move(watched), raw};
}

}  // namespace flowawr
