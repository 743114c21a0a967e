#include "reward_server/scorer_host.h"

#include <unistd.h>

#include <array>
#include <atomic>
#include <cstdlib>
#include <fstream>
#include <mutex>
#include <thread>

#include "absl/strings/cord.h"
#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "prometheus/text_serializer.h"
#include "tests/reward_server/asked.h"

namespace flowawr {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

// Gives every image the same reward, with some memory in small pieces as its model.
class OneScorer : public Scorer {
 public:
  explicit OneScorer(int reward = 1, int mebibytes = 0) : reward_(reward), model_(1024 * mebibytes) {
    for (auto& piece : model_) piece = std::make_unique<std::array<char, 1024>>();
  }
  std::vector<v1::ScoreResult> Score(absl::Span<const v1::ScoreItem* const> items, StillWanted) override {
    return {items.size(), RewardResult(reward_)};
  }
  std::string weights_sha256() const override { return absl::StrCat("digest ", reward_); }
  size_t memory_bytes() const override { return 1024 * model_.size(); }
  const std::string& version() const override { return version_; }
  int parallel_calls() const override { return 2; }

 private:
  const int reward_;
  const std::string version_ = "one 1.0";
  std::vector<std::unique_ptr<std::array<char, 1024>>> model_;
};

// Answers with an error that its option tells.
class FailingScorer : public OneScorer {
 public:
  explicit FailingScorer(bool is_bad_input) : is_bad_input_(is_bad_input) {}
  std::vector<v1::ScoreResult> Score(absl::Span<const v1::ScoreItem* const> items, StillWanted) override {
    return {items.size(), is_bad_input_ ? ErrorResult(v1::ScoreError::BAD_INPUT, "not this picture")
                                        : ErrorResult(v1::ScoreError::BROKEN, "out of paper")};
  }

 private:
  const bool is_bad_input_;
};

std::vector<v1::ScoreItem> Items(int count) {
  v1::ScoreItem item;
  item.set_height(1);
  item.set_width(1);
  item.set_image_rgb("rgb");
  return std::vector<v1::ScoreItem>(static_cast<size_t>(count), item);
}

[[maybe_unused]] size_t ResidentBytes() {
  std::ifstream statm("/proc/self/statm");
  size_t pages = 0;
  statm >> pages >> pages;
  return pages * static_cast<size_t>(sysconf(_SC_PAGESIZE));
}

class ScorerHostTest : public testing::Test {
 protected:
  ScorerHostTest() {
    using Loaded = absl::StatusOr<std::shared_ptr<Scorer>>;
    registry_.Register("one", [](ScorerOptions& options, const ScorerContext&) -> Loaded {
      const int reward = options.Integer("reward", 1, 0, 1000), mebibytes = options.Integer("mebibytes", 0, 0, 1000);
      const absl::Status status = options.Finish();
      if (!status.ok()) return status;
      return std::make_shared<OneScorer>(reward, mebibytes);
    });
    registry_.Register("fails", [](ScorerOptions& options, const ScorerContext&) {
      return std::make_shared<FailingScorer>(options.Flag("bad_input", false));
    });
    registry_.Register("throws", [](ScorerOptions&, const ScorerContext&) -> absl::StatusOr<std::shared_ptr<Scorer>> {
      throw std::runtime_error("no model");
    });
  }

  static v1::LoadScorerRequest Request(const std::string& name, const std::string& kind,
                                       const std::map<std::string, std::string>& options = {}) {
    v1::LoadScorerRequest request;
    for (const auto& [option, value] : options) (*request.mutable_options())[option] = value;
    request.set_name(name);
    request.set_kind(kind);
    return request;
  }
  std::string Page() { return prometheus::TextSerializer().Serialize(metrics_.Collect()); }

