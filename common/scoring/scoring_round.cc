#include "common/scoring/scoring_round.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/clock.h"
#include "common/base/status.h"
#include "common/base/utf8.h"
#include "common/rpc/channel.h"
#include "common/rpc/status.h"
#include "common/rpc/tls_check.h"
#include "common/scoring/score_bounds.h"

namespace flowawr {
namespace {

// How often `is_wanted` is asked.
constexpr std::chrono::milliseconds kPoll{50};

// The server lives, but this call cannot succeed there however often it is made.
bool IsFinal(const absl::Status& status) { return !status.ok() && !IsTransient(status); }

}  // namespace

ScoringRound::ScoringRound(ScoringClient& client, const v1::RewardSpec& spec, const v1::Prompt& prompt,
                           const std::vector<Image>& images)
    : client_(client), spec_(spec), prompt_(prompt), images_(images), scores_(images.size()) {}

ScoringRound::~ScoringRound() {
  queue_.Shutdown();
  void* tag = nullptr;
  bool is_ok = false;
  while (queue_.Next(&tag, &is_ok)) {
  }
}

absl::StatusOr<std::vector<v1::SampleScores>> ScoringRound::Run(absl::FunctionRef<bool()> is_wanted) {
  FLOWAWR_RETURN_IF_ERROR(MakeCalls());
  unsettled_ = calls_.size();
  for (const auto& call : calls_) StartOrWait(*call);
  while (unsettled_ > 0) {
    if (!is_cancelled_ && !is_wanted()) CancelAll();
    void* tag = nullptr;
    bool is_ok = false;
    if (queue_.AsyncNext(&tag, &is_ok, std::chrono::system_clock::now() + kPoll) == grpc::CompletionQueue::GOT_EVENT)
      OnEvent(*static_cast<Call*>(tag));
  }
  if (is_cancelled_) return absl::CancelledError("scoring was given up: its group is no longer wanted");
  return std::move(scores_);
}

absl::Status ScoringRound::MakeCalls() {
  if (spec_.terms().empty()) return absl::InvalidArgumentError("the reward spec has no terms");
  for (size_t i = 0; i < images_.size(); ++i)
    FLOWAWR_RETURN_IF_ERROR(Annotate(ValidateImage(images_[i]), absl::StrCat("image ", i)));
  for (v1::SampleScores& sample : scores_)
    for (int term = 0; term < spec_.terms_size(); ++term) sample.add_terms();
  const absl::Time now = MonotonicNow();
  for (int term = 0; term < spec_.terms_size(); ++term) {
    FLOWAWR_ASSIGN_OR_RETURN(ScoringClient::Endpoint * endpoint, client_.EndpointFor(spec_.terms(term).endpoint()));
    size_t bytes = 0;
    Call* call = nullptr;
    for (size_t i = 0; i < images_.size(); ++i) {
      bytes += images_[i].rgb.size();
      if (call == nullptr || static_cast<int>(call->images.size()) >= client_.options_.images_per_call ||
          bytes > client_.options_.bytes_per_call) {
        calls_.push_back(std::make_unique<Call>(client_.options_.retry));
        call = calls_.back().get();
        call->term = term;
        call->endpoint = endpoint;
        call->deadline = now + absl::Seconds(spec_.terms(term).timeout_s());
        bytes = images_[i].rgb.size();
      }
      call->images.push_back(static_cast<int>(i));
    }
  }
  return absl::OkStatus();
}

void ScoringRound::StartOrWait(Call& call) {
  const absl::Time now = MonotonicNow();
  if (now >= call.deadline)
    return Fail(call, call.last_kind, call.last_error.empty() ? "no time was left to score it" : call.last_error);
  absl::Time from;
  {
    absl::MutexLock lock(&call.endpoint->mutex);
    from = call.endpoint->breaker.Admit(now);
  }
  if (from > now) {
    if (call.last_error.empty()) call.last_error = "the server failed again and again and is left alone for a while";
    return WaitUntil(call, std::min(from, call.deadline));
  }
  Send(call, now);
}

void ScoringRound::Send(Call& call, absl::Time now) {
  v1::ScoreRequest request;
  request.set_scorer(spec_.terms(call.term).scorer());
  for (const int i : call.images) {
    v1::ScoreItem& item = *request.add_items();
    item.set_image_rgb(images_[i].rgb);
    item.set_height(images_[i].height);
    item.set_width(images_[i].width);
    item.set_prompt(prompt_.text());
    *item.mutable_metadata() = prompt_.metadata();
  }
  call.context = MakeContext(call.deadline - now, client_.network_);
  call.response.Clear();
  call.reader = call.endpoint->stub->AsyncScore(call.context.get(), request, &queue_);
  call.reader->Finish(&call.response, &call.status, &call);
}

void ScoringRound::WaitUntil(Call& call, absl::Time when) {
  call.is_waiting = true;
  call.alarm = std::make_unique<grpc::Alarm>();
  const absl::Duration wait = std::max(when - MonotonicNow(), absl::Milliseconds(1));
  call.alarm->Set(&queue_, std::chrono::system_clock::now() + absl::ToChronoMilliseconds(wait + absl::Milliseconds(1)),
                  &call);
}

void ScoringRound::OnEvent(Call& call) {
  const bool was_waiting = std::exchange(call.is_waiting, false);
  if (!was_waiting) OnAnswer(call);
  if (call.is_settled) return;
  if (is_cancelled_) return Fail(call, v1::ScoreError::OVERLOADED, "scoring was given up");
  if (was_waiting) return StartOrWait(call);
  RetryOrFail(call);
}

void ScoringRound::OnAnswer(Call& call) {
  const absl::Status status = FromGrpc(call.status);
  {
    absl::MutexLock lock(&call.endpoint->mutex);
    CircuitBreaker& breaker = call.endpoint->breaker;
    if (is_cancelled_ && absl::IsCancelled(status)) {
      breaker.OnAbandoned(MonotonicNow());
    } else if (absl::IsUnavailable(status) || absl::IsDeadlineExceeded(status)) {
      breaker.OnFailure(MonotonicNow());
    } else {
      breaker.OnAnswer();
    }
  }
  call.is_unreachable = absl::IsUnavailable(status);
  if (status.ok()) return TakeResults(call);
  call.last_kind = absl::IsResourceExhausted(status) || absl::IsDeadlineExceeded(status) ? v1::ScoreError::OVERLOADED
                                                                                         : v1::ScoreError::BROKEN;
  call.last_error = absl::StrCat("scorer ", spec_.terms(call.term).scorer(), " at ", spec_.terms(call.term).endpoint(),
                                 ": ", absl::StatusCodeToString(status.code()), ": ", status.message());
  if (IsFinal(status)) Fail(call, call.last_kind, call.last_error);
}

// Keeps in call.images those that are to be asked for again.
void ScoringRound::TakeResults(Call& call) {
  if (call.response.results_size() != static_cast<int>(call.images.size()))
    return Fail(call, v1::ScoreError::BROKEN,
                absl::StrCat("the server answered ", call.response.results_size(), " results for ", call.images.size(),
                             " images"));
  std::vector<int> again;
  for (size_t i = 0; i < call.images.size(); ++i) {
    v1::ScoreResult& result = *call.response.mutable_results(static_cast<int>(i));
    if (result.error().kind() == v1::ScoreError::OVERLOADED) {
      call.last_kind = v1::ScoreError::OVERLOADED;
      call.last_error = TruncateUtf8(result.error().message(), kMaxErrorBytes);
      again.push_back(call.images[i]);
      continue;
    }
    BoundResult(result);
    v1::TermScore& outcome = Outcome(call.images[i], call.term);
    *outcome.mutable_details() = std::move(*result.mutable_details());
    if (result.has_reward()) {
      outcome.set_reward(result.reward());
    } else {
      *outcome.mutable_error() = std::move(*result.mutable_error());
    }
  }
  call.images = std::move(again);
  if (call.images.empty()) {
    call.is_settled = true;
    --unsettled_;
  }
}

void ScoringRound::RetryOrFail(Call& call) {
  const std::optional<absl::Duration> pause = call.backoff.Next();
  const absl::Time now = MonotonicNow();
  if (!pause.has_value() || now + *pause >= call.deadline)
    return Fail(call, call.last_kind, absl::StrCat(call.last_error, " (retries are used up)"));
  WaitUntil(call, now + *pause);
}

const absl::Status& ScoringRound::WhyUnreachable(const Call& call) {
  const auto [found, is_new] = why_unreachable_.try_emplace(call.endpoint);
  if (is_new) found->second = CheckTls(spec_.terms(call.term).endpoint(), client_.network_);
  return found->second;
}

void ScoringRound::Fail(Call& call, v1::ScoreError::Kind kind, std::string message) {
  if (call.is_unreachable && !is_cancelled_)
    if (const absl::Status& why = WhyUnreachable(call); !why.ok()) absl::StrAppend(&message, ": ", why.message());
  message = TruncateUtf8(message, kMaxErrorBytes);
  for (const int image : call.images) {
    v1::ScoreError& error = *Outcome(image, call.term).mutable_error();
    error.set_kind(kind);
    error.set_message(message);
  }
  call.is_settled = true;
  --unsettled_;
}

void ScoringRound::CancelAll() {
  is_cancelled_ = true;
  for (const auto& call : calls_) {
    if (call->is_settled) continue;
    if (call->is_waiting) {
      call->alarm->Cancel();
    } else {
      call->context->TryCancel();
    }
  }
}

}  // namespace flowawr
