#include "reward_server/warm_up.h"

#include <exception>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/base/clock.h"
#include "common/base/status.h"
#include "common/base/steady_cond_var.h"
#include "common/scoring/score_bounds.h"

namespace flowawr {
namespace {

// How long a scorer may take to notice that it has had its time.
constexpr absl::Duration kReturnTime = absl::Seconds(5);

absl::Status ScoreProbe(Scorer& scorer, absl::Time until, const std::function<absl::Status()>& device_error) {
  const v1::ScoreItem probe = scorer.ProbeItem();
  const v1::ScoreItem* const item = &probe;
  const auto in_time = [until](size_t) {
    return MonotonicNow() < until ? absl::OkStatus() : absl::DeadlineExceededError("it takes too long");
  };
  std::vector<v1::ScoreResult> results;
  try {
    results = scorer.Score({&item, 1}, in_time);
    scorer.TakeUse();
  } catch (const std::exception& error) {
    const absl::Status of_device = device_error ? device_error() : absl::OkStatus();
    return of_device.ok() ? absl::FailedPreconditionError(error.what()) : of_device;
  } catch (...) {
    return absl::FailedPreconditionError("an unknown exception");
  }
  if (results.size() != 1) return absl::FailedPreconditionError(absl::StrCat(results.size(), " results for one image"));
  BoundResult(results[0]);
  if (results[0].has_reward() || results[0].error().kind() == v1::ScoreError::BAD_INPUT) return absl::OkStatus();
  const std::string& message = results[0].error().message();
  if (results[0].error().kind() == v1::ScoreError::OVERLOADED) return absl::ResourceExhaustedError(message);
  return absl::FailedPreconditionError(message);
}

struct Probe {
  SteadyNotification is_done;
  absl::Status status;  // written before
};

}  // namespace

absl::Status WarmUp(const std::shared_ptr<Scorer>& scorer, absl::Duration limit,
                    std::function<absl::Status()> device_error) {
  const auto probe = std::make_shared<Probe>();
  std::thread thread([probe, scorer = scorer, until = MonotonicNow() + limit,
                      device_error = std::move(device_error)]() mutable {
    probe->status = ScoreProbe(*scorer, until, device_error);
    scorer.reset();
    probe->is_done.Notify();
  });
  if (!probe->is_done.WaitForNotificationWithTimeout(limit + kReturnTime)) {
    thread.detach();
    return absl::DeadlineExceededError(
        absl::StrCat("it was loaded, but did not score a picture within ", absl::FormatDuration(limit)));
  }
  thread.join();
  return Annotate(probe->status, "it was loaded, but cannot score a picture");
}

}  // namespace flowawr
