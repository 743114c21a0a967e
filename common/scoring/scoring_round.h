// One ScoringClient::Score() call: all its RPCs and pauses as events on one completion queue.
//
// Used by one thread, once. The destructor waits for what is under way.
#pragma once

#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "common/scoring/scoring_client.h"
#include "grpcpp/alarm.h"
#include "grpcpp/completion_queue.h"

namespace flowawr {

class ScoringRound {
 public:
  ScoringRound(ScoringClient& client, const v1::RewardSpec& spec, const v1::Prompt& prompt,
               const std::vector<Image>& images);
  ~ScoringRound();

  absl::StatusOr<std::vector<v1::SampleScores>> Run(absl::FunctionRef<bool()> is_wanted);

 private:
  // Some images of one term on their way. Always either waiting for an answer or for its alarm, until it is settled.
  struct Call {
    int term = 0;
    bool is_shadow = false;
    std::vector<int> images;  // not yet settled, in order
    ScoringClient::Endpoint* endpoint = nullptr;  // of the last attempt; null before the first
    std::set<ScoringClient::Endpoint*> tried;     // since the last pause
    bool was_sent = false;
    bool may_do_better = false;                   // one of those, after a pause
    absl::Duration retry_after;                   // the longest that one of those asked for
    absl::Time began, deadline;
    Backoff backoff;
    std::string last_error;
    v1::ScoreError::Kind last_kind = v1::ScoreError::BROKEN;
    bool is_unreachable = false;  // as of the last attempt
    bool is_left_alone = false;   // it waits for a breaker
    bool is_waiting = false;      // for the alarm
    bool is_given_up = false;     // by GiveUpShadows(), to be settled when its alarm is heard
    bool is_settled = false;
    // Of the attempt under way.
    std::unique_ptr<grpc::ClientContext> context;
    std::unique_ptr<grpc::ClientAsyncResponseReader<v1::ScoreResponse>> reader;
    std::unique_ptr<grpc::Alarm> alarm;
    v1::ScoreResponse response;
    grpc::Status status;

    explicit Call(const RetryPolicy& retry) : backoff(retry) {}
  };

  absl::Status MakeCalls();
  // Tries the call, or waits until an endpoint may be asked.
  void StartOrWait(Call& call);
  // The endpoint to try next, let through by its breaker; null when none of those not yet tried may be asked before
  // `*from`. `*has_others` says whether more of them may be asked now.
  ScoringClient::Endpoint* Choose(const Call& call, absl::Time now, absl::Time* from, bool* has_others);
  void Send(Call& call, absl::Time now, bool has_others);
  void WaitUntil(Call& call, absl::Time when);
  void OnEvent(Call& call);
  void OnAnswer(Call& call);
  void TakeResults(Call& call);
  // After an attempt that left images: at another endpoint, after a pause, or not at all.
  void RetryOrFail(Call& call);
  // The images that no pause can help are settled, with the errors that they have.
  void SettleBroken(Call& call);
  void Settle(Call& call);
  // All other rewards are there: shadows that wait for a server that is away are not waited for.
  void GiveUpShadows();
  bool IsWorthWaiting(const Call& call) const {
    return !call.is_shadow || unsettled_trained_ > 0 || !(call.is_unreachable || call.is_left_alone);
  }
  // What keeps this client from the endpoint, as far as it can be found out; asked once.
  const absl::Status& WhyUnreachable(const Call& call);
  void Fail(Call& call, v1::ScoreError::Kind kind, std::string message);
  void CancelAll();
  v1::TermScore& Outcome(int image, int term) { return *scores_[image].mutable_terms(term); }

  ScoringClient& client_;
  const v1::RewardSpec& spec_;
  const v1::Prompt& prompt_;
  const std::vector<Image>& images_;
  std::vector<grpc::Slice> pixels_;  // of the images, shared by all calls
  std::vector<v1::SampleScores> scores_;
  std::vector<std::vector<ScoringClient::Endpoint*>> endpoints_;  // by term
  std::vector<std::unique_ptr<Call>> calls_;
  size_t unsettled_ = 0, unsettled_trained_ = 0;
  std::map<ScoringClient::Endpoint*, absl::Status> why_unreachable_;
  bool is_cancelled_ = false;
  grpc::CompletionQueue queue_;
};

}  // namespace flowawr
