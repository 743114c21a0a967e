// What a thread may do while another one records, on the pretend device and on a real one.
#include "common/tensor/device_graph.h"

#include <ATen/Functions.h>
#include <c10/core/InferenceMode.h>
#include <c10/core/impl/VirtualGuardImpl.h>
#include <gtest/gtest.h>
#include <torch/types.h>

#include <latch>
#include <optional>
#include <thread>
#include <utility>

#include "common/tensor/device_stream.h"
#include "tests/testing/test_device.h"

namespace flowawr {
namespace {

// Records y = x + 1 in a thread of its own, and does not end before it is told to.
class Recorder {
 public:
  Recorder() : thread_([this] { Run(); }) { has_begun_.wait(); }
  ~Recorder() {
    End();
    thread_.join();
  }

  void End() {
    if (!std::exchange(is_told_, true)) may_end_.count_down();
  }
  // Of the recording, once it has ended; if that went well, the graph was replayed.
  absl::Status Result() {
    End();
    is_over_.wait();
    return status_;
  }
  // After Result(), for x of 1 to 4.
  const at::Tensor& y() const { return y_; }

 private:
  void Run() {
    const c10::InferenceMode guard;
    const OwnStream stream(TestDevice());
    const at::Tensor x = at::arange(1, 5, at::kFloat).to(TestDevice());
    at::Tensor y = x + 1;
    AwaitStream(TestDevice());
    const auto graph = DeviceGraph::Record(TestDevice(), [&] {
      y = x + 1;
      has_begun_.count_down();
      may_end_.wait();
      y = y + 1;
    });
    status_ = graph.status();
    if (graph.ok()) {
      (*graph)->Replay();
      y_ = y.cpu();
    }
    y.reset();
    is_over_.count_down();
  }

  std::latch has_begun_{1}, may_end_{1}, is_over_{1};
  bool is_told_ = false;
  absl::Status status_;
  at::Tensor y_;
  std::thread thread_;  // after what it uses
};

class DeviceGraphTest : public testing::Test {
 protected:
  void SetUp() override {
    if (const absl::Status can = DeviceGraph::CheckDevice(TestDevice()); !can.ok()) GTEST_SKIP() << can;
  }

  const c10::InferenceMode guard_;
};

// Memory, pinned memory, work and waits, on a stream of one's own: what an actor's other stages do.
TEST_F(DeviceGraphTest, OtherThreadsGoOnWhileOneRecords) {
  std::optional<OwnStream> own(TestDevice());
  at::Tensor early = at::ones({1 << 20}).to(TestDevice()), brought_early = ToHostSoon(early + 1);
  {
    Recorder recorder;
    brought_early.reset();  // pinned memory that a stream has used, freed and taken again
    early.reset();
    for (int i = 0; i < 3; ++i) {
      const at::Tensor values = at::full({1 << 20}, static_cast<float>(i)).to(TestDevice());
      const at::Tensor down = ToHostSoon(values * 2);
      AwaitStream(TestDevice());
      EXPECT_EQ(down[0].item<float>(), 2 * i);
      EXPECT_EQ(values.sum().item<float>(), i * (1 << 20));
    }
    EXPECT_TRUE(recorder.Result().ok()) << recorder.Result();
    EXPECT_TRUE(recorder.y().equal(at::arange(3, 7, at::kFloat)));
  }
  own.reset();
}

TEST_F(DeviceGraphTest, AWaitForTheWholeDeviceEndsTheRecordingAndTheNextIsAsEver) {
  if (!fake_device::IsThere()) GTEST_SKIP() << "of the pretend device";
  const c10::impl::VirtualGuardImpl device(TestDevice().type());
  {
    Recorder recorder;
    EXPECT_ANY_THROW(device.synchronizeDevice(TestDevice().index()));
    EXPECT_EQ(recorder.Result().code(), absl::StatusCode::kFailedPrecondition);
  }
  device.synchronizeDevice(TestDevice().index());
  Recorder recorder;
  EXPECT_TRUE(recorder.Result().ok()) << recorder.Result();
  EXPECT_TRUE(recorder.y().equal(at::arange(3, 7, at::kFloat)));
}

TEST_F(DeviceGraphTest, WhoRunsOutOfMemoryWhileOneRecordsTriesAgainAfterwards) {
  std::optional<Recorder> recorder;
  int done = 0;
  const absl::Status status = AgainAfterRecording([&]() -> absl::Status {
    if (++done > 1) return recorder->Result();  // it is over
    recorder.emplace();
    recorder->End();
    return absl::ResourceExhaustedError("while one records");
  });
  EXPECT_TRUE(status.ok()) << status;
  EXPECT_EQ(done, 2);
}

TEST_F(DeviceGraphTest, OtherErrorsAndOtherTimesAreTriedOnce) {
  int done = 0;
  const absl::Status full = absl::ResourceExhaustedError("alone"), wrong = absl::InternalError("while one records");
  const auto alone = [&] { return ++done, full; };
  EXPECT_EQ(AgainAfterRecording(alone), full);
  EXPECT_EQ(done, 1);
  const auto meanwhile = [&] {
    Recorder recorder;
    return ++done, recorder.Result().ok() ? wrong : recorder.Result();
  };
  EXPECT_EQ(AgainAfterRecording(meanwhile), wrong);
  EXPECT_EQ(done, 2);
  EXPECT_EQ(AgainAfterRecording(alone), full);
  EXPECT_EQ(done, 3);
}

}  // namespace
}  // namespace flowawr
