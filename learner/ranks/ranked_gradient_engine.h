// The gradient engine of rank 0: shares the chunks of each update among itself and the other ranks, and adds up what they
// send by the one tree of learner/tree_sum.h. Which ranks there are changes no bit.
//
//   Compute() ── a share each ──> own engine; seats 1..n, a thread each ── link ──> ServeRank() of another process
//
// A rank is lost when its link ends, when it says nothing for `timeout`, or when it finishes no chunk for so long
// (rank_patience.h). Its share is then shared out again, to those that are there, or, with `waits_for_lost`, once it is
// back; what the others have computed stays.
// Beyond the gradients of its own share rank 0 holds, of each other one, at most 2 log2(chunks) adapters' vectors.
#pragma once

#include <prometheus/registry.h>

#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "flowawr/v1/config.pb.h"
#include "flowawr/v1/control.pb.h"
#include "learner/local_gradient_engine.h"
#include "learner/ranks/meeting_point.h"
#include "learner/ranks/rank_facts.h"
#include "learner/ranks/rank_metrics.h"
#include "learner/ranks/rank_proof.h"
#include "learner/status_board.h"

namespace flowawr {

class RankedGradientEngine final : public GradientEngine, public StatusSource {
 public:
  struct Options {
    RankFacts facts;  // rank 0's, with all that must be alike
    RankTokens tokens = [] { return std::vector<std::string>{""}; };
    v1::RankTransport transport = v1::AUTO;
    absl::Duration timeout = absl::Seconds(60);
    bool waits_for_lost = false;
    prometheus::Registry* registry = nullptr;  // of the page that shows RankMetrics; null: nobody asks
  };
  RankedGradientEngine(std::unique_ptr<LocalGradientEngine> local, std::unique_ptr<MeetingPoint> meeting_point,
                       Options options);
  // Ends the links, those that hang as well: ranks then join again, or, after Finish(), end.
  ~RankedGradientEngine() override;
  RankedGradientEngine(const RankedGradientEngine&) = delete;
  RankedGradientEngine& operator=(const RankedGradientEngine&) = delete;

  // The first one waits up to `timeout` for all ranks. Besides the errors of the interface: what a rank could not compute,
  // with its number. Once cancelled, it waits for no rank for more than two seconds.
  absl::StatusOr<BatchGradient> Compute(const GradientRequest& request) override;
  // By rank 0 alone: a row a group.
  absl::StatusOr<std::vector<double>> LogProbDrift(const GradientRequest& request) override;

  // The run is over.
  void Finish();
  // `ranks`, and a warning for each that is not there.
  void AddTo(v1::Status& status) const override;

 private:
  struct Task;
  struct Seat;

  void WelcomeRanks();
  void Welcome(const std::string& hello, const RankFacts& facts);
  absl::StatusOr<std::shared_ptr<RankLink>> LinkTo(const std::string& hello, const RankFacts& facts);
  void Serve(Seat& seat);
  absl::Status Ping(RankLink& link) const;
  absl::Status Work(Seat& seat, RankLink& link, Task& task);
  absl::Status CheckPatience(absl::Time advanced) const;
  std::vector<Seat*> Ready() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::Status AwaitRanks(const GradientRequest& request);
  void AwaitTasks(const GradientRequest& request, const std::vector<std::unique_ptr<Task>>& tasks);

  const std::unique_ptr<LocalGradientEngine> local_;
  const Options options_;
  const std::unique_ptr<MeetingPoint> meeting_point_;  // of the welcoming thread
  prometheus::Registry unasked_;                       // where options_ name none
  RankMetrics metrics_;
  GradientProgress own_progress_;                      // of rank 0's shares
  bool has_begun_ = false;                             // Compute()'s thread
  mutable absl::Mutex mutex_;
  std::vector<std::unique_ptr<Seat>> seats_;  // of ranks 1, 2, ...; what is in them is guarded
  std::shared_ptr<RankLink> admitted_ ABSL_GUARDED_BY(mutex_);  // while it proves who it is; or null
  double own_rows_per_s_ ABSL_GUARDED_BY(mutex_) = 0;
  size_t serving_ ABSL_GUARDED_BY(mutex_) = 0;  // seats' threads that have not ended
  bool is_closed_ ABSL_GUARDED_BY(mutex_) = false;
  bool is_finished_ ABSL_GUARDED_BY(mutex_) = false;
  std::string refusal_ ABSL_GUARDED_BY(mutex_);  // that was told last
  absl::Time refused_at_ ABSL_GUARDED_BY(mutex_) = absl::InfinitePast();
  std::vector<std::thread> threads_;
};

}  // namespace flowawr
