// Makes a scorer ready before it is served: what can only fail when an image comes fails now.
#pragma once

#include <functional>
#include <memory>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "reward_server/scorer.h"

namespace flowawr {

// Scores ProbeItem() once. OK for a reward or BAD_INPUT: it answers. Else why it is of no use: FailedPrecondition;
// ResourceExhausted when it is OVERLOADED; DeadlineExceeded when it does not answer within `limit`; an error of the device,
// by RunnerOptions::device_error. A call that does not return soon after is left alone on its thread, which then keeps the
// scorer.
absl::Status WarmUp(const std::shared_ptr<Scorer>& scorer, absl::Duration limit,
                    std::function<absl::Status()> device_error = nullptr);

}  // namespace flowawr
