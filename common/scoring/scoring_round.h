// One ScoringClient::Score() call: all its RPCs and pauses as events on one completion queue.
//
// Used by one thread, once. The destructor waits for what is under way.
#pragma once

#include <map>
#include <memory>
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
    std::vector<int> images;  // not yet settled, in order
    ScoringClient::Endpoint* endpoint = nullptr;
    absl::Time deadline;
    Backoff backoff;
    std::string last_error;
    v1::ScoreError::Kind last_kind = v1::ScoreError::BROKEN;
    bool is_unreachable = false;  // as of the last attempt
    bool is_waiting = false;      // for the alarm
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
  void StartOrWait(Call& call);
  void Send(Call& call, absl::Time now);
  void WaitUntil(Call& call, absl::Time when);
  void OnEvent(Call& call);
  void OnAnswer(Call& call);
  void TakeResults(Call& call);
  void RetryOrFail(Call& call);
  // What keeps this client from the endpoint, as far as it can be found out; asked once.
  const absl::Status& WhyUnreachable(const Call& call);
  void Fail(Call& call, v1::ScoreError::Kind kind, std::string message);
  void CancelAll();
  v1::TermScore& Outcome(int image, int term) { return *scores_[image].mutable_terms(term); }

  ScoringClient& client_;
  const v1::RewardSpec& spec_;
  const v1::Prompt& prompt_;
  const std::vector<Image>& images_;
  std::vector<v1::SampleScores> scores_;
  std::vector<std::unique_ptr<Call>> calls_;
  size_t unsettled_ = 0;
  std::map<ScoringClient::Endpoint*, absl::Status> why_unreachable_;
  bool is_cancelled_ = false;
  grpc::CompletionQueue queue_;
};

}  // namespace flowawr
