#include "reward_server/scorers/judge_scorer.h"

#include <cstdlib>
#include <nlohmann/json.hpp>
#include <random>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/time/clock.h"
#include "common/base/clock.h"
#include "common/base/file.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/reward_server/scorers/test_items.h"
#include "tests/system/process.h"
#include "tests/testing/python.h"
#include "tests/testing/temp_folder.h"

namespace flowawr {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

using Options = std::map<std::string, std::string>;

// One server for all tests: each uses models of its own.
class JudgeScorerTest : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    folder_ = new TempFolder;
    server_ = new Process({SourceFolder() + "/.venv/bin/python",
                           SourceFolder() + "/tests/reward_server/scorers/judge_server.py", folder_->path()},
                          folder_->path() + "/log");
    const absl::Time limit = absl::Now() + kPatience;
    absl::StatusOr<std::string> port;
    while (!(port = ReadFile(folder_->path() + "/port")).ok() && absl::Now() < limit &&
           !server_->WaitForExit(absl::Milliseconds(20))) {
    }
    ASSERT_TRUE(port.ok()) << server_->log();
    url_ = absl::StrCat("http://127.0.0.1:", *port, "/v1");
  }
  static void TearDownTestSuite() {
    delete server_;
    delete folder_;
  }

  static std::shared_ptr<Scorer> Load(const std::string& model, Options options = {}) {
    options.insert({{"url", url_}, {"model", model}, {"retries", "0"}});
    ScorerOptions given(options);
    auto scorer = JudgeScorer::Load(given, {});
    EXPECT_TRUE(scorer.ok()) << scorer.status();
    return scorer.value_or(nullptr);
  }
  static absl::Status WhyNotLoaded(const Options& options) {
    ScorerOptions given(options);
    return JudgeScorer::Load(given, {}).status();
  }
  static v1::ScoreResult ScoreWith(Scorer& scorer, const v1::ScoreItem& item, StillWanted wanted = kAlwaysWanted) {
    const v1::ScoreItem* const pointer = &item;
    return scorer.Score({&pointer, 1}, wanted)[0];
  }
  static v1::ScoreItem Bright() { return MakeItem(Plain(24, 32, '\xcc'), "a white wall"); }  // 204: rated 8
  static std::vector<nlohmann::json> RequestsTo(const std::string& model) {
    std::vector<nlohmann::json> requests;
    for (const absl::string_view line : absl::StrSplit(ReadFile(folder_->path() + "/requests").value_or(""), '\n'))
      if (auto request = nlohmann::json::parse(line.begin(), line.end(), nullptr, false);
          request.is_object() && request["body"]["model"] == model)
        requests.push_back(std::move(request));
    return requests;
  }

  static TempFolder* folder_;
  static Process* server_;
  static std::string url_;
};
TempFolder* JudgeScorerTest::folder_ = nullptr;
Process* JudgeScorerTest::server_ = nullptr;
std::string JudgeScorerTest::url_;

TEST_F(JudgeScorerTest, RewardsByTheNumberOfTheAnswer) {
  const auto scorer = Load("good", {{"prompt_price", "10"}, {"completion_price", "100"}});
  const v1::ScoreResult result = ScoreWith(*scorer, Bright());
  ASSERT_TRUE(result.has_reward()) << result.DebugString();
  EXPECT_DOUBLE_EQ(result.reward(), 0.8);
  EXPECT_THAT(result.details().at("answer"), HasSubstr("Rating: 8.0/10"));
  EXPECT_EQ(result.details().at("prompt_tokens"), "100");
  EXPECT_EQ(result.details().at("completion_tokens"), "20");
  EXPECT_EQ(result.details().at("cost"), "0.003");
  const std::map<std::string, double> used = scorer->TakeUse();
  EXPECT_EQ(used.at("requests"), 1);
  EXPECT_EQ(used.at("prompt_tokens"), 100);
  EXPECT_DOUBLE_EQ(used.at("cost"), 0.003);
  EXPECT_TRUE(scorer->TakeUse().empty());
  EXPECT_EQ(scorer->parallel_calls(), 4);
  EXPECT_THAT(scorer->version(), HasSubstr("judge good prompt "));
}

