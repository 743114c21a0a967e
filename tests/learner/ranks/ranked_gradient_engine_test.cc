#include "learner/ranks/ranked_gradient_engine.h"

#include <ATen/Parallel.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <prometheus/registry.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <torch/types.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cmath>
#include <cstdlib>
#include <memory>
#include <string>
#include <thread>
#include <tuple>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "common/diffusion/noise.h"
#include "learner/ranks/meeting_point.h"
#include "learner/ranks/rank_proof.h"
#include "learner/ranks/serve_rank.h"
#include "learner/ranks/share_message.h"
#include "tests/learner/algorithm/methods.h"
#include "tests/learner/drawn_groups.h"
#include "tests/testing/loopback_socket.h"

namespace flowawr {
namespace {

using ::testing::HasSubstr;

const std::vector<float> kSigmas = {1, 0.9f, 0.7f, 0.4f, 0};
constexpr absl::Duration kPatience = absl::Minutes(1);
constexpr char kToken[] = "sixteen-characters";

RankTokens Tokens(const std::string& token) {
  return [token] { return std::vector<std::string>{token}; };
}

// What every rank reads for itself.
struct Learner {
  explicit Learner(int ranks) {
    at::set_num_threads(1);
    config.mutable_train()->set_ranks(ranks);
  }

  std::unique_ptr<LocalGradientEngine> Engine() const {
    return std::make_unique<LocalGradientEngine>(
        std::vector<std::shared_ptr<const Transformer>>{transformer}, algorithm,
        LocalGradientEngine::Options{.threads = 1, .micro_batch = 1, .seed = config.seed()});
  }
  RankFacts Facts(int rank) const { return {.rank = rank, .devices = {"cpu"}, .config = GradientConfig(config)}; }

  v1::RunConfig config = MethodConfig([](v1::AlgorithmConfig& a) { ChooseFlowAwr(a); });
  std::shared_ptr<const Transformer> transformer =
      Transformer::Load("models/tiny-sd3/transformer", {at::kFloat, at::kCPU}).value();
  std::shared_ptr<const LoraLayout> layout = transformer->MakeLoraLayout({"attn.to_q"}, 4, 8).value();
  std::shared_ptr<const Algorithm> algorithm = MakeAlgorithm(config, kSigmas).value();
};

// Of DrawnGroup().
GroupShape ShapeOf(const TransformerConfig& model) {
  return {.channels = model.in_channels,
          .latent_height = 4,
          .latent_width = 8,
          .max_tokens = 6,
          .embed_dim = model.joint_attention_dim,
          .pooled_dim = model.pooled_projection_dim};
}

// On a device that fails at the first loss.
class OnAFailingDevice final : public Algorithm {
 public:
  explicit OnAFailingDevice(std::shared_ptr<const Algorithm> other) : other_(std::move(other)) {}

  void PrepareLease(v1::Lease& lease) const override { other_->PrepareLease(lease); }
  BatchSignals Signals(const at::Tensor& rewards, const std::vector<double>& weights) const override {
    return other_->Signals(rewards, weights);
  }
  bool Teaches(bool is_all_equal, bool is_old_current) const override {
    return other_->Teaches(is_all_equal, is_old_current);
  }
  Needs needs() const override { return other_->needs(); }
  int64_t rows_per_sample() const override { return other_->rows_per_sample(); }
  Rows MakeRows(const RowRange& range) const override { return other_->MakeRows(range); }
  RowLoss Loss(const Rows&, const Velocities&) const override {
    throw c10::AcceleratorError({__func__, __FILE__, __LINE__}, 700, "an illegal memory access was encountered");
  }

 private:
  const std::shared_ptr<const Algorithm> other_;
};

class RankedGradientEngineTest : public testing::Test {
 protected:
  RankedGradientEngineTest() {
    for (uint64_t id = 0; id < 4; ++id) {
      batch_.push_back(DrawnGroup(*one_.transformer, id, /*version=*/id == 2 ? 4 : 5, /*samples=*/3));
    }
  }
  ~RankedGradientEngineTest() override {
    engine_.reset();
    for (const pid_t rank : ranks_) {
      kill(rank, SIGKILL);
      waitpid(rank, nullptr, 0);
    }
  }

