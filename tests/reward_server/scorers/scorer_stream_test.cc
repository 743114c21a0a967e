#include "reward_server/scorers/scorer_stream.h"

#include <ATen/DeviceAccelerator.h>
#include <gtest/gtest.h>
#include <torch/types.h>

#include <optional>
#include <stdexcept>

#include "tests/testing/test_device.h"

namespace flowawr {
namespace {

c10::Stream CurrentStream() { return at::accelerator::getCurrentStream(TestDevice().index()); }

c10::Stream StreamOf(const ScorerStream& scorer) {
  std::optional<c10::Stream> seen;
  scorer.Run([&] { seen = CurrentStream(); });
  return *seen;
}

TEST(ScorerStreamTest, IsTheScorersOwnWhileItWorks) {
  const c10::Stream before = CurrentStream();
  const ScorerStream one(TestDevice()), another(TestDevice());
  EXPECT_NE(StreamOf(one), before);
  EXPECT_NE(StreamOf(one), StreamOf(another));
  EXPECT_EQ(StreamOf(one), StreamOf(one));
  EXPECT_EQ(CurrentStream(), before);
}

TEST(ScorerStreamTest, IsLeftToTheNextScorer) {
  std::optional<ScorerStream> first(TestDevice());
  const c10::Stream stream = StreamOf(*first);
  first.reset();
  EXPECT_EQ(StreamOf(ScorerStream(TestDevice())), stream);
}

TEST(ScorerStreamTest, WaitsForTheDevice) {
  const at::Tensor values = at::arange(4, at::kFloat).to(TestDevice());
  const ScorerStream stream(TestDevice());
  at::Tensor made;
  stream.Run([&] { made = values + 1; });
  EXPECT_TRUE(at::equal((made * 2).cpu(), at::tensor({2.f, 4.f, 6.f, 8.f})));  // on another stream
}

TEST(ScorerStreamTest, WaitsForWhatThrew) {
  const at::Tensor values = at::ones({4}).to(TestDevice());
  const ScorerStream stream(TestDevice());
  at::Tensor made;
  const auto work = [&] {
    made = values + 1;
    throw std::runtime_error("in the middle");
  };
  EXPECT_THROW(stream.Run(work), std::runtime_error);
  EXPECT_EQ((made * 2).sum().item<float>(), 16);
}

TEST(ScorerStreamTest, IsNothingOnTheCpu) {
  int calls = 0;
  ScorerStream(at::kCPU).Run([&] { ++calls; });
  EXPECT_EQ(calls, 1);
}

}  // namespace
}  // namespace flowawr
