// Scorers that compute on one device at the same time, by default the pretend one (tests/testing/test_device.h), which
// refuses what one stream uses before another has finished with it: the CPU's rewards, each scorer on a stream of its own.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/types.h>

#include <atomic>
#include <deque>
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/types/span.h"
#include "common/clip/clip_batch.h"
#include "common/tensor/safetensors.h"
#include "prometheus/registry.h"
#include "reward_server/scorer_host.h"
#include "reward_server/scorers/scorer_stream.h"
#include "tests/reward_server/asked.h"
#include "tests/reward_server/scorers/test_items.h"
#include "tests/testing/fake_device/cuda_kernels.h"
#include "tests/testing/fake_device/fake_limit.h"
#include "tests/testing/temp_folder.h"
#include "tests/testing/test_device.h"

namespace flowawr {
namespace {

using fake_device::Counts;
using fake_device::TakeCounts;
using testing::HasSubstr;

constexpr char kClip[] = "models/tiny-rewards/clip";

// A red circle of radius `radius` on white, which the detector knows and the CLIP calls red.
v1::ScoreItem RedCircle(int radius) {
  constexpr int kSide = 96;
  Image image = Plain(kSide, kSide);
  for (int y = 0; y < kSide; ++y) {
    for (int x = 0; x < kSide; ++x) {
      const int dx = x - kSide / 2, dy = y - kSide / 2;
      if (dx * dx + dy * dy <= radius * radius) image.rgb.replace(3 * (kSide * y + x), 3, "\xda\x24\x24");
    }
  }
  v1::ScoreItem item = MakeItem(image, "a photo of a red circle");
  (*item.mutable_metadata())["tag"] = "colors";
  (*item.mutable_metadata())["include"] = R"([{"class": "circle", "count": 1, "color": "red"}])";
  return item;
}

std::vector<v1::ScoreItem> RedCircles(int first_radius, int count) {
  std::vector<v1::ScoreItem> items;
  for (int i = 0; i < count; ++i) items.push_back(RedCircle(first_radius + i));
  return items;
}

class ScorersOnDeviceTest : public testing::Test {
 protected:
  ScorersOnDeviceTest() {
    std::map<std::string, at::Tensor> head;
    int64_t in = 64;
    for (const auto& [layer, out] : std::map<int, int64_t>{{0, 16}, {2, 8}, {4, 8}, {6, 4}, {7, 1}}) {
      head[absl::StrCat("layers.", layer, ".weight")] = at::randn({out, in}, generator_);
      head[absl::StrCat("layers.", layer, ".bias")] = at::randn({out}, generator_);
      in = out;
    }
    std::filesystem::create_directory(*folder_ / "head");
    EXPECT_TRUE(WriteSafetensors(*folder_ / "head/model.safetensors", head).ok());
    options_ = {{"pickscore", {{"model", kClip}}},
                {"clipscore", {{"model", kClip}}},
                {"aesthetic", {{"model", kClip}, {"head", *folder_ / "head"}}},
                {"geneval", {{"detector", "models/tiny-rewards/detector"}, {"clip", kClip}, {"reward", "graded"}}}};
  }

  v1::LoadScorerRequest RequestOf(const std::string& kind, at::Device device) const {
    v1::LoadScorerRequest request;
    request.set_kind(kind);
    for (const auto& [name, value] : options_.at(kind)) (*request.mutable_options())[name] = value;
    (*request.mutable_options())["device"] = NameOf(device);
    (*request.mutable_options())["threads"] = "1";
    return request;
  }
  std::unique_ptr<ScorerHost> Serve(at::Device device) {
    auto host = std::make_unique<ScorerHost>(ScorerRegistry::Default(), metrics_.emplace_back(), RunnerOptions{});
    for (const auto& [kind, options] : options_) {
      const absl::Status loaded = host->Load(RequestOf(kind, device)).status();
      EXPECT_TRUE(loaded.ok()) << loaded;
    }
    return host;
  }
  std::shared_ptr<Scorer> Load(const std::string& kind, at::Device device = TestDevice(), int threads = 1) const {
    return ScorerRegistry::Default()
        .Make(kind, options_.at(kind), {.threads = threads, .device = NameOf(device)})
        .value();
  }

