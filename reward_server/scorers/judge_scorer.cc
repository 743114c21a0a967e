#include "reward_server/scorers/judge_scorer.h"

#include <algorithm>
#include <cstdlib>
#include <nlohmann/json.hpp>
#include <optional>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/time/clock.h"
#include "common/base/clock.h"
#include "common/base/file.h"
#include "common/base/sha256.h"
#include "common/base/status.h"
#include "common/rpc/retry.h"
#include "common/tensor/image.h"

namespace flowawr {
namespace {

using Json = nlohmann::json;

constexpr size_t kMaxFileBytes = 1 << 20;
constexpr char kPath[] = "/chat/completions";
constexpr char kDefaultPrompt[] =
    "Rate how well the picture shows what this text describes, from 0 (nothing of it) to 10 (all of it, and well "
    "made). End your answer with the number.\n\nText: {prompt}";
// Between looks at whether the answer is still wanted.
constexpr absl::Duration kPoll = absl::Milliseconds(100);
// A longer Retry-After is handed on to the caller, who can wait better.
constexpr absl::Duration kLongestPause = absl::Seconds(20);

bool IsPassing(int code) { return code == 408 || code == 429 || code >= 500; }
// The endpoint, or what stands before it, is away or too busy: later it may do.
bool IsOverload(int code) { return code == 429 || (code >= 502 && code <= 504); }

// The value of the option NAME, or of the file that NAME_file names; empty: neither.
absl::StatusOr<std::string> TextOrFile(ScorerOptions& options, const std::string& name) {
  const std::string text = options.Text(name, ""), file = options.Text(name + "_file", "");
  if (file.empty()) return text;
  if (!text.empty()) return absl::InvalidArgumentError(absl::StrCat("give ", name, " or ", name, "_file, not both"));
  return ReadFile(file, kMaxFileBytes);
}

absl::StatusOr<std::string> ReadKey(ScorerOptions& options) {
  const std::string variable = options.Text("api_key_env", ""), file = options.Text("api_key_file", "");
  if (variable.empty() && file.empty()) return "";
  if (!variable.empty() && !file.empty())
    return absl::InvalidArgumentError("give api_key_env or api_key_file, not both");
  std::string key;
  if (!file.empty()) {
    FLOWAWR_ASSIGN_OR_RETURN(key, ReadFile(file, kMaxFileBytes));
  } else if (const char* value = std::getenv(variable.c_str()); value != nullptr) {
    key = value;
  }
  key = std::string(absl::StripAsciiWhitespace(key));
  const bool is_good =
      !key.empty() && std::all_of(key.begin(), key.end(), [](char c) { return absl::ascii_isgraph(c); });
  if (is_good) return key;
  return absl::InvalidArgumentError(absl::StrCat(
      file.empty() ? absl::StrCat("the environment variable ", variable) : file,
      key.empty() ? " holds no key" : " holds more than one word, which cannot be a key"));
}

absl::StatusOr<std::string> UrlOf(std::string url) {
  if (!absl::StartsWith(url, "http://") && !absl::StartsWith(url, "https://"))
    return absl::InvalidArgumentError(
        "option url: expected http(s)://HOST[:PORT]/v1, of an OpenAI-compatible endpoint");
  if (absl::StrContains(url, '@'))
    return absl::InvalidArgumentError("option url: a name and password do not belong into it; see api_key_env");
  while (!url.empty() && url.back() == '/') url.pop_back();
  return absl::EndsWith(url, kPath) ? url : url + kPath;
}

absl::StatusOr<AnswerRule> RuleOf(ScorerOptions& options) {
  AnswerRule rule;
  const std::string answer = options.Text("answer", "last_number");
  rule.lowest = options.Number("lowest", rule.lowest, -1e6, 1e6);
  rule.highest = options.Number("highest", rule.highest, -1e6, 1e6);
  if (absl::StartsWith(answer, "json:") && answer.size() > 5) {
    rule.field = answer.substr(5);
  } else if (answer != "last_number") {
    return absl::InvalidArgumentError(
        absl::StrCat("option answer=", answer, ": expected last_number or json:FIELD"));
  }
  if (rule.lowest >= rule.highest) return absl::InvalidArgumentError("option lowest must lie below highest");
  return rule;
}

}  // namespace

absl::StatusOr<std::shared_ptr<Scorer>> JudgeScorer::Load(ScorerOptions& options, const ScorerContext& /*context*/) {
  JudgeOptions judge;
  const std::string url = options.Text("url", "");
  judge.model = options.Text("model", "");
  judge.concurrent = options.Integer("concurrent", judge.concurrent, 1, 64);
  judge.per_minute = options.Integer("per_minute", 0, 0, 1'000'000);
  judge.timeout = absl::Seconds(options.Integer("timeout_s", 25, 1, 3600));
  judge.retries = options.Integer("retries", judge.retries, 0, 20);
  judge.max_tokens = options.Integer("max_tokens", judge.max_tokens, 1, 1'000'000);
  judge.prompt_price = options.Number("prompt_price", 0, 0, 1e6);
  judge.completion_price = options.Number("completion_price", 0, 0, 1e6);
  FLOWAWR_ASSIGN_OR_RETURN(judge.rule, RuleOf(options));
  const std::string extra_file = options.Text("body_file", "");
  FLOWAWR_ASSIGN_OR_RETURN(std::string text, TextOrFile(options, "prompt"));
  FLOWAWR_ASSIGN_OR_RETURN(judge.api_key, ReadKey(options));
  FLOWAWR_RETURN_IF_ERROR(options.Finish());
  FLOWAWR_ASSIGN_OR_RETURN(judge.url, UrlOf(url));
  if (judge.model.empty()) return absl::InvalidArgumentError("option model: name the model, as the endpoint calls it");
  if (!extra_file.empty()) {
    FLOWAWR_ASSIGN_OR_RETURN(judge.extra, ReadFile(extra_file, kMaxFileBytes));
    if (!Json::parse(judge.extra, nullptr, /*allow_exceptions=*/false).is_object())
      return absl::InvalidArgumentError(
          absl::StrCat(extra_file, ": expected a JSON object, to merge into the requests"));
  }
  if (text.empty()) text = kDefaultPrompt;
  FLOWAWR_ASSIGN_OR_RETURN(JudgePrompt prompt, JudgePrompt::Parse(text));
  return std::shared_ptr<Scorer>(new JudgeScorer(std::move(judge), std::move(prompt), text));
}

JudgeScorer::JudgeScorer(JudgeOptions options, JudgePrompt prompt, const std::string& text)
    : options_(std::move(options)),
      prompt_(std::move(prompt)),
      version_(absl::StrCat("judge ", options_.model, " prompt ",
                            HexSha256(absl::StrCat(text, "\n", options_.extra)).substr(0, 8))) {}

std::vector<v1::ScoreResult> JudgeScorer::Score(absl::Span<const v1::ScoreItem* const> items,
                                                StillWanted still_wanted) {
  std::vector<v1::ScoreResult> results;
  for (size_t i = 0; i < items.size(); ++i)
    results.push_back(ScoreOne(*items[i], [&still_wanted, i] { return still_wanted(i); }));
  return results;
}

absl::Status JudgeScorer::CheckPrompt(const std::string& prompt, const PromptMetadata& metadata) const {
  return prompt_.Fill(prompt, {metadata.begin(), metadata.end()}).status();
}

v1::ScoreItem JudgeScorer::ProbeItem() const {
  v1::ScoreItem item = Scorer::ProbeItem();
  for (const std::string& field : prompt_.fields()) (*item.mutable_metadata())[field] = "A";
  return item;
}

v1::ScoreResult JudgeScorer::ScoreOne(const v1::ScoreItem& item, KeepGoing keep_going) {
  const auto text = prompt_.Fill(item.prompt(), {item.metadata().begin(), item.metadata().end()});
  if (!text.ok()) return ErrorResult(v1::ScoreError::BAD_INPUT, std::string(text.status().message()));
  const auto body = BodyFor(item, *text);
  if (!body.ok()) return ErrorResult(v1::ScoreError::BAD_INPUT, std::string(body.status().message()));
  const Attempt attempt = AskAgainAndAgain(*body, keep_going);
  if (attempt.failure == nullptr) return ResultOf(attempt.completion);
  v1::ScoreResult result = ErrorResult(attempt.failure->kind, WithoutKey(attempt.failure->message));
  if (attempt.failure->kind == v1::ScoreError::OVERLOADED)
    result.mutable_error()->set_retry_after_s(absl::ToDoubleSeconds(attempt.failure->retry_after));
  return result;
}

absl::StatusOr<std::string> JudgeScorer::BodyFor(const v1::ScoreItem& item, const std::string& text) const {
  FLOWAWR_ASSIGN_OR_RETURN(
      const std::string png,
      EncodePng({static_cast<int>(item.height()), static_cast<int>(item.width()), item.image_rgb()}));
  const std::string data_url = absl::StrCat("data:image/png;base64,", absl::Base64Escape(png));
  Json body = {{"model", options_.model},
               {"temperature", 0},
               {"max_tokens", options_.max_tokens},
               {"messages",
                Json::array({{{"role", "user"},
                              {"content",
                               Json::array({{{"type", "text"}, {"text", text}},
                                            {{"type", "image_url"}, {"image_url", {{"url", data_url}}}}})}}})}};
  if (!options_.extra.empty()) body.merge_patch(Json::parse(options_.extra));
  return body.dump(-1, ' ', false, Json::error_handler_t::replace);
}

JudgeScorer::Attempt JudgeScorer::Ask(HttpPoster& poster, const std::string& body, KeepGoing keep_going) {
  std::vector<std::string> headers;
  if (!options_.api_key.empty()) headers.push_back(absl::StrCat("Authorization: Bearer ", options_.api_key));
  const auto answer = poster.Post(options_.url, headers, body, options_.timeout, keep_going);
  Count("requests", 1);
  Attempt attempt;
  attempt.failure = std::make_unique<Failure>();
  if (!answer.ok()) {
    // An endpoint that is away is not a judge that is broken: whoever loads or asks it comes again.
    attempt.failure->may_pass = absl::IsUnavailable(answer.status());
    if (attempt.failure->may_pass) attempt.failure->kind = v1::ScoreError::OVERLOADED;
    attempt.failure->message = absl::StrCat("the judge gave no answer: ", answer.status().message());
    return attempt;
  }
  if (answer->code == 200) {
    auto completion = ParseCompletion(answer->body);
    if (completion.ok()) return {*std::move(completion), nullptr};
    attempt.failure->may_pass = true;
    attempt.failure->message = std::string(completion.status().message());
    return attempt;
  }
  if (IsOverload(answer->code)) attempt.failure->kind = v1::ScoreError::OVERLOADED;
  attempt.failure->may_pass = IsPassing(answer->code);
  attempt.failure->retry_after = answer->retry_after.value_or(absl::ZeroDuration());
  attempt.failure->message = absl::StrCat("the judge answered HTTP ", answer->code, ": ", ErrorOfBody(answer->body));
  return attempt;
}

JudgeScorer::Attempt JudgeScorer::AskAgainAndAgain(const std::string& body, KeepGoing keep_going) {
  std::unique_ptr<HttpPoster> poster = BorrowPoster();
  Backoff backoff({.max_attempts = options_.retries + 1, .initial = absl::Milliseconds(500), .max = absl::Seconds(10)});
  Attempt attempt;
  absl::Time not_before = absl::InfinitePast();
  while (true) {
    if (const absl::Status waited = WaitForTurn(not_before, keep_going); !waited.ok()) {
      // What the last attempt met says more than that the time is over.
      if (attempt.failure == nullptr) attempt.failure = std::make_unique<Failure>(NoTurn(waited));
      break;
    }
    attempt = Ask(*poster, body, keep_going);
    if (attempt.failure == nullptr || !attempt.failure->may_pass) break;
    const std::optional<absl::Duration> pause = backoff.Next();
    const absl::Duration told = attempt.failure->retry_after;
    if (attempt.failure->kind == v1::ScoreError::OVERLOADED) HoldUntil(MonotonicNow() + std::min(told, kLongestPause));
    if (!pause || told > kLongestPause) break;
    not_before = MonotonicNow() + std::max(*pause, told);
    Count("retries", 1);
  }
  absl::MutexLock lock(&mutex_);
  free_posters_.push_back(std::move(poster));
  return attempt;
}

std::unique_ptr<HttpPoster> JudgeScorer::BorrowPoster() {
  absl::MutexLock lock(&mutex_);
  if (free_posters_.empty()) return std::make_unique<HttpPoster>();
  std::unique_ptr<HttpPoster> poster = std::move(free_posters_.back());
  free_posters_.pop_back();
  return poster;
}

// A turn is taken when it is used: an image that is given up before costs the others none.
absl::Status JudgeScorer::WaitForTurn(absl::Time not_before, KeepGoing keep_going) {
  while (true) {
    FLOWAWR_RETURN_IF_ERROR(keep_going());
    absl::Duration left;
    {
      absl::MutexLock lock(&mutex_);
      const absl::Time now = MonotonicNow();
      left = std::max({not_before, next_turn_, held_until_}) - now;
      if (left <= absl::ZeroDuration()) {
        if (options_.per_minute > 0) next_turn_ = now + absl::Minutes(1) / options_.per_minute;
        return absl::OkStatus();
      }
    }
    absl::SleepFor(std::min(left, kPoll));
  }
}

JudgeScorer::Failure JudgeScorer::NoTurn(const absl::Status& why) {
  if (!absl::IsDeadlineExceeded(why)) return {v1::ScoreError::BROKEN, std::string(why.message())};
  absl::MutexLock lock(&mutex_);
  return {v1::ScoreError::OVERLOADED,
          held_until_ > next_turn_ ? "the judge asked to be left alone for a while (Retry-After)"
                                   : "there are more images than the judge may be asked about now (per_minute)",
          false, std::max(std::max(next_turn_, held_until_) - MonotonicNow(), absl::Seconds(1))};
}

void JudgeScorer::HoldUntil(absl::Time time) {
  absl::MutexLock lock(&mutex_);
  held_until_ = std::max(held_until_, time);
}

v1::ScoreResult JudgeScorer::ResultOf(const Completion& completion) {
  const double cost = (completion.prompt_tokens * options_.prompt_price +
                       completion.completion_tokens * options_.completion_price) / 1e6;
  Count("prompt_tokens", completion.prompt_tokens);
  Count("completion_tokens", completion.completion_tokens);
  Count("cost", cost);
  const absl::StatusOr<double> reward = RewardOfAnswer(completion.text, options_.rule);
  v1::ScoreResult result;
  if (reward.ok()) {
    result = RewardResult(*reward);
  } else {
    result = ErrorResult(v1::ScoreError::BROKEN,
                         absl::StrCat(WithoutKey(std::string(reward.status().message())),
                                      completion.was_cut ? "; it was cut off: raise max_tokens" : ""));
  }
  auto& details = *result.mutable_details();
  details["answer"] = WithoutKey(completion.text);
  details["prompt_tokens"] = absl::StrCat(completion.prompt_tokens);
  details["completion_tokens"] = absl::StrCat(completion.completion_tokens);
  if (cost > 0) details["cost"] = absl::StrCat(cost);
  return result;
}

std::string JudgeScorer::WithoutKey(std::string text) const {
  if (!options_.api_key.empty()) absl::StrReplaceAll({{options_.api_key, "***"}}, &text);
  return text;
}

void JudgeScorer::Count(const std::string& what, double amount) {
  absl::MutexLock lock(&mutex_);
  used_[what] += amount;
}

std::map<std::string, double> JudgeScorer::TakeUse() {
  absl::MutexLock lock(&mutex_);
  return std::exchange(used_, {});
}

}  // namespace flowawr