  LoraAdapter Adapter(uint64_t seed) const {
    return DrawnAdapter(one_.layout, seed);
  }
  GradientRequest Request() const {
    return {.update = 7,
            .batch = batch_,
            .signals = signals_,
            .is_all_equal = is_all_equal_,
            .current = current_,
            .old_adapter = [this](uint64_t version) { return version == 5 ? nullptr : &old_; },
            .is_cancelled = is_cancelled_};
  }

  void StartRank0(int ranks, absl::Duration timeout = absl::Minutes(2), bool waits = false,
                  const std::string& token = "") {
    ranks_of_run_ = ranks;
    auto meeting_point = MeetingPoint::Serve({"127.0.0.1", 0}, Tokens(token)).value();
    rank0_ = meeting_point->address();
    const Learner learner(ranks);
    engine_ = std::make_unique<RankedGradientEngine>(
        learner.Engine(), std::move(meeting_point),
        RankedGradientEngine::Options{.facts = learner.Facts(0),
                                      .tokens = Tokens(token),
                                      .timeout = timeout,
                                      .waits_for_lost = waits,
                                      .registry = &registry_});
  }

  // Another process: this test's program, which finds its part in the environment.
  pid_t StartRank(int rank, const std::string& change = "") {
    const pid_t parent = getpid();
    const std::string settings[] = {
        absl::StrCat("FLOWAWR_TEST_RANK=", rank), absl::StrCat("FLOWAWR_TEST_RANKS=", ranks_of_run_),
        absl::StrCat("FLOWAWR_TEST_PORT=", rank0_.port), absl::StrCat("FLOWAWR_TEST_CHANGE=", change)};
    std::vector<char*> environment;
    for (char** variable = environ; *variable != nullptr; ++variable) environment.push_back(*variable);
    for (const std::string& setting : settings) environment.push_back(const_cast<char*>(setting.c_str()));
    environment.push_back(nullptr);
    char program[] = "/proc/self/exe", filter[] = "--gtest_filter=RankProcess.DISABLED_Serves",
         disabled[] = "--gtest_also_run_disabled_tests";
    char* arguments[] = {program, filter, disabled, nullptr};
    const pid_t pid = fork();
    if (pid == 0) {
      prctl(PR_SET_PDEATHSIG, SIGKILL);
      if (getppid() == parent) execve(program, arguments, environment.data());
      _exit(127);
    }
    ranks_.push_back(pid);
    return pid;
  }

  v1::Status Status() const {
    v1::Status status;
    engine_->AddTo(status);
    return status;
  }
  bool AwaitState(int rank, v1::RankStatus::State state) const {
    const absl::Time limit = absl::Now() + kPatience;
    while (Status().ranks(rank).state() != state) {
      if (absl::Now() > limit) return false;
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
    }
    return true;
  }

  // What the page shows; NaN: nothing.
  double Metric(const std::string& name, const std::vector<prometheus::ClientMetric::Label>& labels = {}) const {
    for (const prometheus::MetricFamily& family : registry_.Collect()) {
      if (family.name != name) continue;
      for (const prometheus::ClientMetric& metric : family.metric)
        if (metric.label == labels)
          return family.type == prometheus::MetricType::Counter ? metric.counter.value : metric.gauge.value;
    }
    return NAN;
  }
  double Losses(int rank) const { return Metric("flowawr_learner_rank_losses_total", {{"rank", absl::StrCat(rank)}}); }
  double Awaited() const { return Metric("flowawr_learner_awaited_ranks"); }

