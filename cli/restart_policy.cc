#include "cli/restart_policy.h"

#include <algorithm>

#include "absl/strings/str_cat.h"

namespace flowawr {
namespace {

constexpr absl::Duration kFirstDelay = absl::Milliseconds(250);
constexpr absl::Duration kLongestDelay = absl::Seconds(10);
constexpr int kMostDoublings = 10;
// An actor that ends without error was told that the run is over, moments before the learner ends, or was asked to
// stop.
constexpr absl::Duration kDelayAfterSuccess = absl::Seconds(5);

}  // namespace

bool IsHopeless(absl::string_view end, bool is_first_start) {
  if (is_first_start && end == "exit status 73") return true;
  for (const char* hopeless :
       {"exit status 64", "exit status 65", "exit status 66", "exit status 77", "exit status 78"})
    if (end == hopeless) return true;
  return false;
}

RestartDecision DecideRestart(const ProcessExit& exit) {
  using Action = RestartDecision::Action;
  if (exit.run_is_ending) return {};
  if (exit.role == ProcessRole::kLearner) {
    if (exit.succeeded) return {.action = Action::kEndRun};
    return {.action = Action::kEndRun, .reason = "the learner failed"};
  }
  if (exit.succeeded) return {.action = Action::kRestart, .delay = kDelayAfterSuccess};
  const char* const who = exit.role == ProcessRole::kActor  ? "an actor"
                          : exit.role == ProcessRole::kRank ? "a rank of the learner"
                                                            : "the reward server";
  if (exit.is_hopeless)
    return {.action = Action::kEndRun, .reason = absl::StrCat(who, " cannot work with what it was given")};
  if (exit.restarts_counted >= exit.max_restarts) {
    return {.action = exit.is_dispensable ? Action::kGiveUp : Action::kEndRun,
            .reason = absl::StrCat(who, " ended and local.max_restarts (", exit.max_restarts, ") is used up")};
  }
  const int doublings = std::clamp(exit.restarts, 0, kMostDoublings);
  return {.action = Action::kRestart, .delay = std::min(kFirstDelay * (1 << doublings), kLongestDelay)};
}

}  // namespace flowawr
