#include "learner/ranks/ranked_gradient_engine.h"

#include <spdlog/spdlog.h>
#include <torch/types.h>

#include <algorithm>
#include <iterator>
#include <map>
#include <optional>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/str_cat.h"
#include "common/base/clock.h"
#include "common/base/status.h"
#include "common/base/utf8.h"
#include "common/tensor/device_error.h"
#include "learner/ranks/gloo_link.h"
#include "learner/ranks/rank_patience.h"
#include "learner/ranks/rank_transport.h"
#include "learner/ranks/share_message.h"
#include "learner/ranks/split_chunks.h"

namespace flowawr {
namespace {

constexpr absl::Duration kPingEvery = absl::Seconds(1);  // while there is nothing to compute: sees who is gone
constexpr absl::Duration kWelcomeEvery = absl::Milliseconds(50);
constexpr absl::Duration kSayAgainEvery = absl::Seconds(10);  // of a rank that is refused again and again
constexpr absl::Duration kLinkLimit = absl::Seconds(10);  // a rank that was answered links at once
constexpr absl::Duration kAdmitLimit = absl::Seconds(5);  // and then answers
// What a rank that answers at all needs to hear of an end.
constexpr absl::Duration kCancelGrace = absl::Seconds(2), kCloseGrace = absl::Seconds(3);
constexpr size_t kMostMessageBytes = 4096;

// For a status and a log: it may have come from the other end.
std::string ForPeople(absl::string_view message) { return TruncateUtf8(SanitizeUtf8(message), kMostMessageBytes); }

int64_t RowsOf(const GradientPlan& plan, ChunkRange range) {
  int64_t rows = 0;
  for (size_t i = range.begin; i < range.end; ++i)
    if (const Chunk& chunk = plan.chunks[i]; !chunk.is_idle) rows += chunk.end - chunk.begin;
  return rows;
}

}  // namespace

// A share that a seat's thread has computed by its rank.
struct RankedGradientEngine::Task {
  const GradientRequest& request;
  const OldAdapters& old;
  const GradientPlan& plan;
  const ChunkRange range;
  absl::StatusOr<PartialGradient> result = absl::UnknownError("not computed");
  bool is_lost = false;  // with its rank, so that another is to compute it
  bool is_done = false;
};

struct RankedGradientEngine::Seat {
  explicit Seat(int number) : rank(number) {}

