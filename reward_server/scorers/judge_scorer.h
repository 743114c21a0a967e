// Kind `judge`: a vision-language model behind an OpenAI-compatible endpoint looks at the image and rates it.
//
// One POST of URL/chat/completions an image: one user message of the filled prompt and the image, as a PNG in a data
// URL, at temperature 0. The reward is a number of the answer, brought to 0..1: see judge_answer.h.
//
// Options:
//   url=                    http(s)://HOST[:PORT]/v1, or the whole address, ending in /chat/completions
//   model=                  as the endpoint names it
//   prompt= | prompt_file=  the words, see judge_prompt.h; the default asks how well the picture shows its prompt
//   answer=last_number      or json:FIELD
//   lowest=0  highest=10    of the rating; beyond it is no reward
//   api_key_env= | api_key_file=   where the key is read, when the scorer is loaded; never shown anywhere
//   body_file=              JSON merged into every request (RFC 7386: null takes a field away), for what a model wants
//   concurrent=4            requests at once
//   per_minute=0            requests; 0: no limit
//   timeout_s=25            of one attempt
//   retries=3               after the first attempt, for what may pass: no connection, 408, 429, 5xx, an answer that is
//                           no chat completion. Pauses grow, and are as long as Retry-After says
//   max_tokens=512          of an answer
//   prompt_price=0  completion_price=0    of a million tokens, for the cost that is told
//
// All attempts at an image together end with the scorer's image_seconds (runner_options.h).
//
// Details of a result: `answer`, `prompt_tokens`, `completion_tokens`, `cost`. TakeUse(): `requests`, `retries`,
// `prompt_tokens`, `completion_tokens`, `cost`.
//
// Errors: BAD_INPUT without the metadata that the prompt names. OVERLOADED, with when to come again, for 429 and 503 to
// the last attempt, or when `per_minute` lets it come too late. BROKEN for all else: no connection, no answer in time,
// any other code, an answer without a rating.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "reward_server/scorer.h"
#include "reward_server/scorer_options.h"
#include "reward_server/scorers/http_post.h"
#include "reward_server/scorers/judge_answer.h"
#include "reward_server/scorers/judge_prompt.h"

namespace flowawr {

struct JudgeOptions {
  std::string url;    // of the completions
  std::string model;
  std::string api_key;  // empty: none is sent
  std::string extra;    // a JSON object, or empty
  AnswerRule rule;
  int concurrent = 4;
  int per_minute = 0;
  int max_tokens = 512;
  int retries = 3;
  absl::Duration timeout = absl::Seconds(25);
  double prompt_price = 0, completion_price = 0;  // of a million tokens
};

class JudgeScorer : public Scorer {
 public:
  static absl::StatusOr<std::shared_ptr<Scorer>> Load(ScorerOptions& options, const ScorerContext& context);

  std::vector<v1::ScoreResult> Score(absl::Span<const v1::ScoreItem* const> items, StillWanted still_wanted) override;
  absl::Status CheckPrompt(const std::string& prompt, const PromptMetadata& metadata) const override;
  const std::string& version() const override { return version_; }
  int parallel_calls() const override { return options_.concurrent; }
  std::map<std::string, double> TakeUse() override;
  v1::ScoreItem ProbeItem() const override;

 private:
  // How one attempt ended, if not with an answer.
  struct Failure {
    v1::ScoreError::Kind kind = v1::ScoreError::BROKEN;
    std::string message;
    bool may_pass = false;
    absl::Duration retry_after = absl::ZeroDuration();  // zero: not told
  };
  struct Attempt {
    Completion completion;
    std::unique_ptr<Failure> failure;  // null: it is good
  };

  JudgeScorer(JudgeOptions options, JudgePrompt prompt, const std::string& text);

  v1::ScoreResult ScoreOne(const v1::ScoreItem& item, KeepGoing keep_going);
  absl::StatusOr<std::string> BodyFor(const v1::ScoreItem& item, const std::string& text) const;
  Attempt Ask(HttpPoster& poster, const std::string& body, KeepGoing keep_going);
  Attempt AskAgainAndAgain(const std::string& body, KeepGoing keep_going);
  v1::ScoreResult ResultOf(const Completion& completion);
  std::unique_ptr<HttpPoster> BorrowPoster();
  // Until `per_minute` and the endpoint let the next request go, not before `not_before`; what `keep_going` says.
  absl::Status WaitForTurn(absl::Time not_before, KeepGoing keep_going);
  Failure NoTurn(const absl::Status& why);
  // No request goes before `time`: the endpoint asked for it.
  void HoldUntil(absl::Time time);
  // What comes from the endpoint may repeat the key that it was sent.
  std::string WithoutKey(std::string text) const;
  void Count(const std::string& what, double amount);

  const JudgeOptions options_;
  const JudgePrompt prompt_;
  const std::string version_;
  absl::Mutex mutex_;
  absl::Time next_turn_ ABSL_GUARDED_BY(mutex_) = absl::InfinitePast();
  absl::Time held_until_ ABSL_GUARDED_BY(mutex_) = absl::InfinitePast();
  std::map<std::string, double> used_ ABSL_GUARDED_BY(mutex_);
  std::vector<std::unique_ptr<HttpPoster>> free_posters_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace flowawr
