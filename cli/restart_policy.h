// What the supervisor does about a process that ended. Pure: a snapshot in, an action out.
//
// Ranks, actors and reward servers hold nothing durable: they are started again after a pause that doubles, until the
// run's restarts are used up; an end without error is not counted. One that says that another start would end the same
// way (a bad configuration, a wrong token, at first a port that is taken) ends the run at once. A rank that the run can do
// without (train.on_lost_rank: go_on) has restarts of its own, as many, and then the run goes on without it. The learner
// is not started again by itself: what broke it (a full disk, a bad model) would break it again, and `flowawr run
// --resume` continues from its last checkpoint without loss.
#pragma once

#include <string>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"

namespace flowawr {

enum class ProcessRole { kLearner, kRank, kActor, kRewardServer };  // kRank: the learner's others

struct ProcessExit {
  ProcessRole role = ProcessRole::kActor;
  bool succeeded = false;      // exit status 0
  bool is_hopeless = false;    // IsHopeless() of how it ended
  bool run_is_ending = false;  // the learner finished or the user asked to stop
  int restarts = 0;            // of this process, in a row: a process that lived for kStableLife starts from 0
  bool is_dispensable = false;  // the run goes on without it
  int restarts_counted = 0;    // of all processes that are not dispensable, or of this one, which is
  int max_restarts = 0;        // local.max_restarts, for those
};

struct RestartDecision {
  enum class Action { kNothing, kRestart, kGiveUp, kEndRun };  // kGiveUp: the process alone
  Action action = Action::kNothing;
  absl::Duration delay;  // before the restart
  std::string reason;    // why the run ends, or does without the process

  bool operator==(const RestartDecision&) const = default;
};

inline constexpr absl::Duration kStableLife = absl::Minutes(1);

// Whether `end`, in ChildProcess::Poll()'s words, is an exit status that another start would give again: wrong usage
// (64), a damaged or missing file (65, 66), refused (77), configuration (78). At the first start of a process also that
// its address is taken (73): nothing of the run can have it. Later it may be the process's own, for a moment.
bool IsHopeless(absl::string_view end, bool is_first_start = false);

RestartDecision DecideRestart(const ProcessExit& exit);

}  // namespace flowawr
