#include "learner/ranks/serve_rank.h"

#include <spdlog/spdlog.h>

#include <atomic>
#include <string>
#include <thread>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/notification.h"
#include "common/base/clock.h"
#include "common/base/ids.h"
#include "common/base/status.h"
#include "learner/ranks/meeting_point.h"
#include "learner/ranks/share_message.h"

namespace flowawr {
namespace {

constexpr absl::Duration kTellEvery = absl::Milliseconds(200);
constexpr absl::Duration kTryEvery = absl::Milliseconds(200);
constexpr absl::Duration kAnswerLimit = absl::Seconds(30);  // rank 0 may be linking others, one after the other

absl::StatusOr<std::unique_ptr<RankLink>> Join(RankOptions& options) {
  FLOWAWR_ASSIGN_OR_RETURN(const BothHosts hosts, HostsTowards(options.rank0));
  options.facts.host = hosts.own;
  options.facts.rank0_host = hosts.other;
  options.facts.session = RandomId();
  FLOWAWR_ASSIGN_OR_RETURN(const auto meeting_point, MeetingPoint::Reach(options.rank0, kAnswerLimit));
  FLOWAWR_RETURN_IF_ERROR(meeting_point->SayHello(SerializeFacts(options.facts)));
  FLOWAWR_ASSIGN_OR_RETURN(const std::string answer, meeting_point->AwaitAnswer(options.facts.session, kAnswerLimit));
  int code = 0;
  if (const size_t space = answer.find(' '); absl::SimpleAtoi(answer.substr(0, space), &code))
    return absl::Status(static_cast<absl::StatusCode>(code), answer.substr(space + 1));
  return meeting_point->Link(options.facts.session, /*is_rank0=*/false, hosts.own, kAnswerLimit);
}

// Tells rank 0 how far `engine` is, as long as it computes.
absl::Status Compute(LocalGradientEngine& engine, RankLink& link, const RankShare& share, absl::Duration timeout) {
  std::atomic<bool> is_cancelled = false;
  std::atomic<size_t> computed = 0;
  absl::Notification is_done;
  absl::Status told;
  std::thread teller([&] {
    while (told.ok() && !is_done.WaitForNotificationWithTimeout(kTellEvery)) {
      told = link.Send({RankWord::kProgress, absl::StrCat(computed.load())}, timeout);
      if (!told.ok()) break;
      const absl::StatusOr<RankMessage> answer = link.Receive(timeout);
      told = answer.status();
      if (told.ok() && answer->word == RankWord::kCancel) is_cancelled = true;
    }
    if (!told.ok()) is_cancelled = true;  // nobody waits for it any more
  });
  const absl::StatusOr<PartialGradient> partial =
      engine.ComputeRange({.update = share.update,
                           .batch = share.batch,
                           .signals = share.signals,
                           .is_all_equal = share.is_all_equal,
                           .samples = share.plan.samples,
                           .current = share.current,
                           .old_adapter =
                               [&](uint64_t version) {
                                 const auto found = share.old.find(version);
                                 return found == share.old.end() ? nullptr : &found->second;
                               },
                           .is_cancelled = is_cancelled},
                          share.plan, share.range, &computed);
  is_done.Notify();
  teller.join();
  FLOWAWR_RETURN_IF_ERROR(told);
  if (!partial.ok()) return link.Send({RankWord::kFailed, std::string(partial.status().message())}, timeout);
  FLOWAWR_ASSIGN_OR_RETURN(std::string bytes, SerializePartial(*partial));
  return link.Send({RankWord::kResult, std::move(bytes)}, timeout);
}

// True when the run is over or the process is to stop; an error is the link's.
absl::StatusOr<bool> Serve(LocalGradientEngine& engine, const std::shared_ptr<const LoraLayout>& layout, RankLink& link,
                           absl::Duration timeout, const std::function<bool()>& is_stopped) {
  while (!is_stopped()) {
    FLOWAWR_ASSIGN_OR_RETURN(RankMessage message, link.Receive(timeout));
    switch (message.word) {
      case RankWord::kPing:
        FLOWAWR_RETURN_IF_ERROR(link.Send({RankWord::kPing}, timeout));
        break;
      case RankWord::kCompute: {
        FLOWAWR_ASSIGN_OR_RETURN(const RankShare share, ParseShare(std::move(message.bytes), layout));
        FLOWAWR_RETURN_IF_ERROR(Compute(engine, link, share, timeout));
        break;
      }
      case RankWord::kFinished:
        return true;
      default:
        return absl::InternalError("rank 0 speaks another language");
    }
  }
  return true;
}

}  // namespace

absl::Status ServeRank(LocalGradientEngine& engine, const std::shared_ptr<const LoraLayout>& layout, RankOptions options,
                       const std::function<bool()>& is_stopped) {
  const absl::Duration patience = options.timeout + kAnswerLimit;
  absl::Time limit = MonotonicNow() + patience;
  absl::Notification never;
  while (!is_stopped()) {
    const absl::StatusOr<std::unique_ptr<RankLink>> link = Join(options);
    if (link.ok()) {
      spdlog::info("joined rank 0 at {} as rank {}", options.rank0.ToString(), options.facts.rank);
      const absl::StatusOr<bool> is_over = Serve(engine, layout, **link, patience, is_stopped);
      if (is_over.ok()) return absl::OkStatus();
      spdlog::warn("the link to rank 0 at {} has ended: {}; joining again", options.rank0.ToString(),
                   std::string(is_over.status().message()));
      limit = MonotonicNow() + patience;
      continue;
    }
    if (absl::IsFailedPrecondition(link.status()) || absl::IsInvalidArgument(link.status())) return link.status();
    // Also where rank 0 has not seen yet that this rank's former life has ended.
    if (MonotonicNow() >= limit)
      return absl::IsAlreadyExists(link.status())
                 ? link.status()
                 : absl::UnavailableError(absl::StrCat("rank 0 at ", options.rank0.ToString(), " was not there for ",
                                                       absl::FormatDuration(patience), ": ", link.status().message()));
    never.WaitForNotificationWithTimeout(kTryEvery);
  }
  return absl::OkStatus();
}

}  // namespace flowawr