TEST_F(JudgeScorerTest, RewardsByAFieldOfTheAnswersJson) {
  EXPECT_DOUBLE_EQ(ScoreWith(*Load("json", {{"answer", "json:score"}}), Bright()).reward(), 0.8);
  const auto missing = ScoreWith(*Load("json", {{"answer", "json:rating"}}), Bright());
  EXPECT_EQ(missing.error().kind(), v1::ScoreError::BROKEN);
  EXPECT_THAT(missing.error().message(), HasSubstr("has no \"rating\""));
}

TEST_F(JudgeScorerTest, FillsTheTemplateAndMergesTheBody) {
  const std::string prompt = folder_->Write("prompt.txt", "Is {metadata:target} written? {prompt} {\"score\": 3}");
  const std::string body = folder_->Write("body.json", R"({"temperature": null, "max_completion_tokens": 9})");
  const auto scorer = Load("good", {{"prompt_file", prompt}, {"body_file", body}});
  v1::ScoreItem item = Bright();
  EXPECT_EQ(ScoreWith(*scorer, item).error().kind(), v1::ScoreError::BAD_INPUT);
  EXPECT_TRUE(absl::IsInvalidArgument(scorer->CheckPrompt(item.prompt(), item.metadata())));
  (*item.mutable_metadata())["target"] = "CAT";
  EXPECT_TRUE(scorer->CheckPrompt(item.prompt(), item.metadata()).ok());
  ASSERT_TRUE(ScoreWith(*scorer, item).has_reward());
  const nlohmann::json asked = RequestsTo("good").back();
  EXPECT_EQ(asked["path"], "/v1/chat/completions");
  EXPECT_EQ(asked["body"]["messages"], "Is CAT written? a white wall {\"score\": 3}");
  EXPECT_FALSE(asked["body"].contains("temperature"));
  EXPECT_EQ(asked["body"]["max_completion_tokens"], 9);
  EXPECT_TRUE(ScoreWith(*scorer, scorer->ProbeItem()).has_reward()) << "the probe has the metadata that is named";
}

TEST_F(JudgeScorerTest, TypesWhateverTheEndpointDoesWrong) {
  const struct {
    std::string model, says;
  } cases[] = {
      {"no-number", "holds no number: \"What a lovely picture.\""},
      {"cut", "raise max_tokens"},
      {"beyond", "it rates 11, outside of 0 to 10"},
      {"html", "is not JSON: \"<!doctype html>"},
      {"half", "is not JSON"},
      {"elsewhere", "HTTP 302"},
      {"endless", "longer than 4 MiB"},
      {"unheard-of", "HTTP 404: no model unheard-of"},
  };
  for (const auto& c : cases) {
    const v1::ScoreResult result = ScoreWith(*Load(c.model), Bright());
    EXPECT_EQ(result.error().kind(), v1::ScoreError::BROKEN) << c.model;
    EXPECT_THAT(result.error().message(), HasSubstr(c.says)) << c.model;
  }
}

TEST_F(JudgeScorerTest, WaitsAsLongAsItIsToldAndAsksAgain) {
  const auto scorer = Load("busy-once", {{"retries", "1"}});
  EXPECT_DOUBLE_EQ(ScoreWith(*scorer, Bright()).reward(), 0.8);
  const auto requests = RequestsTo("busy-once");
  ASSERT_EQ(requests.size(), 2);
  EXPECT_GE(requests[1]["time"].get<double>() - requests[0]["time"].get<double>(), 0.9);
  EXPECT_EQ(scorer->TakeUse().at("retries"), 1);
}

TEST_F(JudgeScorerTest, HandsALongWaitOnToItsCaller) {
  const v1::ScoreResult busy = ScoreWith(*Load("busy", {{"retries", "5"}}), Bright());
  EXPECT_EQ(busy.error().kind(), v1::ScoreError::OVERLOADED);
  EXPECT_THAT(busy.error().message(), HasSubstr("HTTP 429: slow down"));
  EXPECT_EQ(busy.error().retry_after_s(), 3600);
  EXPECT_EQ(RequestsTo("busy").size(), 1);
  const v1::ScoreResult dated = ScoreWith(*Load("busy-until-a-date"), Bright());
  EXPECT_EQ(dated.error().kind(), v1::ScoreError::OVERLOADED);
  EXPECT_NEAR(dated.error().retry_after_s(), 1800, 30);
}