  ScorerRegistry registry_;
  prometheus::Registry metrics_;
  ScorerHost host_{registry_, metrics_, {.threads = 2}};
};

TEST_F(ScorerHostTest, LoadsFindsListsAndUnloads) {
  const auto info = host_.Load(Request("", "one"));
  ASSERT_TRUE(info.ok()) << info.status();
  EXPECT_EQ(info->name(), "one");
  const auto runner = host_.Find("one");
  ASSERT_TRUE(runner.ok());
  ASSERT_TRUE(Asked(**runner, Items(1)).Wait().ok());
  const v1::ListScorersResponse list = host_.List();
  ASSERT_EQ(list.scorers_size(), 1);
  EXPECT_EQ(list.scorers(0).images_scored(), 1);
  EXPECT_EQ(list.scorers(0).version(), "one 1.0");
  EXPECT_EQ(list.available_kinds_size(), 3);
  EXPECT_TRUE(host_.Unload("one").ok());
  EXPECT_TRUE(absl::IsNotFound(host_.Find("one").status()));
  EXPECT_EQ(host_.List().scorers_size(), 0);
}

TEST_F(ScorerHostTest, SaysWhatIsWrongWithARequest) {
  ASSERT_TRUE(host_.Load(Request("a", "one")).ok());
  EXPECT_TRUE(absl::IsAlreadyExists(host_.Load(Request("a", "one")).status()));
  EXPECT_TRUE(absl::IsNotFound(host_.Load(Request("b", "two")).status()));
  EXPECT_TRUE(absl::IsInvalidArgument(host_.Load(Request("a b", "one")).status()));
  EXPECT_TRUE(absl::IsInternal(host_.Load(Request("c", "throws")).status()));
  v1::LoadScorerRequest option = Request("d", "one");
  (*option.mutable_options())["x"] = "1";
  EXPECT_TRUE(absl::IsInvalidArgument(host_.Load(option).status()));
  EXPECT_TRUE(absl::IsNotFound(host_.Unload("b")));
  EXPECT_THAT(std::string(host_.Find("b").status().message()), HasSubstr("there are: a"));
  EXPECT_TRUE(host_.Load(Request("c", "one")).ok()) << "a failed load must not keep its name";
}

TEST_F(ScorerHostTest, ShowsItsScorersOnTheMetricsPage) {
  ASSERT_TRUE(host_.Load(Request("a", "one")).ok());
  ASSERT_TRUE(Asked(**host_.Find("a"), Items(1)).Wait().ok());
  EXPECT_THAT(Page(), HasSubstr("flowawr_scored_images_total{outcome=\"reward\",scorer=\"a\"} 1"));
  EXPECT_THAT(Page(), HasSubstr("flowawr_scorer_queue_images{scorer=\"a\"} 0"));
  EXPECT_THAT(Page(), HasSubstr("flowawr_scoring_seconds_bucket{scorer=\"a\""));
  ASSERT_TRUE(host_.Unload("a").ok());
  EXPECT_THAT(Page(), Not(HasSubstr("flowawr_scorer_queue_images{")));
}

// Requests that meet a scorer as it goes end with all rewards or as if it were not there, never with part of them.
TEST_F(ScorerHostTest, LosesNothingWhenScorersComeAndGoUnderLoad) {
  ASSERT_TRUE(host_.Load(Request("stays", "one")).ok());
  std::atomic<bool> is_over = false;
  std::atomic<int> scored = 0;
  std::vector<std::thread> callers;
  for (const std::string name : {"stays", "comes_and_goes"}) {
    callers.emplace_back([&, name] {
      const std::vector<v1::ScoreItem> items = Items(5);
      while (!is_over) {
        const auto runner = host_.Find(name);
        if (!runner.ok()) {
          EXPECT_NE(name, "stays");
          continue;
        }
        const auto results = Asked(**runner, items).Wait();
        if (!results.ok()) {
          EXPECT_NE(name, "stays");
          EXPECT_TRUE(absl::IsFailedPrecondition(results.status()));
          continue;
        }
        for (const v1::ScoreResult& result : *results) EXPECT_EQ(result.reward(), 1);
        if (name != "stays") ++scored;
      }
    });
  }
  for (int round = 0; round < 30; ++round) {
    const int before = scored;
    ASSERT_TRUE(host_.Load(Request("comes_and_goes", "one")).ok());
    while (scored == before) std::this_thread::yield();
    ASSERT_TRUE(host_.Unload("comes_and_goes").ok());
  }
  is_over = true;
  for (std::thread& caller : callers) caller.join();
}

TEST_F(ScorerHostTest, TellsWhatIsServed) {
  const auto info = host_.Load(Request("a", "one", {{"reward", "3"}, {"mebibytes", "1"}, {"batch", "12"}}));
  ASSERT_TRUE(info.ok()) << info.status();
  for (const v1::ScorerInfo& told : {*info, host_.List().scorers(0)}) {
    EXPECT_EQ(told.kind(), "one");
    EXPECT_EQ(told.weights_sha256(), "digest 3");
    EXPECT_EQ(told.memory_bytes(), 1 << 20);
    EXPECT_EQ(told.largest_batch(), 12);
    EXPECT_EQ(told.health(), v1::ScorerInfo::HEALTHY);
    EXPECT_EQ(told.options().at("reward"), "3");
    EXPECT_EQ(told.images_scored(), 0) << "the probe is not of any caller's";
  }
  EXPECT_THAT(Page(), HasSubstr("flowawr_scorer_memory_bytes{scorer=\"a\"} 1048576"));
  EXPECT_THAT(Page(), HasSubstr("flowawr_scorer_healthy{scorer=\"a\"} 1"));
}

TEST_F(ScorerHostTest, LoadsNothingThatCannotScore) {
  const absl::Status status = host_.Load(Request("", "fails")).status();
  EXPECT_TRUE(absl::IsFailedPrecondition(status));
  EXPECT_THAT(std::string(status.message()), HasSubstr("out of paper"));
  EXPECT_TRUE(host_.Load(Request("", "fails", {{"bad_input", "true"}})).ok()) << "it answers, if only not this picture";
}

// Its device fails once it computes.
class LostScorer : public OneScorer {
  std::vector<v1::ScoreResult> Score(absl::Span<const v1::ScoreItem* const>, StillWanted) override {
    throw std::runtime_error("lost");
  }
};

TEST_F(ScorerHostTest, TellsWhatADeviceFailedOfAsThatWhenAScorerIsLoadedOrWarmedUp) {
  ScorerRegistry registry;
  registry.Register("full", [](ScorerOptions&, const ScorerContext&) -> absl::StatusOr<std::shared_ptr<Scorer>> {
    throw std::runtime_error("full");
  });
  registry.Register("lost", [](ScorerOptions&, const ScorerContext&) { return std::make_shared<LostScorer>(); });
  RunnerOptions options{.device = "cpu"};
  options.device_error = [](const std::string& device) {
    try {
      throw;
    } catch (const std::exception& error) {
      absl::Status status = absl::AbortedError(absl::StrCat(device, " is ", error.what()));
      status.SetPayload("mark", absl::Cord());
      return status;
    }
  };
  ScorerHost host(registry, metrics_, options);
  for (const char* kind : {"full", "lost"}) {
    const absl::Status status = host.Load(Request("", kind)).status();
    EXPECT_TRUE(absl::IsAborted(status)) << status;
    EXPECT_THAT(std::string(status.message()), HasSubstr(absl::StrCat("cpu is ", kind)));
    EXPECT_TRUE(status.GetPayload("mark").has_value());
  }
}

TEST_F(ScorerHostTest, ReplacesAScorer) {
  ASSERT_TRUE(host_.Load(Request("a", "one", {{"reward", "2"}})).ok());
  const auto old = host_.Find("a");
  // Nothing said: the same again.
  const auto same = host_.Reload(Request("a", ""));
  ASSERT_TRUE(same.ok()) << same.status();
  EXPECT_EQ(same->options().at("reward"), "2");
  EXPECT_TRUE(absl::IsFailedPrecondition(Asked(**old, Items(1)).Wait().status()));
  // Other options, the same kind.
  ASSERT_TRUE(host_.Reload(Request("a", "", {{"reward", "4"}})).ok());
  EXPECT_EQ(Asked(**host_.Find("a"), Items(1)).Wait()->at(0).reward(), 4);
  // A kind and no options: its defaults.
  ASSERT_TRUE(host_.Reload(Request("a", "one")).ok());
  EXPECT_EQ(Asked(**host_.Find("a"), Items(1)).Wait()->at(0).reward(), 1);
  EXPECT_EQ(host_.List().scorers_size(), 1);
}

TEST_F(ScorerHostTest, KeepsTheOldScorerWhenTheNewOneIsNoGood) {
  ASSERT_TRUE(host_.Load(Request("a", "one")).ok());
  EXPECT_TRUE(absl::IsFailedPrecondition(host_.Reload(Request("a", "fails")).status()));
  EXPECT_TRUE(absl::IsInvalidArgument(host_.Reload(Request("a", "", {{"colour", "red"}})).status()));
  EXPECT_TRUE(absl::IsNotFound(host_.Reload(Request("b", "one")).status()));
  EXPECT_EQ(Asked(**host_.Find("a"), Items(1)).Wait()->at(0).reward(), 1);
  EXPECT_TRUE(host_.Reload(Request("a", "")).ok()) << "a failed one must not keep its name";
}

TEST_F(ScorerHostTest, TellsOfEveryChangeOfHealth) {
  std::mutex mutex;
  std::map<std::string, bool> serving;
  ASSERT_TRUE(host_.Load(Request("before", "one")).ok());
  host_.WatchHealth([&](const std::string& scorer, bool is_serving) {
    const std::lock_guard<std::mutex> lock(mutex);
    serving[scorer] = is_serving;
  });
  ASSERT_TRUE(host_.Load(Request("after", "one")).ok());
  ASSERT_TRUE(host_.Unload("before").ok());
  host_.WatchHealth(nullptr);
  ASSERT_TRUE(host_.Unload("after").ok());
  EXPECT_EQ(serving, (std::map<std::string, bool>{{"before", false}, {"after", true}}));
}

// Whoever finds the old one too late finds the new one next; nobody gets a mixture of both.
TEST_F(ScorerHostTest, LosesNothingWhenAScorerIsReplacedUnderLoad) {
  ASSERT_TRUE(host_.Load(Request("a", "one", {{"reward", "0"}})).ok());
  std::atomic<bool> is_over = false;
  std::atomic<int> answers = 0, newest = 0;
  std::vector<std::thread> callers;
  for (int i = 0; i < 3; ++i) {
    callers.emplace_back([&] {
      while (!is_over) {
        const auto runner = host_.Find("a");
        ASSERT_TRUE(runner.ok());
        const int least = newest;
        const auto results = Asked(**runner, Items(5)).Wait();
        if (absl::IsFailedPrecondition(results.status())) continue;  // refused whole: asks again
        ASSERT_TRUE(results.ok());
        for (const v1::ScoreResult& result : *results) EXPECT_EQ(result.reward(), results->front().reward());
        EXPECT_GE(results->front().reward(), least - 1);
        ++answers;
      }
    });
  }
  for (int round = 1; round <= 30; ++round) {
    const int before = answers;
    ASSERT_TRUE(host_.Reload(Request("a", "one", {{"reward", absl::StrCat(round)}})).ok());
    newest = round;
    while (answers == before) std::this_thread::yield();
  }
  is_over = true;
  for (std::thread& caller : callers) caller.join();
}

#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
TEST_F(ScorerHostTest, GivesTheMemoryOfAScorerBackToTheSystem) {
  ASSERT_TRUE(host_.Load(Request("a", "one")).ok());
  ASSERT_TRUE(host_.Unload("a").ok());
  const size_t before = ResidentBytes();
  ASSERT_TRUE(host_.Load(Request("a", "one", {{"mebibytes", "128"}})).ok());
  const size_t loaded = ResidentBytes() - before;
  EXPECT_GT(loaded, size_t{128} << 20);
  ASSERT_TRUE(host_.Unload("a").ok());
  EXPECT_LT(ResidentBytes(), before + loaded / 20);
}

// Loads and unloads, and replaces, `cycles` times.
void ExpectFlatMemory(ScorerHost& host, v1::LoadScorerRequest request, int cycles) {
  const auto cycle = [&] {
    ASSERT_TRUE(host.Load(request).ok());
    ASSERT_TRUE(Asked(**host.Find(request.name()), Items(3)).Wait().ok());
    ASSERT_TRUE(host.Reload(request).ok());
    ASSERT_TRUE(host.Unload(request.name()).ok());
  };
  for (int i = 0; i < 10; ++i) cycle();
  const size_t before = ResidentBytes();
  for (int i = 0; i < cycles; ++i) cycle();
  EXPECT_LT(ResidentBytes(), before + (size_t{2} << 20)) << "grown by " << (ResidentBytes() - before) / 1024 << " KiB";
}

TEST_F(ScorerHostTest, NeedsNoMoreMemoryAfterManyLoads) {
  const char* cycles = std::getenv("FLOWAWR_SCORER_CYCLES");
  ExpectFlatMemory(host_, Request("a", "one", {{"mebibytes", "4"}}), cycles == nullptr ? 30 : std::atoi(cycles));
}
#endif

}  // namespace
}  // namespace flowawr
