#include "reward_server/scorers/scorer_stream.h"

#include <c10/core/StreamGuard.h>
#include <c10/core/impl/VirtualGuardImpl.h>

#include <algorithm>
#include <exception>
#include <iterator>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"

namespace flowawr {
namespace {

// What scorers that are gone have left. Never destroyed: scorers may outlive main().
struct LeftStreams {
  absl::Mutex mutex;
  std::vector<c10::Stream> streams ABSL_GUARDED_BY(mutex);
};

LeftStreams& Left() {
  static auto* const left = new LeftStreams;
  return *left;
}

c10::Stream TakeStream(at::Device device) {
  LeftStreams& left = Left();
  absl::MutexLock lock(&left.mutex);
  const auto latest = std::find_if(left.streams.rbegin(), left.streams.rend(),
                                   [device](const c10::Stream& stream) { return stream.device() == device; });
  if (latest == left.streams.rend())
    return c10::impl::VirtualGuardImpl(device.type()).getStreamFromGlobalPool(device);
  const c10::Stream stream = *latest;
  left.streams.erase(std::prev(latest.base()));
  return stream;
}

}  // namespace

ScorerStream::ScorerStream(at::Device device) {
  if (!device.is_cpu()) stream_ = TakeStream(device);
}

ScorerStream::~ScorerStream() {
  if (!stream_) return;
  LeftStreams& left = Left();
  absl::MutexLock lock(&left.mutex);
  left.streams.push_back(*stream_);
}

void ScorerStream::Run(absl::FunctionRef<void()> work) const {
  if (!stream_) return work();
  const c10::StreamGuard guard(*stream_);
  try {
    work();
  } catch (...) {
    try {
      stream_->synchronize();
    } catch (const std::exception&) {  // the first error is the one to tell
    }
    throw;
  }
  stream_->synchronize();
}

}  // namespace flowawr