TEST_F(JudgeScorerTest, AsksAgainWhatMayPassButNotForEver) {
  EXPECT_DOUBLE_EQ(ScoreWith(*Load("shaky", {{"retries", "2"}}), Bright()).reward(), 0.8);
  EXPECT_EQ(RequestsTo("shaky").size(), 3);
  const auto html = ScoreWith(*Load("html", {{"retries", "1"}}), Bright());
  EXPECT_EQ(html.error().kind(), v1::ScoreError::BROKEN);
}

TEST_F(JudgeScorerTest, TakesAnEndpointThatIsAwayForBusy) {
  const auto result = ScoreWith(*Load("hangs-up", {{"retries", "0"}}), Bright());
  EXPECT_EQ(result.error().kind(), v1::ScoreError::OVERLOADED) << "so that a start of the server is tried again";
  EXPECT_THAT(result.error().message(), HasSubstr("gave no answer"));
}

TEST_F(JudgeScorerTest, EndsAnAnswerThatNeverComes) {
  const absl::Time start = MonotonicNow();
  const v1::ScoreResult result = ScoreWith(*Load("silent", {{"timeout_s", "1"}, {"retries", "3"}}), Bright());
  EXPECT_EQ(result.error().kind(), v1::ScoreError::BROKEN);
  EXPECT_THAT(result.error().message(), HasSubstr("gave no answer"));
  EXPECT_EQ(RequestsTo("silent").size(), 1) << "a time-out is not asked again: the time is over";
  // Nobody waits any more: it notices.
  const auto soon_unwanted = [until = MonotonicNow() + absl::Milliseconds(300)](size_t) {
    return MonotonicNow() < until ? absl::OkStatus() : absl::CancelledError("nobody waits");
  };
  EXPECT_THAT(ScoreWith(*Load("silent"), Bright(), soon_unwanted).error().message(), HasSubstr("nobody waits"));
  EXPECT_LT(MonotonicNow() - start, absl::Seconds(15));
}

TEST_F(JudgeScorerTest, KeepsToItsPace) {
  const auto scorer = Load("good", {{"per_minute", "120"}});
  const absl::Time start = MonotonicNow();
  const v1::ScoreItem item = Bright();
  const std::vector<const v1::ScoreItem*> items(3, &item);
  for (const v1::ScoreResult& result : scorer->Score(items, kAlwaysWanted)) EXPECT_TRUE(result.has_reward());
  EXPECT_GE(MonotonicNow() - start, absl::Milliseconds(990));
  const auto impatient = [until = MonotonicNow() + absl::Milliseconds(50)](size_t) {
    return MonotonicNow() < until ? absl::OkStatus() : absl::DeadlineExceededError("takes too long");
  };
  const v1::ScoreResult late = ScoreWith(*scorer, item, impatient);
  EXPECT_EQ(late.error().kind(), v1::ScoreError::OVERLOADED);
  EXPECT_GT(late.error().retry_after_s(), 0);
}

TEST_F(JudgeScorerTest, ImagesThatAreGivenUpTakeNoTurn) {
  const auto scorer = Load("good", {{"per_minute", "60"}});
  ASSERT_TRUE(ScoreWith(*scorer, Bright()).has_reward());
  const auto unwanted = [](size_t) { return absl::DeadlineExceededError("takes too long"); };
  for (int i = 0; i < 120; ++i) EXPECT_TRUE(ScoreWith(*scorer, Bright(), unwanted).has_error());
  const auto patient = [until = MonotonicNow() + absl::Seconds(30)](size_t) {
    return MonotonicNow() < until ? absl::OkStatus() : absl::DeadlineExceededError("takes too long");
  };
  EXPECT_TRUE(ScoreWith(*scorer, Bright(), patient).has_reward());
}

TEST_F(JudgeScorerTest, SendsALargePictureWithoutAskingFirst) {
  std::mt19937 random(1);
  Image noise = Plain(600, 800);
  for (char& byte : noise.rgb) byte = static_cast<char>(random());
  ASSERT_TRUE(ScoreWith(*Load("good"), MakeItem(noise, "noise")).has_reward());
  EXPECT_TRUE(RequestsTo("good").back()["expect"].is_null());
}

