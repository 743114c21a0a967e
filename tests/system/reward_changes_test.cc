// Rewards that are changed while a run goes on, by the commands and with real reward servers: each change counts from
// the update that was told, no group is lost, no figure mixes two specs, shadows change no bit, and of two servers of a
// reward one may die.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <atomic>
#include <future>
#include <map>
#include <memory>
#include <thread>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/time/clock.h"
#include "common/base/file.h"
#include "common/rpc/channel.h"
#include "flowawr/v1/reward.grpc.pb.h"
#include "nlohmann/json.hpp"
#include "tests/system/baseline.h"
#include "tests/system/cluster.h"
#include "tests/system/live_run.h"

namespace flowawr {
namespace {

using ::testing::AllOf;
using ::testing::Each;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Key;

constexpr char kSmall[] = "small=jpeg_compressibility,scale=1";

// A reward server beside the cluster's own.
class RewardProcess {
 public:
  explicit RewardProcess(std::string scorer = kSmall, const std::string& listen = "127.0.0.1:0") {
    std::vector<std::string> command = {SystemProgram("flowawr-reward-server"), "--listen", listen, "--threads", "1",
                                        "--endpoint-file", folder_ / "endpoint"};
    if (!scorer.empty()) command.insert(command.end(), {"--scorer", scorer});
    process_ = std::make_unique<Process>(command, folder_ / "log");
    endpoint_ = AwaitEndpoint(folder_ / "endpoint", *process_);
  }
  const std::string& endpoint() const { return endpoint_; }
  void Kill() { process_->Kill(); }
  pid_t pid() const { return process_->pid(); }
  uint64_t images_scored() const { return First().images_scored(); }
  uint64_t errors() const { return First().errors(); }

 private:
  // Of its scorers.
  v1::ScorerInfo First() const {
    const auto stub = v1::RewardService::NewStub(MakeChannel(endpoint_, {}).value());
    v1::ListScorersResponse list;
    const auto status = stub->ListScorers(MakeContext(absl::Seconds(10), {}).get(), {}, &list);
    EXPECT_TRUE(status.ok()) << status.error_message();
    return list.scorers_size() == 0 ? v1::ScorerInfo() : list.scorers(0);
  }

  TempFolder folder_;
  std::unique_ptr<Process> process_;
  std::string endpoint_;
};

std::vector<nlohmann::json> UpdatesOf(const std::string& run_dir) {
  std::vector<nlohmann::json> updates;
  for (absl::string_view line : absl::StrSplit(ReadFile(run_dir + "/metrics.jsonl").value_or(""), '\n')) {
    const nlohmann::json entry = nlohmann::json::parse(line, nullptr, /*allow_exceptions=*/false);
    if (entry.is_object() && entry.value("kind", "") == "update") updates.push_back(entry);
  }
  return updates;
}

// "effective from update N on"
uint64_t EffectiveFrom(const std::string& output) {
  const std::vector<std::string> parts = absl::StrSplit(output, "effective from update ");
  uint64_t update = 0;
  EXPECT_TRUE(parts.size() == 2 &&
              absl::SimpleAtoi(std::vector<std::string>(absl::StrSplit(parts[1], ' '))[0], &update))
      << output;
  return update;
}

class RewardChangesTest : public ::testing::Test {
 protected:
  // Runs `flowawr reward VERB --learner ... ARGUMENTS`.
  CommandResult Reward(const std::string& verb, const std::vector<std::string>& arguments) {
    std::vector<std::string> command = {"reward", verb, "--learner", cluster_.learner_endpoint()};
    command.insert(command.end(), arguments.begin(), arguments.end());
    return Flowawr(command);
  }

