#include "tests/testing/fake_device/fake_graph.h"

#include <c10/util/Exception.h>

#include <algorithm>
#include <atomic>
#include <map>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "tests/testing/fake_device/fake_memory.h"

#if __has_include(<ATen/core/GraphImplInterface.h>)  // LibTorch 2.13
#include <ATen/core/GraphImplInterface.h>
#define FLOWAWR_LIBTORCH_HAS_GRAPHS 1
#endif

namespace flowawr::fake_device {
#ifdef FLOWAWR_LIBTORCH_HAS_GRAPHS
namespace {

constexpr char kNaN = '\xff';  // four of them are one in f32, two in bfloat16

// What is being recorded.
struct Recording {
  explicit Recording(c10::Stream on) : stream(on) {}

  void Remember(const at::Tensor& tensor, bool is_new) {
    const c10::Storage& storage = tensor.storage();
    const std::span<char> bytes = BytesOf(storage.data_ptr());
    const auto [saved, is_first] = before.try_emplace(storage.unsafeGetStorageImpl(), storage, std::vector<char>());
    if (!is_first) return;
    saved->second.second.assign(bytes.begin(), bytes.end());
    if (is_new) std::ranges::fill(saved->second.second, kNaN);
  }

  void Restore() {
    for (auto& [impl, saved] : before) std::ranges::copy(saved.second, BytesOf(saved.first.data_ptr()).begin());
  }

  const c10::Stream stream;
  std::vector<std::function<void()>> steps;
  std::map<c10::StorageImpl*, std::pair<c10::Storage, std::vector<char>>> before;  // of what was written since
  std::optional<std::string> refused;  // under the mutex, as other threads end it, too
};

thread_local Recording* recording = nullptr;
std::mutex under_way_mutex;
std::vector<Recording*> under_way;  // of all threads, under the mutex
std::atomic<int64_t> recorded_count = 0, refused_count = 0, replay_count = 0, pool_count = 0;

std::optional<std::string> WhyRefused(const Recording& one) {
  const std::lock_guard lock(under_way_mutex);
  return one.refused;
}

[[noreturn]] void Refuse(const std::string& what) {
  {
    const std::lock_guard lock(under_way_mutex);
    recording->refused = what;
  }
  TORCH_CHECK(false, "fake device: ", what, " cannot be recorded");
}

void CheckNotRefused() {
  const std::optional<std::string> refused = WhyRefused(*recording);
  TORCH_CHECK(!refused.has_value(), "fake device: the recording ended with ", *refused);
}

// Of the other threads' recordings.
void RefuseWhile(const std::function<bool(c10::Stream)>& is_meant, const char* what) {
  const std::lock_guard lock(under_way_mutex);
  for (Recording* other : under_way) {
    if (other == recording || !is_meant(other->stream)) continue;
    other->refused = what;
    TORCH_CHECK(false, "fake device: ", what, " while another thread records there");
  }
}

}  // namespace

GraphCounts TakeGraphCounts() {
  return {.recorded = recorded_count.exchange(0),
          .refused = refused_count.exchange(0),
          .replays = replay_count.exchange(0),
          .pools = pool_count.exchange(0)};
}

bool IsRecording() { return recording != nullptr; }

void RefuseWhileRecording(const char* what) {
  if (IsRecording()) Refuse(what);
}

void Keep(std::function<void()> again) {
  CheckNotRefused();
  recording->steps.push_back(std::move(again));
}

void WillUse(c10::Stream stream, const at::Tensor& tensor, bool is_written) {
  CheckNotRefused();
  if (stream != recording->stream) Refuse("work of another stream");
  if (is_written) recording->Remember(tensor, /*is_new=*/false);
}

void WillMake(const at::Tensor& tensor) { recording->Remember(tensor, /*is_new=*/true); }

void RefuseWhileRecorded(c10::Stream stream, const char* what) {
  RefuseWhile([&](c10::Stream recorded) { return recorded == stream; }, what);
}

void RefuseWhileRecorded(c10::DeviceIndex device, const char* what) {
  RefuseWhile([&](c10::Stream recorded) { return recorded.device_index() == device; }, what);
}

class FakeGraph final : public at::GraphImplInterface {
 public:
  explicit FakeGraph(const at::GraphImplArgs&) {}
  ~FakeGraph() override { Leave(); }

  void capture_begin(at::MempoolId_t pool, at::GraphCaptureMode) override {
    TORCH_CHECK(!IsRecording() && steps_.empty(), "fake device: this thread, or graph, has something recorded already");
    const auto index = static_cast<c10::DeviceIndex>(CurrentDevice());
    TORCH_CHECK(CurrentStream(index) != 0, "fake device: the default stream cannot be recorded");
    static std::atomic<c10::CaptureId_t> pools = 1;
    if (pool == at::MempoolId_t{0, 0}) ++pool_count;
    pool_ = pool == at::MempoolId_t{0, 0} ? at::MempoolId_t{pools++, 0} : pool;
    own_.emplace(c10::Stream(c10::Stream::UNSAFE, {c10::DeviceType::PrivateUse1, index}, CurrentStream(index)));
    recording = &*own_;
    const std::lock_guard lock(under_way_mutex);
    under_way.push_back(recording);
  }

  void capture_end() override {
    TORCH_CHECK(own_.has_value() && recording == &*own_, "fake device: this thread does not record this graph");
    const std::optional<std::string> refused = WhyRefused(*own_);
    steps_ = std::move(own_->steps);
    Leave();
    ++(refused.has_value() ? refused_count : recorded_count);
    if (!refused.has_value()) return;
    steps_.clear();
    TORCH_CHECK(false, "fake device: the recording ended with ", *refused);
  }

  void instantiate() override {}

  void replay() override {
    TORCH_CHECK(!IsRecording() && !steps_.empty(), "fake device: nothing was recorded, or something is just now");
    ++replay_count;
    for (const std::function<void()>& step : steps_) step();
  }

  void reset() override { steps_.clear(); }
  at::MempoolId_t pool() const override { return pool_; }
  void enable_debug_mode() override {}
  void debug_dump(const std::string&) override {}

 private:
  void Leave() {
    if (!own_.has_value()) return;
    recording = nullptr;
    {
      const std::lock_guard lock(under_way_mutex);
      std::erase(under_way, &*own_);
    }
    own_->Restore();
    own_.reset();
  }

  at::MempoolId_t pool_ = {0, 0};
  std::optional<Recording> own_;  // while it is recorded
  std::vector<std::function<void()>> steps_;
};

}  // namespace flowawr::fake_device

namespace at {
REGISTER_GRAPH_IMPL(FAKE, flowawr::fake_device::FakeGraph)
}
#else  // nothing records

GraphCounts TakeGraphCounts() { return {}; }
bool IsRecording() { return false; }
void RefuseWhileRecording(const char*) {}
void Keep(std::function<void()>) {}
void WillUse(c10::Stream, const at::Tensor&, bool) {}
void WillMake(const at::Tensor&) {}
void RefuseWhileRecorded(c10::Stream, const char*) {}
void RefuseWhileRecorded(c10::DeviceIndex, const char*) {}

}  // namespace flowawr::fake_device
#endif
