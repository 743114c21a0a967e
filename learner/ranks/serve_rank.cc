#include "learner/ranks/serve_rank.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <atomic>
#include <optional>
#include <string>
#include <thread>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/notification.h"
#include "common/base/clock.h"
#include "common/base/ids.h"
#include "common/base/status.h"
#include "common/tensor/device_error.h"
#include "learner/ranks/both_hosts.h"
#include "learner/ranks/meeting_point.h"
#include "learner/ranks/rank_transport.h"
#include "learner/ranks/share_message.h"

namespace flowawr {
namespace {

constexpr absl::Duration kTellEvery = absl::Milliseconds(200);
constexpr absl::Duration kTryEvery = absl::Milliseconds(200);
constexpr absl::Duration kSayEvery = absl::Seconds(10);
constexpr absl::Duration kConnectLimit = absl::Seconds(5);  // to each address of rank 0
constexpr absl::Duration kAnswerLimit = absl::Seconds(30);  // rank 0 may be linking others, one after the other

class Rank {
 public:
  Rank(LocalGradientEngine& engine, const std::shared_ptr<const LoraLayout>& layout, RankOptions options,
       const std::function<bool()>& is_stopped)
      : engine_(engine), layout_(layout), options_(std::move(options)), is_stopped_(is_stopped) {}

  absl::Status Run() {
    absl::Time limit = MonotonicNow() + patience();
    absl::Notification never;
    spdlog::info("looking for rank 0 at {} as rank {}", options_.rank0.ToString(), options_.facts.rank);
    while (!is_stopped_()) {
      absl::StatusOr<std::unique_ptr<RankLink>> link = Join();
      if (link.ok()) {
        spdlog::info("joined rank 0 at {} as rank {}", options_.rank0.ToString(), options_.facts.rank);
        const absl::Status ended = Serve(**link);
        if (ended.ok() || IsDeviceError(ended)) return ended;
        spdlog::warn("the link to rank 0 at {} has ended: {}; joining again", options_.rank0.ToString(),
                     std::string(ended.message()));
        limit = MonotonicNow() + patience();
        continue;
      }
      if (absl::IsFailedPrecondition(link.status()) || absl::IsInvalidArgument(link.status()) ||
          absl::IsPermissionDenied(link.status()))
        return link.status();
      // Also where rank 0 has not seen yet that this rank's former life has ended.
      if (MonotonicNow() >= limit)
        return absl::IsAlreadyExists(link.status())
                   ? link.status()
                   : absl::UnavailableError(absl::StrCat("rank 0 at ", options_.rank0.ToString(), " was not there for ",
                                                         absl::FormatDuration(patience()), ": ", link.status().message()));
      SayThatItWaits(link.status().message());
      never.WaitForNotificationWithTimeout(kTryEvery);
    }
    return absl::OkStatus();
  }

 private:
  absl::Duration patience() const { return options_.timeout + kAnswerLimit; }

  void SayThatItWaits(absl::string_view why) {
    if (MonotonicNow() - said_ < kSayEvery) return;
    said_ = MonotonicNow();
    spdlog::info("waiting for rank 0 at {}: {}", options_.rank0.ToString(), std::string(why));
  }

  absl::StatusOr<std::unique_ptr<RankLink>> Join() {
    FLOWAWR_ASSIGN_OR_RETURN(const BothHosts hosts, HostsTowards(options_.rank0, kConnectLimit));
    options_.facts.host = hosts.own;
    options_.facts.rank0_host = hosts.other;
    options_.facts.session = RandomId();
    const std::string hello = SerializeFacts(options_.facts);
    FLOWAWR_ASSIGN_OR_RETURN(const auto meeting_point, MeetingPoint::Reach(options_.rank0, options_.tokens, kSayEvery));
    FLOWAWR_RETURN_IF_ERROR(meeting_point->SayHello(hello));
    FLOWAWR_ASSIGN_OR_RETURN(const std::string transport, AwaitAnswer(*meeting_point));
    const auto device = transport == kNcclTransport ? std::optional(engine_.device()) : std::nullopt;
    FLOWAWR_ASSIGN_OR_RETURN(std::unique_ptr<RankLink> link,
                             meeting_point->Link(options_.facts.session, /*is_rank0=*/false, hosts.own, kAnswerLimit, device));
    FLOWAWR_RETURN_IF_ERROR(ProveToRank0(*link, options_.tokens, hello, kAnswerLimit));
    return link;
  }

