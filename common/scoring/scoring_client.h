// Rewards for the images of one prompt, from every reward server that a reward spec names.
//
// The images of each term are split into calls of a few; all calls are under way at once, each retries by itself:
// - an image that the server answers with OVERLOADED, and a call whose server is away, go again after a growing,
//   jittered pause, or the one that the server asks for, until `retry` or the term's `timeout_s` is used up;
// - BAD_INPUT and BROKEN are final;
// - a required scorer that the server does not have (NOT_FOUND) is asked for again for `await_lacking`: a server that
//   was started again has it back soon, see learner/scorer_keeper.h; then that is final, for others at once;
// - an endpoint that fails again and again is left alone by its circuit breaker, which all groups share.
// A term with several endpoints has its calls shared out to the least busy of those that answer. Whatever fails at one,
// BAD_INPUT excepted, is tried at the others at once, before anything is paused or final; an attempt that others can
// follow has half of the time that is left. An endpoint is taken back when it answers the one call that its breaker
// lets through.
// A failure is never a reward: every image and term ends as a finite reward or a typed ScoreError. Shadows (weight 0)
// whose server is away are given up once all other rewards are there.
//
// Thread-safe: several groups may be scored at once. Needs no LibTorch.
#pragma once

#include <atomic>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "common/rpc/retry.h"
#include "common/scoring/circuit_breaker.h"
#include "common/scoring/score_message.h"
#include "common/tensor/image.h"
#include "flowawr/v1/config.pb.h"
#include "flowawr/v1/reward.pb.h"
#include "flowawr/v1/rollout.pb.h"

namespace flowawr {

struct ScoringOptions {
  int images_per_call = 8;
  size_t bytes_per_call = size_t{4} << 20;  // of pixels; one image always fits
  RetryPolicy retry = {.max_attempts = 30, .initial = absl::Milliseconds(50), .max = absl::Seconds(2)};
  absl::Duration longest_retry_after = absl::Seconds(30);  // that a server is heeded in
  absl::Duration leave_out_lacking = absl::Seconds(5);     // an endpoint without the scorer, while there are others
  absl::Duration await_lacking = absl::Seconds(30);        // a required scorer that no endpoint has
  CircuitBreaker::Options breaker;
};

class ScoringClient {
 public:
  explicit ScoringClient(v1::NetworkConfig network, const ScoringOptions& options = {});
  ~ScoringClient();

  // One SampleScores an image, with one TermScore a term of `spec`, both in order.
  //
  // Whether a failed term matters is the caller's: see CheckRequiredTerms(). Cancelled soon after `is_wanted` says no;
  // InvalidArgument for images whose size does not fit their bytes, an unusable endpoint or a spec without terms.
  absl::StatusOr<std::vector<v1::SampleScores>> Score(
      const v1::RewardSpec& spec, const v1::Prompt& prompt, const std::vector<Image>& images,
      absl::FunctionRef<bool()> is_wanted = [] { return true; });

  // What the breaker of an endpoint thinks; for metrics and tests.
  CircuitBreaker::State breaker_state(const std::string& endpoint) const;
  struct EndpointState {
    std::string address;
    CircuitBreaker::State breaker = CircuitBreaker::State::kClosed;
    int calls = 0;  // under way
  };
  // Of those that were called lately.
  std::vector<EndpointState> endpoints() const;
  // Calls beyond the first for the same images, so far.
  uint64_t retries() const { return retries_; }

 private:
  friend class ScoringRound;
  struct Endpoint {
    const std::string address;
    std::unique_ptr<ScoreStub> stub;
    absl::Mutex mutex;
    CircuitBreaker breaker ABSL_GUARDED_BY(mutex);
    int calls ABSL_GUARDED_BY(mutex) = 0;                              // under way
    absl::Time used ABSL_GUARDED_BY(mutex) = absl::InfinitePast();     // last
    std::map<std::string, absl::Time> lacks ABSL_GUARDED_BY(mutex);  // scorers that it did not have, until when
    Endpoint(std::string address, const CircuitBreaker::Options& options)
        : address(std::move(address)), breaker(options) {}
  };

  absl::StatusOr<Endpoint*> EndpointFor(const std::string& address);
  // Those of a term, at least one.
  absl::StatusOr<std::vector<Endpoint*>> EndpointsFor(const v1::RewardSpecTerm& term);

  const v1::NetworkConfig network_;
  const ScoringOptions options_;
  std::atomic<uint64_t> retries_ = 0;
  std::atomic<size_t> turn_ = 0;  // which of equally busy endpoints is first
  mutable absl::Mutex mutex_;
  std::map<std::string, std::unique_ptr<Endpoint>> endpoints_ ABSL_GUARDED_BY(mutex_);  // never removed
};

// OK when every required term of every sample has a reward; shadows are never required. Otherwise what the first failure
// was: InvalidArgument for BAD_INPUT (another attempt cannot help), ResourceExhausted for OVERLOADED, Unavailable for
// BROKEN.
absl::Status CheckRequiredTerms(const v1::RewardSpec& spec, const std::vector<v1::SampleScores>& scores);

// Unavailable when not one of the scores is a reward to train on: nothing is known of such samples, though no term was
// required.
absl::Status CheckAnyReward(const v1::RewardSpec& spec, const std::vector<v1::SampleScores>& scores);

}  // namespace flowawr
