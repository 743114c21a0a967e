// What a link sends by a line between devices, with a line that is a queue in this process, between two places of the
// pretend device.
#include "learner/ranks/device_line.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/types.h>

#include <deque>
#include <memory>
#include <string>
#include <thread>
#include <utility>

#include <torch/csrc/distributed/c10d/HashStore.hpp>
#include <torch/csrc/distributed/c10d/ProcessGroupGloo.hpp>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "learner/ranks/gloo_link.h"
#include "tests/testing/test_device.h"

namespace flowawr {
namespace {

using ::testing::HasSubstr;

constexpr absl::Duration kLimit = absl::Minutes(1);
constexpr MessageBound kWide = {.text_bytes = 1 << 20, .tensor_bytes = 1 << 20};

// One direction.
class Queue {
 public:
  void Put(at::Tensor tensor) {
    const absl::MutexLock lock(&mutex_);
    tensors_.push_back(std::move(tensor));
    ++count_;
  }
  // Undefined when it is broken, or nothing comes for `limit`.
  at::Tensor Take(absl::Duration limit) {
    const absl::MutexLock lock(&mutex_);
    has_taker_ = true;
    const auto has_ended = [&]() ABSL_NO_THREAD_SAFETY_ANALYSIS { return is_broken_ || !tensors_.empty(); };
    if (!mutex_.AwaitWithTimeout(absl::Condition(&has_ended), limit) || is_broken_) return {};
    at::Tensor tensor = std::move(tensors_.front());
    tensors_.pop_front();
    return tensor;
  }
  // Until somebody takes.
  void AwaitTaker() const {
    const absl::MutexLock lock(&mutex_);
    mutex_.AwaitWithTimeout(absl::Condition(&has_taker_), kLimit);
  }
  void Break() {
    const absl::MutexLock lock(&mutex_);
    is_broken_ = true;
  }
  int count() const {
    const absl::MutexLock lock(&mutex_);
    return count_;
  }

 private:
  mutable absl::Mutex mutex_;
  std::deque<at::Tensor> tensors_ ABSL_GUARDED_BY(mutex_);
  bool is_broken_ ABSL_GUARDED_BY(mutex_) = false, has_taker_ ABSL_GUARDED_BY(mutex_) = false;
  int count_ ABSL_GUARDED_BY(mutex_) = 0;
};

class QueueLine final : public DeviceLine {
 public:
  // `problem`: what every Send() says, which then sends nothing.
  QueueLine(std::shared_ptr<Queue> out, std::shared_ptr<Queue> in, std::string problem = "")
      : out_(std::move(out)), in_(std::move(in)), problem_(std::move(problem)) {}

  at::Device device() const override { return TestDevice(); }
  std::string Send(const at::Tensor& tensor, std::chrono::milliseconds) override {
    EXPECT_EQ(tensor.device(), device());
    if (problem_.empty()) out_->Put(tensor.clone());
    return problem_;
  }
  std::string Receive(const at::Tensor& tensor, std::chrono::milliseconds limit) override {
    EXPECT_EQ(tensor.device(), device());
    const at::Tensor came = in_->Take(absl::FromChrono(limit));
    if (!came.defined()) return "nothing came";
    tensor.copy_(came);
    return "";
  }
  void Break() override { in_->Break(); }

 private:
  const std::shared_ptr<Queue> out_, in_;
  const std::string problem_;
};

class DeviceLineTest : public testing::Test {
 protected:
  // Each end with the line that it is given, or without.
  void Link(std::unique_ptr<DeviceLine> of_rank0, std::unique_ptr<DeviceLine> of_rank) {
    const auto store = c10::make_intrusive<c10d::HashStore>();
    const auto end = [&](int number, std::unique_ptr<DeviceLine> line) {
      const auto options = c10d::ProcessGroupGloo::Options::create(std::chrono::minutes(1));
      options->devices = {c10d::ProcessGroupGloo::createDeviceForHostname("127.0.0.1")};
      options->threads = 1;
      return std::make_unique<GlooLink>(c10::make_intrusive<c10d::ProcessGroupGloo>(store, number, 2, options),
                                        1 - number, std::move(line));
    };
    std::thread other([&] { rank_ = end(1, std::move(of_rank)); });
    rank0_ = end(0, std::move(of_rank0));
    other.join();
  }
  std::unique_ptr<QueueLine> LineOfRank0() { return std::make_unique<QueueLine>(to_rank_, to_rank0_); }
  std::unique_ptr<QueueLine> LineOfRank(const std::string& problem = "") {
    return std::make_unique<QueueLine>(to_rank0_, to_rank_, problem);
  }
  // What rank 0 gets of what the rank sends.
  absl::StatusOr<RankMessage> Pass(const RankMessage& message) {
    std::thread sender([&] { sent_ = rank_->Send(message, kLimit); });
    absl::StatusOr<RankMessage> got = rank0_->Receive(kLimit, kWide);
    if (!got.ok()) rank0_.reset();  // what is not taken any more
    sender.join();
    return got;
  }

