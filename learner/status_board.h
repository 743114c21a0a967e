// What Control, the metrics, the live page and the panel see of a run: its status, put together from what others tell.
//
//   RunLoop, keepers ── Update() ──> StatusBoard ── status(), waits ──> ControlService, LearnerMetrics, LivePage
//   LeaseDesk <── AddTo() when somebody looks ──┘
//
// Nobody decides by what stands here: who owns a figure keeps it and shows it. The board's lock is held for a copy of
// the status at most. It comes after LeaseDesk's, which tells of changes while it is held, and before Dispatcher's; so
// sources are asked without it. Thread-safe.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/functional/any_invocable.h"
#include "absl/functional/function_ref.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "common/base/clock.h"
#include "flowawr/v1/control.pb.h"
#include "learner/dispatcher.h"
#include "learner/status_ages.h"

namespace flowawr {

// What shows figures that change too often to be told one by one.
class StatusSource {
 public:
  virtual ~StatusSource() = default;
  // Any thread, without a lock of the board's. `status` has what others have told.
  virtual void AddTo(v1::Status& status) const = 0;
};

class StatusBoard {
 public:
  // Whoever waits: it bounds the memory.
  static constexpr size_t kMaxWaits = 1 << 10;

  explicit StatusBoard(const Clock* clock = &Clock::Real());
  // Ends what still waits, as Stop() does.
  ~StatusBoard();

  // Ages that `change` sets, of the newest update and checkpoint, grow from then on. `change` is called with the lock.
  void Update(absl::FunctionRef<void(v1::Status&)> change);
  // The run loop is at `stage` since `since`, on the board's clock, beyond what its learner_seconds say; empty: at none.
  void ShowStage(const std::string& stage, absl::Time since);
  // Of the status, beside those that Update() sets, until this is called again for that source.
  void SetStandingWarnings(const std::string& source, std::vector<std::string> warnings);

  // Until Hide(), which waits for those that are just looking.
  void Show(const StatusSource& source);
  void Hide(const StatusSource& source);
  // What a source shows has changed: those who wait for a change look again.
  void Touch();

  // Whole, which copies much. All its texts are UTF-8.
  v1::Status status() const;

  // The status once it has changed since `seen` (0: at once) and it is `not_before`, at the latest at `until`, both on
  // the scale of MonotonicNow(). Sets `seen` for the next wait. ResourceExhausted when kMaxWaits wait already. `done` is
  // called once, from any thread, without a lock, perhaps before this returns; it must not block.
  struct Seen {
    std::shared_ptr<const v1::Status> status;
    uint64_t seen = 0;
    bool is_last = false;  // the board has stopped
  };
  using OnStatus = absl::AnyInvocable<void(absl::StatusOr<Seen>)>;
  WaitTicket AwaitStatus(uint64_t seen, absl::Time not_before, absl::Time until, OnStatus done);
  // Ends a wait, unless it has been answered: its callback gets Cancelled.
  void CancelWait(WaitTicket ticket);

  // Ends every wait for good, with the status as it is.
  void Stop();

 private:
  struct Wait {
    uint64_t seen = 0;
    absl::Time not_before, until;
    OnStatus done;
  };
  void Changed() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::Time Answer(Dispatcher::Answers& answers);

  const Clock& clock_;
  mutable absl::Mutex sources_mutex_;  // before LeaseDesk's
  std::set<const StatusSource*> sources_ ABSL_GUARDED_BY(sources_mutex_);
  mutable absl::Mutex mutex_;
  v1::Status status_ ABSL_GUARDED_BY(mutex_);
  StatusAges ages_ ABSL_GUARDED_BY(mutex_);
  std::map<std::string, std::vector<std::string>> standing_warnings_ ABSL_GUARDED_BY(mutex_);
  uint64_t generation_ ABSL_GUARDED_BY(mutex_) = 1;  // grows with every change
  std::map<WaitTicket, Wait> waits_ ABSL_GUARDED_BY(mutex_);
  WaitTicket next_ticket_ ABSL_GUARDED_BY(mutex_) = 1;
  bool is_stopped_ ABSL_GUARDED_BY(mutex_) = false;
  Dispatcher dispatcher_;
};

}  // namespace flowawr