TEST_F(JudgeScorerTest, SendsTheKeyAndNeverShowsIt) {
  const std::string key = folder_->Write("key", "sk-secret\n");
  const auto refused = ScoreWith(*Load("tells-the-key", {{"api_key_file", key}}), Bright());
  EXPECT_THAT(refused.error().message(), AllOf(HasSubstr("HTTP 401"), HasSubstr("***"), Not(HasSubstr("sk-secret"))));
  for (const char* model : {"repeats-the-key", "repeats-the-key-in-html"}) {
    const v1::ScoreResult repeated = ScoreWith(*Load(model, {{"api_key_file", key}}), Bright());
    EXPECT_THAT(repeated.error().message(), AllOf(HasSubstr("***"), Not(HasSubstr("sk-secret"))));
    for (const auto& [name, detail] : repeated.details()) EXPECT_THAT(detail, Not(HasSubstr("sk-secret")));
  }
  ::setenv("FLOWAWR_TEST_JUDGE_KEY", "sk-other", 1);
  ScoreWith(*Load("good", {{"api_key_env", "FLOWAWR_TEST_JUDGE_KEY"}}), Bright());
  EXPECT_EQ(RequestsTo("good").back()["key"], "Bearer sk-other");
}

TEST_F(JudgeScorerTest, SaysWhyItCannotBeLoaded) {
  const Options good = {{"url", "http://127.0.0.1:1/v1"}, {"model", "m"}};
  const struct {
    Options wrong;
    std::string says;
  } cases[] = {
      {{{"url", ""}}, "option url"},
      {{{"url", "ftp://x/v1"}}, "option url"},
      {{{"url", "http://me:secret@x/v1"}}, "do not belong"},
      {{{"model", ""}}, "option model"},
      {{{"answer", "third_number"}}, "last_number or json:FIELD"},
      {{{"lowest", "10"}}, "below highest"},
      {{{"lowest", "nan"}}, "a number from"},
      {{{"prompt", "{metadata:x"}}, "without its name or its }"},
      {{{"prompt_file", "/nowhere"}}, "/nowhere"},
      {{{"api_key_env", "FLOWAWR_NO_SUCH_VARIABLE"}}, "holds no key"},
      {{{"api_key", "sk-1"}}, "unknown option api_key"},
      {{{"concurrent", "0"}}, "from 1 to 64"},
  };
  for (const auto& c : cases) {
    Options options = c.wrong;
    options.insert(good.begin(), good.end());
    EXPECT_THAT(std::string(WhyNotLoaded(options).message()), HasSubstr(c.says));
  }
}

TEST(JudgeAnswerTest, ReadsRatingsAndNothingElse) {
  const AnswerRule rule;
  const struct {
    std::string answer;
    double reward;
  } good[] = {{"8", .8},      {"7.5", .75}, {"I count 3 cats. 8/10", .8}, {"8 out of 10.", .8},
              {"**10**", 1.}, {"0", 0.},    {"Score: 1e1", 1.},           {"+4 / 10", .4},
              {"8 (out of 10)", .8}, {"Rating: 8 [/10]", .8}};
  for (const auto& c : good) {
    const auto reward = RewardOfAnswer(c.answer, rule);
    ASSERT_TRUE(reward.ok()) << c.answer << ": " << reward.status();
    EXPECT_DOUBLE_EQ(*reward, c.reward) << c.answer;
  }
  for (const char* answer : {"", "none", "-1", "10.5", "8/20", "8 (out of 20)", "3 of a kind: 12", "1e999", "nan", "inf"})
    EXPECT_FALSE(RewardOfAnswer(answer, rule).ok()) << answer;
}

TEST(JudgeAnswerTest, ReadsFieldsOfWhateverJsonIsAround) {
  const AnswerRule rule = {.field = "s", .lowest = 1, .highest = 5};
  EXPECT_DOUBLE_EQ(RewardOfAnswer("{\"s\": 3}", rule).value(), .5);
  EXPECT_DOUBLE_EQ(RewardOfAnswer("so: ```{\"a\": {\"b\": 1}, \"s\": \"5\"}``` !", rule).value(), 1);
  for (const char* answer :
       {"3", "{\"s\": 3", "{\"s\": null}", "{\"s\": \"many\"}", "{\"s\": 0}", "[3]", "{\"s\": \"nan\"}"})
    EXPECT_FALSE(RewardOfAnswer(answer, rule).ok()) << answer;
}

}  // namespace
}  // namespace flowawr