  const std::shared_ptr<Queue> to_rank0_ = std::make_shared<Queue>(), to_rank_ = std::make_shared<Queue>();
  std::unique_ptr<GlooLink> rank0_, rank_;
  absl::Status sent_;
};

TEST_F(DeviceLineTest, VectorsGoByTheLineAndTheRestByTheHost) {
  Link(LineOfRank0(), LineOfRank());
  const at::Tensor values = at::rand({1000});
  const RankMessage message = {
      .word = RankWord::kResult,
      .text = "words",
      .tensors = {{"a", at::arange(6)}},
      .vectors = {{"device", values.to(TestDevice())}, {"host", values + 1}, {"none", at::empty({0})}}};
  const auto got = Pass(message);
  ASSERT_TRUE(got.ok()) << got.status();
  ASSERT_TRUE(sent_.ok()) << sent_;
  EXPECT_EQ(to_rank0_->count(), 2) << "an empty one is not sent";
  EXPECT_EQ(got->text, "words");
  EXPECT_TRUE(at::equal(got->tensors.at("a"), at::arange(6)));
  ASSERT_EQ(got->vectors.size(), 3u);
  for (const auto& [name, vector] : got->vectors) EXPECT_EQ(vector.device(), TestDevice()) << name;
  EXPECT_TRUE(at::equal(got->vectors.at("device").cpu(), values));
  EXPECT_TRUE(at::equal(got->vectors.at("host").cpu(), values + 1));
}

TEST_F(DeviceLineTest, AProblemOfTheLineIsTheLines) {
  Link(LineOfRank0(), LineOfRank("no way to there"));
  const RankMessage message = {.vectors = {{"v", at::rand({10})}}};
  std::thread sender([&] {
    sent_ = rank_->Send(message, kLimit);
    to_rank0_->Break();  // as an aborted line ends at its other end
  });
  const absl::Status received = rank0_->Receive(kLimit, kWide).status();
  sender.join();
  EXPECT_TRUE(absl::IsUnavailable(sent_)) << sent_;
  EXPECT_THAT(sent_.message(), HasSubstr("no way to there"));
  EXPECT_TRUE(IsDeviceLineError(sent_));
  EXPECT_TRUE(absl::IsUnavailable(received)) << received;
  EXPECT_TRUE(IsDeviceLineError(received));
}

TEST_F(DeviceLineTest, BreakingTheLinkBreaksTheLine) {
  Link(LineOfRank0(), LineOfRank("nothing is sent"));
  std::thread sender([&] {
    rank_->Send({.vectors = {{"v", at::rand({10})}}}, kLimit).IgnoreError();
    to_rank0_->AwaitTaker();
    rank0_->Break();
  });
  EXPECT_TRUE(IsDeviceLineError(rank0_->Receive(absl::Hours(1), kWide).status()));
  sender.join();
}

TEST_F(DeviceLineTest, AVectorByALineThatOneEndHasNotIsRefused) {
  Link(nullptr, LineOfRank());
  const absl::Status status = Pass({.vectors = {{"v", at::rand({10})}}}).status();
  EXPECT_TRUE(absl::IsInvalidArgument(status)) << status;
  EXPECT_FALSE(IsDeviceLineError(status));
}

TEST_F(DeviceLineTest, WithoutALineAVectorOfADeviceComesToTheHost) {
  Link(nullptr, nullptr);
  const at::Tensor values = at::rand({1000});
  const auto got = Pass({.vectors = {{"v", values.to(TestDevice())}}});
  ASSERT_TRUE(got.ok()) << got.status();
  EXPECT_TRUE(at::equal(got->vectors.at("v"), values));
}

}  // namespace
}  // namespace flowawr