  // All scorers at once, by kind.
  using Results = std::map<std::string, std::vector<v1::ScoreResult>>;
  Results AskAll(ScorerHost& host, const std::vector<v1::ScoreItem>& items) const {
    std::map<std::string, Asked> asked;
    for (const auto& [kind, options] : options_) asked.try_emplace(kind, **host.Find(kind), items);
    Results results;
    for (auto& [kind, answer] : asked) {
      const Asked::Results all = answer.Wait();
      EXPECT_TRUE(all.ok()) << all.status();
      if (all.ok()) results[kind] = *all;
    }
    return results;
  }
  static at::Tensor RewardsOf(const std::vector<v1::ScoreResult>& results) {
    std::vector<double> rewards;
    for (const v1::ScoreResult& result : results) {
      EXPECT_TRUE(result.has_reward()) << result.error().message();
      rewards.push_back(result.reward());
    }
    return at::tensor(rewards);
  }
  static void ExpectAlike(const Results& actual, const Results& expected) {
    for (const auto& [kind, results] : expected)
      ExpectClose(kind, RewardsOf(actual.at(kind)), RewardsOf(results), DeviceBound(at::kFloat, 1e-5));
  }

  at::Generator generator_ = at::make_generator<at::CPUGeneratorImpl>(3);
  const std::unique_ptr<TempFolder> folder_ = std::make_unique<TempFolder>();
  std::map<std::string, std::map<std::string, std::string>> options_;  // by kind
  std::deque<prometheus::Registry> metrics_;
};

TEST_F(ScorersOnDeviceTest, ScoreSideBySideAsOnTheCpuEachOnAStreamOfItsOwn) {
  const std::vector<v1::ScoreItem> items = RedCircles(20, 3);
  const Results expected = AskAll(*Serve(at::kCPU), items);
  EXPECT_THAT(expected.at("geneval")[0].details().at("found"), HasSubstr("red circle"));
  at::ones({1}).to(TestDevice());  // loading is on the default stream
  std::deque<ScorerStream> left;   // by other tests
  for (int i = 0; i < 16; ++i) left.emplace_back(TestDevice());
  const int streams = fake_device::StreamsUsed();
  const std::unique_ptr<ScorerHost> host = Serve(TestDevice());
  ExpectAlike(AskAll(*host, items), expected);
  ExpectAlike(AskAll(*host, items), expected);  // what is remembered, by whichever scorer made it
  int radius = 30;
  for (const auto& [kind, options] : options_)  // a picture that no other scorer has embedded
    EXPECT_TRUE(Asked(**host->Find(kind), RedCircles(radius++, 1)).Wait().ok()) << kind;
  if (fake_device::IsThere()) {
    EXPECT_EQ(fake_device::StreamsUsed() - streams, static_cast<int>(options_.size()));
  }
}

TEST_F(ScorersOnDeviceTest, ScoreWhileOneOfThemIsReplaced) {
  const std::unique_ptr<ScorerHost> on_cpu = Serve(at::kCPU), host = Serve(TestDevice());
  v1::LoadScorerRequest other = RequestOf("clipscore", TestDevice());
  other.set_name("other");
  ASSERT_TRUE(host->Load(other).ok());
  std::thread replacing([&] {
    for (int i = 0; i < 3; ++i) {
      const absl::Status replaced = host->Reload(other).status();
      EXPECT_TRUE(replaced.ok()) << replaced;
    }
  });
  for (int i = 0; i < 4; ++i) {
    const std::vector<v1::ScoreItem> items = RedCircles(10 + 2 * i, 2);
    ExpectAlike(AskAll(*host, items), AskAll(*on_cpu, items));
  }
  replacing.join();
}

// The pretend device ends the process when memory is freed that a stream still reads.
TEST_F(ScorersOnDeviceTest, FreeTheirWeightsAfterACallThatWasGivenUp) {
  for (const char* kind : {"pickscore", "geneval"}) {
    std::shared_ptr<Scorer> scorer = Load(kind);
    const v1::ScoreItem item = RedCircle(20);
    const v1::ScoreItem* const asked = &item;
    int layers = 0;
    const auto for_a_while = [&](size_t) { return ++layers < 3 ? absl::OkStatus() : absl::CancelledError("gone"); };
    EXPECT_THAT(scorer->Score({&asked, 1}, for_a_while)[0].error().message(), HasSubstr("gone"));
    scorer.reset();
  }
}

TEST_F(ScorersOnDeviceTest, MoveAPictureAndItsTokensOnceAndWaitOnce) {
  if (!fake_device::IsThere()) GTEST_SKIP() << "counted on the pretend device alone";
  const std::shared_ptr<Scorer> scorer = Load("pickscore");
  const v1::ScoreItem item = RedCircle(20);
  const v1::ScoreItem* const asked = &item;
  TakeCounts();
  scorer->Score({&asked, 1}, kAlwaysWanted);
  const Counts counts = TakeCounts();
  EXPECT_EQ(counts.uploads, 2) << "the picture, the prompt's tokens";
  EXPECT_EQ(counts.downloads, 2) << "their embeddings";
  EXPECT_EQ(counts.syncs, 1) << "for the stream, at the end";
  scorer->Score({&asked, 1}, kAlwaysWanted);
  EXPECT_EQ(TakeCounts().uploads, 0) << "remembered";
}

// Several, each with a prompt of its own.
std::vector<v1::ScoreItem> WithPrompts(std::vector<v1::ScoreItem> items) {
  for (size_t i = 0; i < items.size(); ++i) items[i].set_prompt(absl::StrCat("a photo of ", i, " red circles"));
  return items;
}

TEST_F(ScorersOnDeviceTest, MoveABatchOnceAndTakeAsManyOperationsAsForAPicture) {
  if (!fake_device::IsThere()) GTEST_SKIP() << "counted on the pretend device alone";
  const std::vector<v1::ScoreItem> items = WithPrompts(RedCircles(20, ClipBatch::kUsual + 3));
  const auto scored = [&](absl::Span<const v1::ScoreItem> some) {
    const std::shared_ptr<Scorer> scorer = Load("pickscore");
    TakeCounts();
    EXPECT_EQ(RewardsOf(scorer->Score(Pointers({some.begin(), some.end()}), kAlwaysWanted)).numel(), some.size());
    return TakeCounts();
  };
  const absl::Span<const v1::ScoreItem> all = items;
  const Counts one = scored(all.subspan(0, 1)), batch = scored(all.subspan(0, ClipBatch::kUsual)), two = scored(all);
  EXPECT_EQ(batch.uploads, 2) << "pictures, tokens";
  EXPECT_EQ(batch.downloads, 2) << "their embeddings";
  EXPECT_EQ(batch.syncs, 1) << "for the stream, at the end";
  EXPECT_EQ(batch.operations, one.operations);
  EXPECT_EQ(batch.uploaded_bytes, one.uploaded_bytes) << "one is filled up with copies";
  EXPECT_EQ(two.uploads, 4);
  EXPECT_EQ(two.downloads, 4);
  EXPECT_EQ(two.syncs, 1);
}

TEST_F(ScorersOnDeviceTest, HaveBatchesOfTheSizeThatTheirOptionSays) {
  if (!fake_device::IsThere()) GTEST_SKIP() << "counted on the pretend device alone";
  ScorerHost host(ScorerRegistry::Default(), metrics_.emplace_back(), RunnerOptions{});
  v1::LoadScorerRequest request = RequestOf("pickscore", TestDevice());
  (*request.mutable_options())["batch"] = "2";
  ASSERT_TRUE(host.Load(request).ok());
  TakeCounts();
  ASSERT_TRUE(Asked(**host.Find("pickscore"), RedCircles(20, 4)).Wait().ok());
  const Counts counts = TakeCounts();
  EXPECT_EQ(counts.uploads, 3) << "pictures twice, the tokens of their prompt";
  const int64_t bytes_of_a_picture = 3 * 48 * 48 * 4;
  EXPECT_LT(counts.uploaded_bytes, 5 * bytes_of_a_picture) << "no copies beside the four";
}

TEST_F(ScorersOnDeviceTest, ABadPictureAmongGoodOnesFailsAlone) {
  std::vector<v1::ScoreItem> items = WithPrompts(RedCircles(20, 5));
  items[1].set_prompt(" ");
  items[3] = MakeItem(Plain(1, 65), "thin");
  for (const char* kind : {"pickscore", "clipscore", "aesthetic"}) {
    const std::vector<v1::ScoreResult> expected = Load(kind, at::kCPU)->Score(Pointers(items), kAlwaysWanted);
    const std::vector<v1::ScoreResult> results = Load(kind)->Score(Pointers(items), kAlwaysWanted);
    ASSERT_EQ(results.size(), items.size());
    std::vector<v1::ScoreResult> good, expected_good;
    for (size_t i = 0; i < items.size(); ++i) {
      EXPECT_EQ(results[i].error().kind(), expected[i].error().kind()) << kind << i;
      EXPECT_EQ(results[i].error().message(), expected[i].error().message()) << kind << i;
      if (!expected[i].has_reward()) continue;
      good.push_back(results[i]);
      expected_good.push_back(expected[i]);
    }
    EXPECT_EQ(good.size(), std::string_view(kind) == "aesthetic" ? 4 : 3) << "which reads no prompt";
    ExpectClose(kind, RewardsOf(good), RewardsOf(expected_good), DeviceBound(at::kFloat, 1e-5));
  }
}

TEST_F(ScorersOnDeviceTest, EachBadPictureOfABatchIsToldOfItselfWhicheverThreadLooksAtIt) {
  std::vector<v1::ScoreItem> items;
  for (int i = 0; i < ClipBatch::kUsual; ++i)
    items.push_back(i % 2 == 0 ? MakeItem(Plain(1, 65 + i), "thin") : MakeItem(Plain(8, 8), " "));
  const std::vector<v1::ScoreResult> results =
      Load("pickscore", TestDevice(), /*threads=*/2)->Score(Pointers(items), kAlwaysWanted);
  ASSERT_EQ(results.size(), items.size());
  for (int i = 0; i < ClipBatch::kUsual; ++i) {
    EXPECT_EQ(results[i].error().kind(), v1::ScoreError::BAD_INPUT);
    EXPECT_THAT(results[i].error().message(),
                HasSubstr(i % 2 == 0 ? absl::StrCat("an image of ", 65 + i, " x 1") : "the prompt is empty"));
  }
}

// Each with a scorer that remembers nothing.
TEST_F(ScorersOnDeviceTest, GiveAPictureTheSameBitsWhateverIsBesideIt) {
  const std::vector<v1::ScoreItem> items = WithPrompts(RedCircles(20, 8));
  const auto rewards = [&](const std::vector<size_t>& chosen) {
    std::vector<v1::ScoreItem> some;
    for (const size_t i : chosen) some.push_back(items[i]);
    return RewardsOf(Load("pickscore")->Score(Pointers(some), kAlwaysWanted));
  };
  const at::Tensor alone = rewards({3});
  EXPECT_TRUE(at::equal(rewards({3, 1, 2})[0], alone[0]));
  EXPECT_TRUE(at::equal(rewards({3, 7, 6, 5, 4, 2, 1, 0})[0], alone[0]));
  ExpectClose("in another place", rewards({0, 1, 2, 4, 5, 6, 7, 3})[7], alone[0], DeviceBound(at::kFloat, 1e-5));
}

// A picture alone is made ready by all threads, here in f32; of several, each by one.
TEST_F(ScorersOnDeviceTest, GiveAPictureTheSameBitsWhoeverMakesItReady) {
  const std::vector<v1::ScoreItem> items = WithPrompts(RedCircles(20, 3));
  const auto scored = [&](absl::Span<const v1::ScoreItem* const> some) {
    return RewardsOf(Load("clipscore", TestDevice(), /*threads=*/2)->Score(some, kAlwaysWanted));
  };
  const std::vector<const v1::ScoreItem*> all = Pointers(items);
  EXPECT_TRUE(at::equal(scored(absl::MakeConstSpan(all).first(1))[0], scored(all)[0]));
}

TEST_F(ScorersOnDeviceTest, GoOnWithABatchWhileSomebodyWaitsForAnyOfIt) {
  const std::vector<v1::ScoreItem> items = WithPrompts(RedCircles(20, 4));
  const at::Tensor expected = RewardsOf(Load("pickscore", at::kCPU)->Score(Pointers(items), kAlwaysWanted));
  std::atomic<int> asked = 0;
  const auto wanted = [&](size_t i) {  // the first one never, the last one always, the others at first
    return i == 0 || (i < 3 && ++asked > 4) ? absl::CancelledError("gone") : absl::OkStatus();
  };
  const std::vector<v1::ScoreResult> results = Load("pickscore")->Score(Pointers(items), wanted);
  EXPECT_THAT(results[0].error().message(), HasSubstr("gone"));
  ExpectClose("waited for", RewardsOf({results[3]}), expected.narrow(0, 3, 1), DeviceBound(at::kFloat, 1e-5));
}

TEST_F(ScorersOnDeviceTest, GiveUpABatchThatNobodyWaitsFor) {
  const std::vector<v1::ScoreItem> items = WithPrompts(RedCircles(20, 3));
  const std::shared_ptr<Scorer> scorer = Load("pickscore");
  std::atomic<int> asked = 0;
  const auto for_a_while = [&](size_t) { return ++asked <= 5 ? absl::OkStatus() : absl::CancelledError("gone"); };
  TakeCounts();
  for (const v1::ScoreResult& result : scorer->Score(Pointers(items), for_a_while)) {
    EXPECT_EQ(result.error().kind(), v1::ScoreError::BROKEN);
    EXPECT_THAT(result.error().message(), HasSubstr("gone"));
  }
  if (fake_device::IsThere()) {
    EXPECT_EQ(TakeCounts().downloads, 0) << "nothing was computed to its end";
  }
  EXPECT_EQ(RewardsOf(scorer->Score(Pointers(items), kAlwaysWanted)).numel(), 3) << "and nothing is remembered";
}

TEST_F(ScorersOnDeviceTest, TakeHalfABatchWhenMemoryRunsOut) {
  if (!fake_device::IsThere()) GTEST_SKIP() << "only the pretend device has as little memory as one likes";
  const std::vector<v1::ScoreItem> items = RedCircles(20, 8), others = RedCircles(30, 8);
  const at::Tensor expected = RewardsOf(Load("pickscore", at::kCPU)->Score(Pointers(items), kAlwaysWanted));
  const std::shared_ptr<Scorer> scorer = Load("pickscore");
  TakeCounts();
  const int64_t weights = TakeCounts().peak_bytes;
  scorer->Score(Pointers(RedCircles(10, 8)), kAlwaysWanted);
  const int64_t batch = TakeCounts().peak_bytes - weights;
  {
    const fake_device::MemoryLimit limit(weights + batch * 2 / 3);
    ExpectClose("by halves", RewardsOf(scorer->Score(Pointers(items), kAlwaysWanted)), expected,
                DeviceBound(at::kFloat, 1e-5));
  }
  TakeCounts();
  scorer->Score(Pointers(others), kAlwaysWanted);
  EXPECT_EQ(TakeCounts().uploads, 2) << "it keeps to them";
  const fake_device::MemoryLimit limit(weights + 4096);
  EXPECT_THROW(scorer->Score(Pointers(RedCircles(10, 1)), kAlwaysWanted), c10::OutOfMemoryError)
      << "where not even one picture finds room, the process has to end";
}

TEST_F(ScorersOnDeviceTest, TakeNoMoreMemoryForABatchThanForAPicture) {
  if (!fake_device::IsThere()) GTEST_SKIP() << "counted on the pretend device alone";
  for (const char* kind : {"pickscore", "geneval"}) {
    const std::shared_ptr<Scorer> scorer = Load(kind);
    const std::vector<v1::ScoreItem> one = RedCircles(20, 1), others = RedCircles(21, 8);
    TakeCounts();
    scorer->Score(Pointers(one), kAlwaysWanted);
    const int64_t of_one = TakeCounts().peak_bytes;
    scorer->Score(Pointers(others), kAlwaysWanted);
    EXPECT_LE(TakeCounts().peak_bytes, of_one) << kind;
  }
}

}  // namespace
}  // namespace flowawr
