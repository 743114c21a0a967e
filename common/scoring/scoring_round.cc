#include "common/scoring/scoring_round.h"

#include <algorithm>
#include <chrono>
#include <optional>
#include <tuple>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "common/base/clock.h"
#include "common/base/status.h"
#include "common/base/utf8.h"
#include "common/rpc/channel.h"
#include "common/rpc/status.h"
#include "common/rpc/tls_check.h"
#include "common/scoring/reward_terms.h"
#include "common/scoring/score_bounds.h"

namespace flowawr {
namespace {

// How often `is_wanted` is asked.
constexpr std::chrono::milliseconds kPoll{50};

// When a server whose queue is full wants to be asked again, by gRPC's own way to say so (gRFC A6); zero: it does not say.
absl::Duration PushbackOf(const grpc::ClientContext& context) {
  const auto& metadata = context.GetServerTrailingMetadata();
  const auto it = metadata.find("grpc-retry-pushback-ms");
  int64_t milliseconds = 0;
  if (it == metadata.end() || !absl::SimpleAtoi(absl::string_view(it->second.data(), it->second.size()), &milliseconds))
    return absl::ZeroDuration();
  return std::max(absl::Milliseconds(milliseconds), absl::ZeroDuration());
}

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
  for (const auto& call : calls_) ++unsettled_, unsettled_trained_ += call->is_shadow ? 0 : 1;
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
  for (const Image& image : images_) pixels_.emplace_back(image.rgb);
  for (v1::SampleScores& sample : scores_)
    for (int term = 0; term < spec_.terms_size(); ++term) sample.add_terms();
  const absl::Time now = MonotonicNow();
  for (int term = 0; term < spec_.terms_size(); ++term) {
    FLOWAWR_ASSIGN_OR_RETURN(endpoints_.emplace_back(), client_.EndpointsFor(spec_.terms(term)));
    size_t bytes = 0;
    Call* call = nullptr;
    for (size_t i = 0; i < images_.size(); ++i) {
      bytes += images_[i].rgb.size();
      if (call == nullptr || static_cast<int>(call->images.size()) >= client_.options_.images_per_call ||
          bytes > client_.options_.bytes_per_call) {
        calls_.push_back(std::make_unique<Call>(client_.options_.retry));
        call = calls_.back().get();
        call->term = term;
        call->is_shadow = IsShadow(spec_.terms(term));
        call->began = now;
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
  bool has_others = false;
  if (ScoringClient::Endpoint* endpoint = Choose(call, now, &from, &has_others)) {
    call.endpoint = endpoint;
    return Send(call, now, has_others);
  }
  call.is_left_alone = true;
  if (call.last_error.empty()) call.last_error = "the server failed again and again and is left alone for a while";
  if (!IsWorthWaiting(call)) return Fail(call, call.last_kind, call.last_error);
  WaitUntil(call, std::min(from, call.deadline));
}

ScoringClient::Endpoint* ScoringRound::Choose(const Call& call, absl::Time now, absl::Time* from, bool* has_others) {
  struct Candidate {
    ScoringClient::Endpoint* endpoint;
    bool is_lacking, is_well;
    int calls;
  };
  const std::string& scorer = spec_.terms(call.term).scorer();
  const auto& endpoints = endpoints_[call.term];
  const size_t turn = client_.turn_++;
  std::vector<Candidate> candidates;
  *from = absl::InfiniteFuture();
  for (size_t i = 0; i < endpoints.size(); ++i) {
    ScoringClient::Endpoint* const endpoint = endpoints[(turn + i) % endpoints.size()];
    if (call.tried.contains(endpoint)) continue;
    absl::MutexLock lock(&endpoint->mutex);
    const absl::Time admitted = endpoint->breaker.WouldAdmit(now);
    if (admitted > now) {
      *from = std::min(*from, admitted);
      continue;
    }
    const auto lacks = endpoint->lacks.find(scorer);
    candidates.push_back({endpoint, lacks != endpoint->lacks.end() && lacks->second > now,
                          endpoint->breaker.state() == CircuitBreaker::State::kClosed, endpoint->calls});
  }
  // One whose pause is over comes first, or it would never be taken back where others are well.
  std::stable_sort(candidates.begin(), candidates.end(), [](const Candidate& a, const Candidate& b) {
    return std::tie(a.is_lacking, a.is_well, a.calls) < std::tie(b.is_lacking, b.is_well, b.calls);
  });
  for (size_t i = 0; i < candidates.size(); ++i) {
    ScoringClient::Endpoint* const endpoint = candidates[i].endpoint;
    absl::MutexLock lock(&endpoint->mutex);
    *has_others = i + 1 < candidates.size();
    if (endpoint->breaker.Admit(now) <= now) return endpoint;  // unless another call was quicker
    *from = std::min(*from, endpoint->breaker.WouldAdmit(now));
  }
  return nullptr;
}

void ScoringRound::Send(Call& call, absl::Time now, bool has_others) {
  std::vector<v1::ScoreItem> items(call.images.size());
  std::vector<grpc::Slice> pixels;
  for (size_t i = 0; i < items.size(); ++i) {
    const Image& image = images_[call.images[i]];
    items[i].set_height(image.height);
    items[i].set_width(image.width);
    items[i].set_prompt(prompt_.text());
    *items[i].mutable_metadata() = prompt_.metadata();
    pixels.push_back(pixels_[call.images[i]]);
  }
  call.is_left_alone = false;
  {
    absl::MutexLock lock(&call.endpoint->mutex);
    ++call.endpoint->calls;
    call.endpoint->used = now;
  }
  if (std::exchange(call.was_sent, true)) ++client_.retries_;
  call.context = MakeContext((call.deadline - now) / (has_others ? 2 : 1), client_.network_);
  call.response.Clear();
  call.reader = call.endpoint->stub->PrepareUnaryCall(
      call.context.get(), ScoreMethod(), ScoreMessage(spec_.terms(call.term).scorer(), items, pixels), &queue_);
  call.reader->StartCall();
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
  if (call.is_given_up) return Fail(call, call.last_kind, call.last_error);
  if (was_waiting) return StartOrWait(call);
  RetryOrFail(call);
}

void ScoringRound::OnAnswer(Call& call) {
  const absl::Status status = FromGrpc(call.status);
  const std::string& scorer = spec_.terms(call.term).scorer();
  {
    absl::MutexLock lock(&call.endpoint->mutex);
    const absl::Time now = MonotonicNow();
    CircuitBreaker& breaker = call.endpoint->breaker;
    --call.endpoint->calls;
    if (is_cancelled_ && absl::IsCancelled(status)) {
      breaker.OnAbandoned(now);
    } else if (absl::IsUnavailable(status) || absl::IsDeadlineExceeded(status)) {
      breaker.OnFailure(now);
    } else {
      breaker.OnAnswer();
    }
    if (absl::IsNotFound(status)) {
      call.endpoint->lacks[scorer] = now + client_.options_.leave_out_lacking;
    } else if (status.ok()) {
      call.endpoint->lacks.erase(scorer);
    }
  }
  call.is_unreachable = absl::IsUnavailable(status);
  call.tried.insert(call.endpoint);
  if (status.ok()) return TakeResults(call);
  const bool may_be_loaded = absl::IsNotFound(status) && IsRequired(spec_.terms(call.term)) &&
                             MonotonicNow() < call.began + client_.options_.await_lacking;
  call.may_do_better |= IsTransient(status) || may_be_loaded;
  call.last_kind = absl::IsResourceExhausted(status) || absl::IsDeadlineExceeded(status) ? v1::ScoreError::OVERLOADED
                                                                                         : v1::ScoreError::BROKEN;
  call.last_error = absl::StrCat("scorer ", scorer, " at ", call.endpoint->address, ": ",
                                 absl::StatusCodeToString(status.code()), ": ", status.message());
  if (absl::IsResourceExhausted(status))
    call.retry_after = std::max(call.retry_after,
                                std::min(PushbackOf(*call.context), client_.options_.longest_retry_after));
}

// Keeps in call.images those that are to be asked for again.
void ScoringRound::TakeResults(Call& call) {
  if (call.response.results_size() != static_cast<int>(call.images.size())) {
    call.last_kind = v1::ScoreError::BROKEN;
    call.last_error = absl::StrCat("the server answered ", call.response.results_size(), " results for ",
                                   call.images.size(), " images");
    return;
  }
  std::vector<int> again;
  for (size_t i = 0; i < call.images.size(); ++i) {
    v1::ScoreResult& result = *call.response.mutable_results(static_cast<int>(i));
    const double retry_after_s = result.error().retry_after_s();
    BoundResult(result);
    v1::TermScore& outcome = Outcome(call.images[i], call.term);
    *outcome.mutable_details() = std::move(*result.mutable_details());
    if (result.has_reward()) {
      outcome.set_reward(result.reward());
      continue;
    }
    *outcome.mutable_error() = std::move(*result.mutable_error());
    const v1::ScoreError::Kind kind = outcome.error().kind();
    if (kind == v1::ScoreError::BAD_INPUT) continue;
    if (kind == v1::ScoreError::OVERLOADED) {
      call.may_do_better = true;
      if (retry_after_s > 0)  // nor NaN
        call.retry_after = std::max(
            call.retry_after, std::min(absl::Seconds(retry_after_s), client_.options_.longest_retry_after));
    }
    call.last_kind = kind;
    call.last_error = outcome.error().message();
    again.push_back(call.images[i]);
  }
  call.images = std::move(again);
  if (call.images.empty()) Settle(call);
}

void ScoringRound::RetryOrFail(Call& call) {
  const auto& endpoints = endpoints_[call.term];
  const absl::Time now = MonotonicNow();
  if (call.tried.size() < endpoints.size() && now < call.deadline) {
    absl::Time from;
    bool has_others = false;
    if (ScoringClient::Endpoint* endpoint = Choose(call, now, &from, &has_others)) {
      call.endpoint = endpoint;
      return Send(call, now, has_others);
    }
    call.may_do_better = true;  // those that are left alone now
  }
  SettleBroken(call);
  if (call.is_settled) return;
  if (!call.may_do_better) return Fail(call, call.last_kind, call.last_error);
  const std::optional<absl::Duration> pause = call.backoff.Next();
  const absl::Duration wait = std::max(pause.value_or(absl::ZeroDuration()), call.retry_after);
  if (!pause.has_value() || now + wait >= call.deadline)
    return Fail(call, call.last_kind, absl::StrCat(call.last_error, " (retries are used up)"));
  if (!IsWorthWaiting(call)) return Fail(call, call.last_kind, call.last_error);
  call.tried.clear();
  call.may_do_better = false;
  call.retry_after = absl::ZeroDuration();
  WaitUntil(call, now + wait);
}

void ScoringRound::SettleBroken(Call& call) {
  std::erase_if(call.images, [&](int image) {
    const v1::TermScore& outcome = Outcome(image, call.term);
    return outcome.has_error() && outcome.error().kind() == v1::ScoreError::BROKEN;
  });
  if (call.images.empty()) Settle(call);
}

void ScoringRound::Settle(Call& call) {
  call.is_settled = true;
  --unsettled_;
  if (!call.is_shadow && --unsettled_trained_ == 0) GiveUpShadows();
}

void ScoringRound::GiveUpShadows() {
  for (const auto& call : calls_) {
    if (call->is_settled || !call->is_waiting || IsWorthWaiting(*call)) continue;
    call->is_given_up = true;
    call->alarm->Cancel();
  }
}

const absl::Status& ScoringRound::WhyUnreachable(const Call& call) {
  const auto [found, is_new] = why_unreachable_.try_emplace(call.endpoint);
  if (is_new) found->second = CheckTls(call.endpoint->address, client_.network_);
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
  Settle(call);
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