  const int rank;
  v1::RankStatus::State state = v1::RankStatus::JOINING;
  RankFacts facts;
  std::shared_ptr<RankLink> link;  // used by the seat's thread; broken by others
  bool avoids_nccl = false;  // a vector did not come by it: `auto` does without from then on
  Task* task = nullptr;
  absl::Time seen = absl::InfinitePast();
  double rows_per_s = 0;
  std::string message;
};

RankedGradientEngine::RankedGradientEngine(std::unique_ptr<LocalGradientEngine> local,
                                           std::unique_ptr<MeetingPoint> meeting_point, Options options)
    : local_(std::move(local)),
      options_(std::move(options)),
      meeting_point_(std::move(meeting_point)),
      metrics_(options_.registry != nullptr ? *options_.registry : unasked_, options_.facts.config.train().ranks()) {
  for (int rank = 1; rank < options_.facts.config.train().ranks(); ++rank)
    seats_.push_back(std::make_unique<Seat>(rank));
  serving_ = seats_.size();
  threads_.emplace_back([this] { WelcomeRanks(); });
  for (const auto& seat : seats_) {
    threads_.emplace_back([this, &seat] {
      Serve(*seat);
      const absl::MutexLock lock(&mutex_);
      --serving_;
    });
  }
}

RankedGradientEngine::~RankedGradientEngine() {
  {
    const absl::MutexLock lock(&mutex_);
    is_closed_ = true;
    if (admitted_ != nullptr) admitted_->Break();
    const auto have_ended = [this]() ABSL_NO_THREAD_SAFETY_ANALYSIS { return serving_ == 0; };
    if (!mutex_.AwaitWithTimeout(absl::Condition(&have_ended), kCloseGrace))
      for (const auto& seat : seats_)
        if (seat->link != nullptr) seat->link->Break();
  }
  for (std::thread& thread : threads_) thread.join();
}

void RankedGradientEngine::Finish() {
  const absl::MutexLock lock(&mutex_);
  is_finished_ = true;
}

void RankedGradientEngine::WelcomeRanks() {
  const auto is_closed = [this] {
    const absl::MutexLock lock(&mutex_);
    return mutex_.AwaitWithTimeout(absl::Condition(&is_closed_), kWelcomeEvery);
  };
  absl::Status told;
  while (!is_closed()) {
    const absl::StatusOr<std::optional<std::string>> hello = meeting_point_->NextHello();
    if (hello.ok() && !*hello) continue;
    const absl::StatusOr<RankFacts> facts = hello.ok() ? ParseFacts(**hello) : hello.status();
    if (facts.ok()) {
      Welcome(**hello, *facts);
    } else if (facts.status() != told) {  // a store that fails does so at every turn
      spdlog::warn("{}", ForPeople(facts.status().message()));
      told = facts.status();
    }
  }
}

absl::StatusOr<std::shared_ptr<RankLink>> RankedGradientEngine::LinkTo(const std::string& hello, const RankFacts& facts) {
  absl::StatusOr<ChosenTransport> transport = ChosenTransport();
  absl::Status status = CheckFacts(options_.facts, facts);
  if (status.ok()) {
    transport = ChooseTransport(options_.transport, options_.facts, facts);
    status = transport.status();
  }
  if (status.ok()) {
    const absl::MutexLock lock(&mutex_);
    const Seat& seat = *seats_[static_cast<size_t>(facts.rank) - 1];
    if (transport->is_nccl && seat.avoids_nccl && options_.transport != v1::NCCL)
      transport = ChosenTransport{.why_not = "a vector did not come by it before"};
    if (seat.link != nullptr)
      status = absl::AlreadyExistsError(absl::StrCat("rank ", facts.rank, " is here already, from ", seat.facts.host,
                                                     ": each needs a number of its own"));
  }
  // A code, and then the words of the error, or how vectors travel.
  const std::string answer = absl::StrCat(
      status.raw_code(), " ", !status.ok() ? status.message() : transport->is_nccl ? kNcclTransport : kGlooTransport);
  const absl::Status answered = meeting_point_->Answer(facts.session, answer);
  FLOWAWR_RETURN_IF_ERROR(status);
  FLOWAWR_RETURN_IF_ERROR(answered);
  FLOWAWR_ASSIGN_OR_RETURN(std::shared_ptr<RankLink> link,
                           meeting_point_->Link(facts.session, /*is_rank0=*/true, facts.rank0_host, kLinkLimit,
                                                transport->is_nccl ? std::optional(local_->device()) : std::nullopt));
  {
    const absl::MutexLock lock(&mutex_);
    if (is_closed_) return absl::CancelledError("the run ends");
    admitted_ = link;
  }
  const absl::Status admitted = AdmitRank(*link, options_.tokens, hello, kAdmitLimit);
  {
    const absl::MutexLock lock(&mutex_);
    admitted_.reset();
  }
  FLOWAWR_RETURN_IF_ERROR(admitted);
  spdlog::info("rank {} has joined from {}; gradients travel by {}", facts.rank, facts.host,
               transport->is_nccl ? kNcclTransport : absl::StrCat(kGlooTransport, " (", ForPeople(transport->why_not), ")"));
  return link;
}

void RankedGradientEngine::Welcome(const std::string& hello, const RankFacts& facts) {
  absl::StatusOr<std::shared_ptr<RankLink>> link = LinkTo(hello, facts);
  const bool has_seat = facts.rank >= 1 && facts.rank <= static_cast<int>(seats_.size());
  const absl::MutexLock lock(&mutex_);
  if (!link.ok()) {
    const std::string message = ForPeople(link.status().message());
    const std::string refusal = absl::StrCat("rank ", facts.rank, " at ", facts.host, " has not joined: ", message);
    if (refusal != refusal_ || MonotonicNow() - refused_at_ >= kSayAgainEvery) {
      spdlog::warn("{}", refusal);
      refusal_ = refusal;
      refused_at_ = MonotonicNow();
    }
    if (has_seat && seats_[static_cast<size_t>(facts.rank) - 1]->link == nullptr)
      seats_[static_cast<size_t>(facts.rank) - 1]->message = message;
    return;
  }
  Seat& seat = *seats_[static_cast<size_t>(facts.rank) - 1];
  seat.link = *std::move(link);
  seat.facts = facts;
  seat.state = v1::RankStatus::READY;
  seat.message.clear();
  seat.seen = MonotonicNow();
}

void RankedGradientEngine::Serve(Seat& seat) {
  while (true) {
    std::shared_ptr<RankLink> link;
    Task* task = nullptr;
    bool is_last = false;
    {
      const absl::MutexLock lock(&mutex_);
      const auto has_work = [&] { return is_closed_ || seat.task != nullptr; };
      mutex_.AwaitWithTimeout(absl::Condition(&has_work), kPingEvery);
      link = seat.link, task = seat.task, is_last = is_closed_;
      if (is_last && (link == nullptr || !is_finished_)) {
        seat.link.reset();
        return;
      }
      if (link == nullptr) continue;
    }
    absl::Status status;
    if (is_last) {
      status = link->Send({.word = RankWord::kFinished}, kPingEvery);
      // The end of the link shows that it was heard: ending it first could take the word away.
      link->Receive(kPingEvery).IgnoreError();
    } else {
      const TransferSeconds before = link->spent();
      status = task == nullptr ? Ping(*link) : Work(seat, *link, *task);
      metrics_.AddExchangeSeconds("send", link->spent().sending - before.sending);
      metrics_.AddExchangeSeconds("receive", link->spent().receiving - before.receiving);
    }
    const absl::MutexLock lock(&mutex_);
    if (is_last) {
      seat.link.reset();
      return;
    }
    if (IsDeviceLineError(status)) seat.avoids_nccl = true;
    // Rank 0's own: no rank is to blame, and none could compute it.
    const bool is_own = task != nullptr && IsDeviceError(status);
    if (is_own) task->result = status;
    // What was given while a ping was under way is still to do; of a link that is lost, it is lost as well.
    if (!status.ok() && task == nullptr) task = seat.task;
    if (task != nullptr) seat.task = nullptr;
    if (status.ok()) {
      seat.seen = MonotonicNow();
    } else {
      seat.message = absl::StrCat("rank ", seat.rank, " at ", seat.facts.host, " is lost: ", ForPeople(status.message()));
      spdlog::warn("{}", seat.message);
      seat.state = v1::RankStatus::LOST;
      metrics_.AddLoss(seat.rank);
      seat.link.reset();
    }
    if (task != nullptr) {
      task->is_lost = !status.ok() && !is_own;
      task->is_done = true;
    }
  }
}

absl::Status RankedGradientEngine::Ping(RankLink& link) const {
  FLOWAWR_RETURN_IF_ERROR(link.Send({.word = RankWord::kPing}, options_.timeout));
  return link.Receive(options_.timeout).status();
}

// Of a rank that lives, but has finished no micro-batch since `advanced`.
absl::Status RankedGradientEngine::CheckPatience(absl::Time advanced) const {
  const absl::Duration longest = absl::Milliseconds(own_progress_.longest_ms.load());
  const absl::Duration silence = absl::Floor(MonotonicNow() - advanced, absl::Seconds(1));
  if (silence <= PatienceWithAMicroBatch(options_.timeout, longest)) return absl::OkStatus();
  return absl::DeadlineExceededError(
      absl::StrCat("it lives, but has finished no micro-batch for ", absl::FormatDuration(silence),
                   " (train.rank_timeout_s); rank 0's longest took ", absl::FormatDuration(longest)));
}

// An error is the link's, the rank's device's, or rank 0's own device's (IsDeviceError()); what no rank could compute is the
// task's result.
absl::Status RankedGradientEngine::Work(Seat& seat, RankLink& link, Task& task) {
  const absl::Time begin = MonotonicNow();
  const int64_t size = task.request.current.layout().size();
  const MessageBound bound = PartialBound(task.plan, task.range, size);
  const absl::StatusOr<RankMessage> share = ShareMessage(task.request, task.old, task.plan, task.range);
  if (!share.ok()) {  // nothing was sent
    task.result = share.status();
    return absl::OkStatus();
  }
  FLOWAWR_RETURN_IF_ERROR(link.Send(*share, options_.timeout));
  std::string progress;
  absl::Time advanced = MonotonicNow();
  while (true) {
    FLOWAWR_ASSIGN_OR_RETURN(RankMessage message, link.Receive(options_.timeout, bound));
    switch (message.word) {
      case RankWord::kProgress:
        if (message.text != progress) progress = message.text, advanced = MonotonicNow();
        FLOWAWR_RETURN_IF_ERROR(CheckPatience(advanced));
        FLOWAWR_RETURN_IF_ERROR(
            link.Send({.word = task.request.is_cancelled ? RankWord::kCancel : RankWord::kGoOn}, options_.timeout));
        continue;
      case RankWord::kFailed:
        task.result = absl::InternalError(absl::StrCat("rank ", seat.rank, ": ", ForPeople(message.text)));
        return absl::OkStatus();
      case RankWord::kDeviceFailed:
        return absl::UnavailableError(message.text);
      case RankWord::kResult: {
        FLOWAWR_ASSIGN_OR_RETURN(task.result, ParsePartial(std::move(message), task.plan, task.range, size));
        const absl::MutexLock lock(&mutex_);
        seat.rows_per_s = static_cast<double>(RowsOf(task.plan, task.range)) / absl::ToDoubleSeconds(MonotonicNow() - begin);
        return absl::OkStatus();
      }
      default:
        return absl::InvalidArgumentError("it speaks another language");
    }
  }
}

std::vector<RankedGradientEngine::Seat*> RankedGradientEngine::Ready() {
  std::vector<Seat*> ready;
  for (const auto& seat : seats_)
    if (seat->link != nullptr) ready.push_back(seat.get());
  return ready;
}

absl::Status RankedGradientEngine::AwaitRanks(const GradientRequest& request) {
  if (has_begun_ && !options_.waits_for_lost) return absl::OkStatus();
  const absl::Time limit = MonotonicNow() + options_.timeout;
  const absl::MutexLock lock(&mutex_);
  const auto are_all_there = [this]() ABSL_NO_THREAD_SAFETY_ANALYSIS { return Ready().size() == seats_.size(); };
  const absl::Cleanup no_longer = [this] { metrics_.SetAwaited(0); };
  while (!mutex_.AwaitWithTimeout(absl::Condition(&are_all_there), kWelcomeEvery)) {
    metrics_.SetAwaited(seats_.size() - Ready().size());
    if (request.is_cancelled) return absl::CancelledError("the update was cancelled while it waited for ranks");
    if (!options_.waits_for_lost && MonotonicNow() >= limit) break;
  }
  has_begun_ = true;
  return absl::OkStatus();
}

// Of a request that was cancelled, for a moment; then the links of those that do not answer are given up.
void RankedGradientEngine::AwaitTasks(const GradientRequest& request, const std::vector<std::unique_ptr<Task>>& tasks) {
  const absl::MutexLock lock(&mutex_);
  const auto are_done = [&] {
    return std::all_of(tasks.begin(), tasks.end(), [](const auto& task) { return task->is_done; });
  };
  absl::Time limit = absl::InfiniteFuture();
  while (!mutex_.AwaitWithTimeout(absl::Condition(&are_done), kWelcomeEvery)) {
    if (!request.is_cancelled) continue;
    if (limit == absl::InfiniteFuture()) limit = MonotonicNow() + kCancelGrace;
    if (MonotonicNow() < limit) continue;
    for (const auto& seat : seats_)
      if (seat->task != nullptr && seat->link != nullptr) seat->link->Break();
  }
}

absl::StatusOr<BatchGradient> RankedGradientEngine::Compute(const GradientRequest& request) {
  const GradientPlan plan = local_->Plan(request);
  OldAdapters old;
  for (const Group& group : request.batch)
    if (const uint64_t version = group.lease.policy_version(); !old.contains(version))
      old[version] = request.old_adapter(version);

  TreeSum<at::Tensor> sum = GradientSum(plan);
  std::map<size_t, std::vector<ChunkFigures>> figures;  // by the range's begin
  std::vector<ChunkRange> todo;
  if (!plan.chunks.empty()) todo.push_back({0, plan.chunks.size()});
  while (!todo.empty()) {
    FLOWAWR_RETURN_IF_ERROR(AwaitRanks(request));
    const ChunkRange range = todo.back();
    todo.pop_back();
    std::vector<std::unique_ptr<Task>> tasks;
    ChunkRange own = range;
    {
      const absl::MutexLock lock(&mutex_);
      const std::vector<Seat*> ready = Ready();
      const std::vector<ChunkRange> shares = SplitChunks(plan, range, ready.size() + 1);
      if (!shares.empty()) own = shares[0];
      for (size_t i = 1; i < shares.size(); ++i) {
        tasks.push_back(std::make_unique<Task>(Task{request, old, plan, shares[i]}));
        ready[i - 1]->task = tasks.back().get();
      }
    }
    const absl::Time begin = MonotonicNow();
    absl::StatusOr<PartialGradient> mine = local_->ComputeRange(request, plan, own, &own_progress_);
    const absl::Duration took = MonotonicNow() - begin;
    AwaitTasks(request, tasks);
    if (request.is_cancelled) return absl::CancelledError("the update was cancelled while its gradient was computed");
    const auto take = [&](ChunkRange of, absl::StatusOr<PartialGradient> part) {
      if (!part.ok()) return part.status();
      figures[of.begin] = std::move(part->figures);
      return OnDevice("adding up the gradients of several ranks", local_->device(), [&] {
        for (auto& [node, gradient] : part->nodes) sum.Add(node, gradient);
        return absl::OkStatus();
      });
    };
    const absl::Time added = MonotonicNow();
    FLOWAWR_RETURN_IF_ERROR(take(own, std::move(mine)));
    for (const auto& task : tasks) {
      if (task->is_lost) {
        todo.push_back(task->range);
      } else {
        FLOWAWR_RETURN_IF_ERROR(take(task->range, std::move(task->result)));
      }
    }
    metrics_.AddExchangeSeconds("add", absl::ToDoubleSeconds(MonotonicNow() - added));
    const absl::MutexLock lock(&mutex_);
    own_rows_per_s_ = static_cast<double>(RowsOf(plan, own)) / absl::ToDoubleSeconds(took);
  }
  std::vector<ChunkFigures> in_order;
  for (auto& [begin, of_range] : figures) std::move(of_range.begin(), of_range.end(), std::back_inserter(in_order));
  return local_->Finish(request, plan, sum.nodes(), in_order);
}

absl::StatusOr<std::vector<double>> RankedGradientEngine::LogProbDrift(const GradientRequest& request) {
  return local_->LogProbDrift(request);
}

void RankedGradientEngine::AddTo(v1::Status& status) const {
  const absl::MutexLock lock(&mutex_);
  v1::RankStatus& own = *status.add_ranks();
  own.set_state(v1::RankStatus::READY);
  own.set_rows_per_s(own_rows_per_s_);
  own.set_address(meeting_point_->address().ToString());
  for (const std::string& device : options_.facts.devices) own.add_devices(device);
  for (const auto& seat : seats_) {
    v1::RankStatus& rank = *status.add_ranks();
    rank.set_rank(static_cast<uint32_t>(seat->rank));
    rank.set_state(seat->state);
    rank.set_address(seat->facts.host);
    for (const std::string& device : seat->facts.devices) rank.add_devices(device);
    rank.set_rows_per_s(seat->rows_per_s);
    if (seat->seen > absl::InfinitePast())
      rank.set_seconds_since_seen(absl::ToDoubleSeconds(MonotonicNow() - seat->seen));
    rank.set_message(seat->message);
    if (seat->state == v1::RankStatus::LOST) status.add_warnings(seat->message);
  }
}

}  // namespace flowawr