  const Learner one_{1};
  prometheus::Registry registry_;  // outlives the engine
  std::vector<Group> batch_;
  const at::Tensor signals_ = InitialNoise(1, 0, 0, {4, 3});
  const std::vector<bool> is_all_equal_ = {false, true, false, false};
  const LoraAdapter current_ = Adapter(21), old_ = Adapter(22);
  std::atomic<bool> is_cancelled_ = false;
  HostPort rank0_;
  int ranks_of_run_ = 0;
  std::unique_ptr<RankedGradientEngine> engine_;
  std::vector<pid_t> ranks_;
};

void ExpectSame(const absl::StatusOr<BatchGradient>& got, const BatchGradient& wanted) {
  ASSERT_TRUE(got.ok()) << got.status();
  EXPECT_TRUE(at::equal(got->gradient, wanted.gradient));
  EXPECT_EQ(got->loss, wanted.loss);
  EXPECT_EQ(got->figures, wanted.figures);
  EXPECT_EQ(got->rows, wanted.rows);
  EXPECT_EQ(got->teaches, wanted.teaches);
}

TEST(RankProcess, DISABLED_Serves) {
  const char* rank = std::getenv("FLOWAWR_TEST_RANK");
  ASSERT_NE(rank, nullptr) << "started by other tests only";
  Learner learner(std::atoi(std::getenv("FLOWAWR_TEST_RANKS")));
  const std::string change = std::getenv("FLOWAWR_TEST_CHANGE");
  if (change == "seed") learner.config.set_seed(99);
  if (change == "device") learner.algorithm = std::make_shared<OnAFailingDevice>(learner.algorithm);
  const auto engine = learner.Engine();
  const absl::Status status =
      ServeRank(*engine, learner.layout,
                {.rank0 = {"127.0.0.1", std::atoi(std::getenv("FLOWAWR_TEST_PORT"))},
                 .facts = learner.Facts(std::atoi(rank)),
                 .shape = ShapeOf(learner.transformer->config()),
                 .tokens = Tokens(change == "token" ? kToken : "")},
                [] { return false; });
  _exit(static_cast<int>(status.raw_code()));
}

TEST_F(RankedGradientEngineTest, AnyNumberOfRanksGivesTheSameBits) {
  const BatchGradient wanted = one_.Engine()->Compute(Request()).value();
  for (const int ranks : {1, 2, 3, 4}) {
    StartRank0(ranks);
    for (int rank = 1; rank < ranks; ++rank) StartRank(rank);
    ExpectSame(engine_->Compute(Request()), wanted);
    for (int rank = 1; rank < ranks; ++rank) EXPECT_GT(Status().ranks(rank).rows_per_s(), 0) << rank << " of " << ranks;
    engine_->Finish();
    engine_.reset();
    for (const pid_t rank : ranks_) {
      int status = 0;
      waitpid(rank, &status, 0);
      EXPECT_EQ(status, 0);
    }
    ranks_.clear();
  }
}

TEST_F(RankedGradientEngineTest, ARankThatIsKilledOrStoppedChangesNoBitAndComesBack) {
  const BatchGradient wanted = one_.Engine()->Compute(Request()).value();
  StartRank0(3, absl::Seconds(2));
  const pid_t killed = StartRank(1), stopped = StartRank(2);
  ExpectSame(engine_->Compute(Request()), wanted);
  for (const int rank : {1, 2}) EXPECT_EQ(Losses(rank), 0) << rank;
  kill(killed, SIGKILL);
  kill(stopped, SIGSTOP);
  ExpectSame(engine_->Compute(Request()), wanted);
  EXPECT_EQ(Status().ranks(1).state(), v1::RankStatus::LOST);
  EXPECT_EQ(Status().ranks(2).state(), v1::RankStatus::LOST);
  EXPECT_THAT(Status().ranks(1).message(), HasSubstr("rank 1 at 127.0.0.1 is lost"));
  EXPECT_EQ(Status().warnings_size(), 2);
  for (const int rank : {1, 2}) EXPECT_EQ(Losses(rank), 1) << rank;
  kill(stopped, SIGCONT);
  StartRank(1);
  EXPECT_TRUE(AwaitState(1, v1::RankStatus::READY));
  EXPECT_TRUE(AwaitState(2, v1::RankStatus::READY));
  ExpectSame(engine_->Compute(Request()), wanted);
  EXPECT_EQ(Status().warnings_size(), 0);
  for (const int rank : {1, 2}) EXPECT_EQ(Losses(rank), 1) << "who is back is no second loss: " << rank;
}

TEST_F(RankedGradientEngineTest, WaitsForALostRankWhenToldTo) {
  const BatchGradient wanted = one_.Engine()->Compute(Request()).value();
  StartRank0(2, absl::Seconds(20), /*waits=*/true);
  const pid_t first = StartRank(1);
  ExpectSame(engine_->Compute(Request()), wanted);
  kill(first, SIGKILL);
  ASSERT_TRUE(AwaitState(1, v1::RankStatus::LOST));
  EXPECT_EQ(Awaited(), 0);
  std::thread update([&] { ExpectSame(engine_->Compute(Request()), wanted); });
  const absl::Time limit = absl::Now() + kPatience;
  while (Awaited() != 1 && absl::Now() < limit) std::this_thread::sleep_for(std::chrono::milliseconds(20));
  EXPECT_EQ(Awaited(), 1);
  StartRank(1);
  update.join();
  EXPECT_EQ(Awaited(), 0);
  EXPECT_GT(Status().ranks(1).rows_per_s(), 0);
}

TEST_F(RankedGradientEngineTest, AWaitForRanksCanBeCancelled) {
  StartRank0(2, absl::Seconds(20), /*waits=*/true);
  is_cancelled_ = true;
  EXPECT_TRUE(absl::IsCancelled(engine_->Compute(Request()).status()));
}

// Longer than the test may take: what waits for it waits for ever.
constexpr absl::Duration kForEver = absl::Hours(24);

TEST_F(RankedGradientEngineTest, AFrozenRankHoldsUpNoCancelledUpdateAndNoEnd) {
  StartRank0(2, kForEver, /*waits=*/true);
  const pid_t frozen = StartRank(1);
  ASSERT_TRUE(AwaitState(1, v1::RankStatus::READY));
  kill(frozen, SIGSTOP);
  std::thread canceller([&] { is_cancelled_ = true; });
  EXPECT_TRUE(absl::IsCancelled(engine_->Compute(Request()).status()));
  canceller.join();
  engine_.reset();
}

TEST_F(RankedGradientEngineTest, ARankWhoseDeviceFailsEndsAndIsLostWithItsWords) {
  const BatchGradient wanted = one_.Engine()->Compute(Request()).value();
  StartRank0(2);
  const pid_t failing = StartRank(1, "device");
  ASSERT_TRUE(AwaitState(1, v1::RankStatus::READY));
  ExpectSame(engine_->Compute(Request()), wanted);
  EXPECT_EQ(Status().ranks(1).state(), v1::RankStatus::LOST);
  EXPECT_THAT(Status().ranks(1).message(), HasSubstr("an illegal memory access"));
  int status = 0;
  ASSERT_GT(waitpid(failing, &status, 0), 0);
  ranks_.clear();
  EXPECT_EQ(WEXITSTATUS(status), static_cast<int>(absl::StatusCode::kAborted));  // 75 to the shell: start it anew
}

TEST_F(RankedGradientEngineTest, OnlyWhoKnowsTheTokenIsARank) {
  StartRank0(2, absl::Minutes(2), /*waits=*/false, kToken);
  int status = 0;
  ASSERT_GT(waitpid(StartRank(1), &status, 0), 0);
  ranks_.clear();
  EXPECT_EQ(WEXITSTATUS(status), static_cast<int>(absl::StatusCode::kPermissionDenied));
  StartRank(1, "token");
  EXPECT_TRUE(AwaitState(1, v1::RankStatus::READY));
}

TEST_F(RankedGradientEngineTest, WhoseNumberIsTakenHearsItOnceItHasProvedTheToken) {
  StartRank0(2, absl::Minutes(2), /*waits=*/false, kToken);
  StartRank(1, "token");
  ASSERT_TRUE(AwaitState(1, v1::RankStatus::READY));
  const auto join = [&](const std::string& token) -> absl::StatusOr<std::string> {
    RankFacts facts = Learner(2).Facts(1);
    facts.host = facts.rank0_host = "127.0.0.1";
    facts.session = "second " + token;
    const auto reached = MeetingPoint::Reach(rank0_, Tokens(token), kPatience);
    if (!reached.ok()) return reached.status();
    EXPECT_TRUE((*reached)->SayHello(SerializeFacts(facts)).ok());
    return (*reached)->AwaitAnswer(facts.session, kPatience);
  };
  const absl::Status stranger = join("another-of-sixteen").status();
  EXPECT_TRUE(absl::IsPermissionDenied(stranger)) << stranger;
  EXPECT_THAT(join(kToken).value(), HasSubstr("rank 1 is here already, from 127.0.0.1"));
  EXPECT_EQ(Status().ranks(1).state(), v1::RankStatus::READY);
}

TEST_F(RankedGradientEngineTest, JunkWritesNothingBesideTheLog) {
  StartRank0(2);
  const std::string junk(4096, '\xff');  // also a text of 2^64 - 1 bytes
  testing::internal::CaptureStderr();
  for (int i = 0; i < 3; ++i) {
    const int fd = ConnectTo(rank0_.port);
    EXPECT_EQ(send(fd, junk.data(), junk.size(), MSG_NOSIGNAL), static_cast<ssize_t>(junk.size()));
    char byte = 0;
    while (recv(fd, &byte, 1, 0) > 0) {
    }
    close(fd);
  }
  EXPECT_EQ(testing::internal::GetCapturedStderr(), "");
  StartRank(1);
  EXPECT_TRUE(AwaitState(1, v1::RankStatus::READY));
}

TEST_F(RankedGradientEngineTest, BadHellosKeepNobodyOut) {
  StartRank0(2);
  const auto stranger = MeetingPoint::Reach(rank0_, Tokens(""), kPatience).value();
  for (const std::string& hello :
       {std::string("hello"), std::string(), std::string(2 << 20, 'x'), std::string("{\"rank\":1}")})
    ASSERT_TRUE(stranger->SayHello(hello).ok());
  StartRank(1);
  EXPECT_TRUE(AwaitState(1, v1::RankStatus::READY));
}

// A rank that was let in and then answers anything: it is lost, and the bits are those of rank 0 alone.
TEST_F(RankedGradientEngineTest, WhatABrokenRankAnswersIsAddedToNothing) {
  const BatchGradient wanted = one_.Engine()->Compute(Request()).value();
  StartRank0(2);
  const std::vector<RankMessage> answers = {
      {.word = RankWord::kResult},
      {.word = RankWord::kResult, .text = "{}"},
      {.word = RankWord::kResult, .text = std::string(1 << 20, '[')},
      {.word = RankWord::kResult,
       .text = R"({"lists":[],"chunks":[]})",
       .vectors = {{"node/0/24", at::ones({one_.layout->size()})}}},
      {.word = RankWord::kResult, .vectors = {{"node/12/24", at::ones({one_.layout->size() * 100})}}},
      {.word = RankWord::kGoOn},
      {.word = static_cast<RankWord>(77), .text = "?"},
  };
  for (const RankMessage& answer : answers) {
    std::thread rank([&] {
      RankFacts facts = Learner(2).Facts(1);
      facts.host = facts.rank0_host = "127.0.0.1";
      facts.session = absl::StrCat("broken-", &answer - answers.data());
      const auto reached = MeetingPoint::Reach(rank0_, Tokens(""), kPatience).value();
      const std::string hello = SerializeFacts(facts);
      ASSERT_TRUE(reached->SayHello(hello).ok());
      ASSERT_TRUE(reached->AwaitAnswer(facts.session, kPatience).ok());
      const auto link = reached->Link(facts.session, /*is_rank0=*/false, "127.0.0.1", kPatience).value();
      ASSERT_TRUE(ProveToRank0(*link, Tokens(""), hello, kPatience).ok());
      while (true) {
        const auto message = link->Receive(kPatience, kShareBound);
        if (!message.ok()) return;
        if (!link->Send(message->word == RankWord::kPing ? RankMessage() : answer, kPatience).ok()) return;
      }
    });
    ASSERT_TRUE(AwaitState(1, v1::RankStatus::READY));
    ExpectSame(engine_->Compute(Request()), wanted);
    EXPECT_EQ(Status().ranks(1).state(), v1::RankStatus::LOST);
    rank.join();
  }
}

TEST_F(RankedGradientEngineTest, RefusesARankOfAnotherConfigurationOrNumber) {
  StartRank0(2);
  for (const auto& [rank, change, code] : {std::tuple(1, "seed", absl::StatusCode::kFailedPrecondition),
                                           std::tuple(2, "", absl::StatusCode::kInvalidArgument)}) {
    int status = 0;
    ASSERT_GT(waitpid(StartRank(rank, change), &status, 0), 0);
    ranks_.clear();
    EXPECT_EQ(WEXITSTATUS(status), static_cast<int>(code));
  }
  EXPECT_THAT(Status().ranks(1).message(), HasSubstr("seed"));
}

}  // namespace
}  // namespace flowawr