  // The same; waits for the first update that it counts for, and notes what a reward is from then on.
  std::string Change(const std::string& verb, const std::vector<std::string>& arguments,
                     const std::map<std::string, double>& weights) {
    const CommandResult result = Reward(verb, arguments);
    EXPECT_EQ(result.exit_code, 0) << verb << ": " << result.output;
    const uint64_t from = EffectiveFrom(result.output);
    weights_from_[from] = weights;
    cluster_.WaitForUpdate(from + 1);
    return result.output;
  }

  void End() {
    v1::ShutdownResponse ignored;
    ASSERT_TRUE(cluster_.Control()->Shutdown(MakeContext(absl::Seconds(10), {}).get(), {}, &ignored).ok());
    EXPECT_EQ(cluster_.learner().Wait(), 0);
  }

  Cluster cluster_{{"train.updates=100000", "prompts.heldout=", "evaluation.every_updates=0"}};
  std::map<uint64_t, std::map<std::string, double>> weights_from_ = {{1, {{"small", 1}}}};
};

TEST_F(RewardChangesTest, EachChangeCountsFromTheUpdateThatWasToldAndNoFigureMixesTwoSpecs) {
  RewardProcess second;
  cluster_.StartAll();
  cluster_.WaitForUpdate(1);
  EXPECT_THAT(Change("weight", {"small=2"}, {{"small", 2}}), HasSubstr("1 -> 2"));
  EXPECT_THAT(Change("add", {"twin,weight=0"}, {{"small", 2}}), HasSubstr("0 (shadow)"));
  const v1::Status compared = cluster_.WaitForStatus([](const v1::Status& status) {
    return status.shadows_size() == 1 && status.shadows(0).groups() > 0;
  });
  EXPECT_EQ(compared.shadows(0).scorer(), "twin");
  EXPECT_NEAR(compared.shadows(0).rank_correlation(), 1, 1e-9) << "it is the same reward";
  EXPECT_EQ(compared.shadows(0).best_differs(), 0);
  EXPECT_THAT(Flowawr({"status", "--learner", cluster_.learner_endpoint()}).output,
              AllOf(HasSubstr("twin weight 0 (shadow)"), HasSubstr("shadow   twin: rank correlation 1.00")));
  Change("promote", {"twin", "--weight", "0.5"}, {{"small", 2}, {"twin", 0.5}});
  EXPECT_THAT(Change("swap", {"small", "--to", second.endpoint()}, {{"small", 2}, {"twin", 0.5}}),
              HasSubstr("the run's own -> " + second.endpoint()));
  Change("remove", {"twin"}, {{"small", 2}});
  Change("swap", {"small", "--to", "own"}, {{"small", 2}});

  const v1::Status status = cluster_.WaitForStatus([](const v1::Status&) { return true; });
  EXPECT_EQ(status.reward_spec().version(), weights_from_.size());
  for (const auto& [cause, count] : status.dropped()) EXPECT_EQ(cause, "swapped") << count;  // which are made again
  End();
  const std::vector<nlohmann::json> updates = UpdatesOf(cluster_.run_dir());
  ASSERT_GT(updates.size(), weights_from_.rbegin()->first);
  for (size_t i = 0; i < updates.size(); ++i) {
    EXPECT_EQ(updates[i]["update"], i + 1);
    const auto expected = std::prev(weights_from_.upper_bound(i + 1));
    EXPECT_EQ(updates[i]["reward_spec"], 1 + std::distance(weights_from_.begin(), expected)) << updates[i];
    double reward = 0;
    for (const auto& [scorer, weight] : expected->second)
      reward += weight * updates[i]["by_scorer"].value(scorer, 1e9);
    EXPECT_NEAR(updates[i]["reward_mean"].get<double>(), reward, 1e-9) << updates[i];
    EXPECT_EQ(updates[i]["samples_trained"], (i + 1) * 2 * 4);
  }
}

TEST_F(RewardChangesTest, RefusesWhatWouldNotWorkAndChangesNothing) {
  cluster_.StartAll();
  cluster_.WaitForUpdate(1);
  const struct {
    std::string verb;
    std::vector<std::string> arguments;
    std::string error;
  } cases[] = {
      {"weight", {"smal=2"}, "this run has no reward of a scorer \"smal\"; it has: small; did you mean \"small\"?"},
      {"weight", {"small=0"}, "every weight is 0"},
      {"weight", {}, "expected RUN_DIR SCORER=WEIGHT"},
      {"remove", {"small"}, "there is no term"},
      {"promote", {"small"}, "small is no shadow"},
      {"add", {"small"}, "of scorer small already"},
      {"add", {"tiwn"}, "has no scorer \"tiwn\"; there are: ocr, small, twin; did you mean \"twin\"?"},
      {"swap", {"small", "--to", "127.0.0.1:1"}, "no reward server answers at 127.0.0.1:1"},
      {"swap", {"small"}, "--to HOST:PORT"}};
  for (const auto& c : cases) {
    const CommandResult result = Reward(c.verb, c.arguments);
    EXPECT_NE(result.exit_code, 0) << c.verb;
    EXPECT_THAT(result.output, HasSubstr(c.error));
  }
  const uint64_t update = cluster_.WaitForUpdate(1).update();
  const v1::Status status = cluster_.WaitForUpdate(update + 1);
  EXPECT_EQ(status.reward_spec().version(), 1);
  EXPECT_THAT(status.dropped(), IsEmpty());
}

TEST_F(RewardChangesTest, ChangesAtTheSameTimeAllCount) {
  cluster_.StartAll();
  Change("add", {"twin"}, {});
  std::vector<std::future<CommandResult>> commands;
  for (const char* change : {"small=2", "twin=3", "small=4", "twin=5"})
    commands.push_back(std::async(std::launch::async, [this, change] { return Reward("weight", {change}); }));
  for (auto& command : commands) {
    const CommandResult result = command.get();
    EXPECT_EQ(result.exit_code, 0) << result.output;
  }
  const v1::RewardSpec spec = cluster_.WaitForStatus([](const v1::Status&) { return true; }).reward_spec();
  EXPECT_EQ(spec.version(), 6);
  ASSERT_EQ(spec.terms_size(), 2);
  EXPECT_THAT(spec.terms(0).weight(), testing::AnyOf(2, 4));
  EXPECT_THAT(spec.terms(1).weight(), testing::AnyOf(3, 5));
}

TEST(RewardServersTest, AShadowChangesNoBitOfTheAdapter) {
  Cluster cluster({"rewards.terms.1={scorer: twin, weight: 0}",
                   "rewards.terms.2={scorer: away, weight: 0, endpoint: '127.0.0.1:1'}"});
  cluster.StartAll();
  cluster.ExpectToFinish();
  EXPECT_EQ(cluster.ExportedAdapter(), BaselineAdapter());
  const std::vector<nlohmann::json> updates = UpdatesOf(cluster.run_dir());
  ASSERT_EQ(updates.size(), 6u);
  EXPECT_NEAR(updates.back()["shadows"]["twin"].value("rank_correlation", 0.0), 1, 1e-9);
  EXPECT_EQ(updates.back()["shadows"]["away"], nlohmann::json({{"groups", 0}}));
}

TEST(RewardServersTest, KillingOneOfTwoServersLosesNoGroupAndChangesNoBit) {
  RewardProcess first, second;
  Cluster cluster({absl::StrCat("rewards.terms.0.endpoint=", first.endpoint(), ",", second.endpoint())});
  cluster.StartAll();
  cluster.WaitForUpdate(1);
  EXPECT_GT(first.images_scored(), 0);
  EXPECT_GT(second.images_scored(), 0);
  second.Kill();
  const v1::Status status =
      cluster.WaitForStatus([](const v1::Status& status) { return status.phase() == v1::FINISHED; });
  EXPECT_THAT(status.dropped(), IsEmpty());
  cluster.ExpectToFinish();
  EXPECT_EQ(cluster.ExportedAdapter(), BaselineAdapter());
}

TEST(RewardServersTest, AServerThatIsBackEmptyTakesPartAgainOnceItHasItsScorerAgain) {
  RewardProcess first;
  auto second = std::make_unique<RewardProcess>();
  const std::string address = second->endpoint();
  Cluster cluster({"train.updates=100000", "prompts.heldout=", "evaluation.every_updates=0",
                   absl::StrCat("rewards.terms.0.endpoint=", first.endpoint(), ",", address)});
  cluster.StartAll();
  cluster.WaitForUpdate(1);
  second->Kill();
  second = std::make_unique<RewardProcess>("", address);
  const absl::Time limit = absl::Now() + kPatience;
  while (second->images_scored() == 0 && absl::Now() < limit)
    cluster.WaitForUpdate(cluster.WaitForUpdate(1).update() + 1);
  EXPECT_GT(second->images_scored(), 0);
  EXPECT_THAT(cluster.WaitForUpdate(1).dropped(), IsEmpty());
}

// Killed in the middle of the run and started again without its scorer, which only the learner knows how to load.
TEST(RewardServersTest, TheOnlyServerIsBackEmptyAndTheRunLosesNoGroupAndNoBit) {
  auto rewards = std::make_unique<RewardProcess>();
  const std::string address = rewards->endpoint();
  Cluster cluster({absl::StrCat("rewards.terms.0.endpoint=", address)});
  cluster.StartAll();
  cluster.WaitForUpdate(2);
  rewards->Kill();
  rewards = std::make_unique<RewardProcess>("", address);
  const v1::Status status =
      cluster.WaitForStatus([](const v1::Status& status) { return status.phase() == v1::FINISHED; });
  EXPECT_THAT(status.dropped(), IsEmpty());
  EXPECT_THAT(status.warnings(), IsEmpty()) << "it is well again";
  EXPECT_GT(rewards->images_scored(), 0);
  cluster.ExpectToFinish();
  EXPECT_THAT(cluster.learner().log(), HasSubstr("loaded scorer small ("));
  EXPECT_EQ(cluster.ExportedAdapter(), BaselineAdapter());
}

// What was loaded while the run went on is known to the learner after it, too.
TEST(RewardServersTest, AScorerThatWasAddedToTheRunIsLoadedAgainByAResumedLearner) {
  auto rewards = std::make_unique<RewardProcess>();
  const std::string address = rewards->endpoint();
  Cluster cluster({"train.updates=100000", "prompts.heldout=", "evaluation.every_updates=0",
                   absl::StrCat("rewards.terms.0.endpoint=", address)});
  cluster.StartAll();
  cluster.WaitForUpdate(1);
  const CommandResult load =
      Flowawr({"reward", "load", "fresh=jpeg_compressibility,scale=3", "--server", address});
  EXPECT_EQ(load.exit_code, 0) << load.output;
  const CommandResult add = Flowawr({"reward", "add", "--learner", cluster.learner_endpoint(),
                                     absl::StrCat("fresh,endpoint=", address)});
  EXPECT_EQ(add.exit_code, 0) << add.output;
  ASSERT_TRUE(AwaitText(cluster.run_dir() + "/known_scorers.jsonl", "\"fresh\"", cluster.learner()));
  cluster.learner().Kill();
  rewards->Kill();
  rewards = std::make_unique<RewardProcess>("", address);
  cluster.StartLearner(/*is_resume=*/true);
  const uint64_t update = cluster.WaitForUpdate(1).update();
  const v1::Status status = cluster.WaitForUpdate(update + 3);
  EXPECT_EQ(status.reward_spec().terms_size(), 2);
  EXPECT_THAT(status.dropped(), Each(Key("swapped"))) << "but for groups that were under way when the term was added";
}

TEST(RewardServersTest, AScorerThatSomebodyUnloadedIsToldAndNotLoadedAgain) {
  RewardProcess rewards;
  Cluster cluster({"train.updates=100000", "prompts.heldout=", "evaluation.every_updates=0",
                   absl::StrCat("rewards.terms.0.endpoint=", rewards.endpoint())});
  cluster.StartAll();
  cluster.WaitForUpdate(1);
  const CommandResult unload = Flowawr({"reward", "unload", "small", "--server", rewards.endpoint(), "--force"});
  EXPECT_EQ(unload.exit_code, 0) << unload.output;
  cluster.WaitForStatus([](const v1::Status& status) {
    return status.warnings_size() == 1 && absl::StrContains(status.warnings(0), "small of the reward server") &&
           absl::StrContains(status.warnings(0), "was unloaded");
  });
  EXPECT_EQ(rewards.images_scored(), 0) << "it has none";
  const CommandResult load = Flowawr({"reward", "load", kSmall, "--server", rewards.endpoint()});
  EXPECT_EQ(load.exit_code, 0) << load.output;
  const uint64_t update = cluster.WaitForStatus([](const v1::Status& s) { return s.warnings().empty(); }).update();
  EXPECT_THAT(cluster.WaitForUpdate(update + 2).dropped(), IsEmpty());
}

// A swap to and fro under full load, with another scorer loaded and unloaded beside at both servers all the time.
TEST(RewardServersTest, SwapsUnderLoadBesideLoadsAndUnloadsFailNoRequest) {
  RewardProcess first, second;
  Cluster cluster({"train.updates=100000", "prompts.heldout=", "evaluation.every_updates=0", "rollout.max_staleness=2",
                   absl::StrCat("rewards.terms.0.endpoint=", first.endpoint())});
  cluster.StartAll();
  cluster.WaitForUpdate(1);
  std::atomic<bool> is_over = false;
  std::atomic<int> cycles = 0;
  std::vector<std::thread> changers;
  for (const std::string& address : {first.endpoint(), second.endpoint()}) {
    changers.emplace_back([&is_over, &cycles, address] {
      const auto stub = v1::RewardService::NewStub(MakeChannel(address, {}).value());
      v1::LoadScorerRequest load;
      load.set_name("beside");
      load.set_kind("jpeg_compressibility");
      v1::UnloadScorerRequest unload;
      unload.set_name("beside");
      while (!is_over) {
        v1::LoadScorerResponse loaded;
        v1::UnloadScorerResponse unloaded;
        const auto up = stub->LoadScorer(MakeContext(kPatience, {}).get(), load, &loaded);
        ASSERT_TRUE(up.ok()) << up.error_message();
        const auto down = stub->UnloadScorer(MakeContext(kPatience, {}).get(), unload, &unloaded);
        ASSERT_TRUE(down.ok()) << down.error_message();
        ++cycles;
      }
    });
  }
  for (int i = 0; i < 6; ++i) {
    const CommandResult swap = Flowawr({"reward", "swap", "--learner", cluster.learner_endpoint(), "small", "--to",
                                        i % 2 == 0 ? second.endpoint() : first.endpoint()});
    EXPECT_EQ(swap.exit_code, 0) << swap.output;
    cluster.WaitForUpdate(cluster.WaitForUpdate(1).update() + 2);
  }
  is_over = true;
  for (std::thread& changer : changers) changer.join();
  EXPECT_GT(cycles, 6);
  const v1::Status status = cluster.WaitForStatus([](const v1::Status&) { return true; });
  EXPECT_EQ(status.reward_spec().version(), 7);
  // Made again, or (duplicate) made again by another actor before the first one's came.
  for (const auto& [cause, count] : status.dropped())
    EXPECT_TRUE(cause == "swapped" || cause == "stale" || cause == "duplicate") << cause << " " << count;
  EXPECT_EQ(first.errors() + second.errors(), 0);
  EXPECT_GT(first.images_scored(), 0);
  EXPECT_GT(second.images_scored(), 0);
}

}  // namespace
}  // namespace flowawr