  // How vectors travel, or rank 0's refusal.
  absl::StatusOr<std::string> AwaitAnswer(MeetingPoint& meeting_point) {
    const absl::Time limit = MonotonicNow() + kAnswerLimit;
    absl::StatusOr<std::string> answer = meeting_point.AwaitAnswer(options_.facts.session, kSayEvery);
    while (absl::IsDeadlineExceeded(answer.status()) && MonotonicNow() < limit && !is_stopped_()) {
      SayThatItWaits("it has not answered yet");
      answer = meeting_point.AwaitAnswer(options_.facts.session, kSayEvery);
    }
    if (!answer.ok()) return answer;
    const size_t space = std::min(answer->find(' '), answer->size());
    int code = 0;
    if (!absl::SimpleAtoi(answer->substr(0, space), &code) || space == answer->size())
      return absl::InvalidArgumentError("rank 0 is of another version");
    std::string words = answer->substr(space + 1);
    if (code == 0) return words;
    return absl::Status(static_cast<absl::StatusCode>(code), words);
  }

  // OK when the run is over or the process is to stop; an error is the link's or the device's.
  absl::Status Serve(RankLink& link) {
    while (!is_stopped_()) {
      FLOWAWR_ASSIGN_OR_RETURN(RankMessage message, link.Receive(patience(), kShareBound));
      switch (message.word) {
        case RankWord::kPing:
          FLOWAWR_RETURN_IF_ERROR(link.Send({.word = RankWord::kPing}, patience()));
          break;
        case RankWord::kCompute: {
          const absl::StatusOr<RankShare> share = ParseShare(std::move(message), layout_, options_.shape);
          FLOWAWR_RETURN_IF_ERROR(share.ok() ? Answer(link, *share) : Send(link, RankWord::kFailed, share.status()));
          break;
        }
        case RankWord::kFinished:
          return absl::OkStatus();
        default:
          return absl::InvalidArgumentError("rank 0 speaks another language");
      }
    }
    return absl::OkStatus();
  }

  absl::Status Send(RankLink& link, RankWord word, const absl::Status& error) const {
    return link.Send({.word = word, .text = std::string(error.message())}, patience());
  }

  absl::Status Answer(RankLink& link, const RankShare& share) {
    absl::Status told;
    const absl::StatusOr<RankMessage> result = Compute(link, share, told);
    if (IsDeviceError(result.status())) {
      Send(link, RankWord::kDeviceFailed, result.status()).IgnoreError();
      return result.status();
    }
    FLOWAWR_RETURN_IF_ERROR(told);
    if (is_stopped_()) return absl::OkStatus();  // the end of the link is the answer: others compute it
    return result.ok() ? link.Send(*result, patience()) : Send(link, RankWord::kFailed, result.status());
  }

  // Tells rank 0 as long as it computes that it lives, and how far it is; `told` is the link's state at the end.
  absl::StatusOr<RankMessage> Compute(RankLink& link, const RankShare& share, absl::Status& told) {
    std::atomic<bool> is_cancelled = false;
    GradientProgress progress;
    absl::Notification is_done;
    std::thread teller([&] {
      while (told.ok() && !is_done.WaitForNotificationWithTimeout(kTellEvery)) {
        told = link.Send({.word = RankWord::kProgress, .text = absl::StrCat(progress.chunks.load())}, patience());
        if (!told.ok()) break;
        const absl::StatusOr<RankMessage> answer = link.Receive(patience());
        told = answer.status();
        if ((told.ok() && answer->word == RankWord::kCancel) || is_stopped_()) is_cancelled = true;
      }
      if (!told.ok()) is_cancelled = true;  // nobody waits for it any more
    });
    absl::StatusOr<RankMessage> result = ComputeShare(share, is_cancelled, progress);
    is_done.Notify();
    teller.join();
    return result;
  }

  absl::StatusOr<RankMessage> ComputeShare(const RankShare& share, const std::atomic<bool>& is_cancelled,
                                           GradientProgress& progress) {
    FLOWAWR_ASSIGN_OR_RETURN(const PartialGradient partial,
                             engine_.ComputeRange({.update = share.update,
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
                                                  share.plan, share.range, &progress));
    return PartialMessage(partial);
  }

  LocalGradientEngine& engine_;
  const std::shared_ptr<const LoraLayout>& layout_;
  RankOptions options_;
  const std::function<bool()>& is_stopped_;
  absl::Time said_ = absl::InfinitePast();
};

}  // namespace

absl::Status ServeRank(LocalGradientEngine& engine, const std::shared_ptr<const LoraLayout>& layout, RankOptions options,
                       const std::function<bool()>& is_stopped) {
  return Rank(engine, layout, std::move(options), is_stopped).Run();
}

}  // namespace flowawr
