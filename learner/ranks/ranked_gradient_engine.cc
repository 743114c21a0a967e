#include "learner/ranks/ranked_gradient_engine.h"

#include <spdlog/spdlog.h>
#include <torch/types.h>

#include <algorithm>
#include <iterator>
#include <map>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/clock.h"
#include "common/base/status.h"
#include "learner/ranks/share_message.h"
#include "learner/ranks/split_chunks.h"

namespace flowawr {
namespace {

constexpr absl::Duration kPingEvery = absl::Seconds(1);         // while there is nothing to compute: sees who is gone
constexpr absl::Duration kWelcomeEvery = absl::Milliseconds(50);
constexpr absl::Duration kLinkLimit = absl::Seconds(10);        // a rank that was answered links at once

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
  std::shared_ptr<RankLink> link;  // used by the seat's thread alone
  Task* task = nullptr;
  absl::Time seen = absl::InfinitePast();
  double rows_per_s = 0;
  std::string message;
};

RankedGradientEngine::RankedGradientEngine(std::unique_ptr<LocalGradientEngine> local,
                                           std::unique_ptr<MeetingPoint> meeting_point, Options options)
    : local_(std::move(local)), options_(std::move(options)), meeting_point_(std::move(meeting_point)) {
  for (int rank = 1; rank < options_.facts.config.train().ranks(); ++rank)
    seats_.push_back(std::make_unique<Seat>(rank));
  threads_.emplace_back([this] { WelcomeRanks(); });
  for (const auto& seat : seats_) threads_.emplace_back([this, &seat] { Serve(*seat); });
}

RankedGradientEngine::~RankedGradientEngine() {
  {
    const absl::MutexLock lock(&mutex_);
    is_closed_ = true;
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
  while (!is_closed()) {
    const absl::StatusOr<std::optional<std::string>> hello = meeting_point_->NextHello();
    if (!hello.ok()) {
      spdlog::error("no rank can join any more: {}", std::string(hello.status().message()));
      return;
    }
    if (!*hello) continue;
    const absl::StatusOr<RankFacts> facts = ParseFacts(**hello);
    if (facts.ok()) {
      Welcome(*facts);
    } else {
      spdlog::warn("{}", std::string(facts.status().message()));
    }
  }
}

void RankedGradientEngine::Welcome(const RankFacts& facts) {
  absl::Status status = CheckFacts(options_.facts, facts);
  Seat* const seat = absl::IsInvalidArgument(status) ? nullptr
                     : facts.rank >= 1 && facts.rank <= static_cast<int>(seats_.size())
                         ? seats_[static_cast<size_t>(facts.rank) - 1].get()
                         : nullptr;
  if (status.ok()) {
    const absl::MutexLock lock(&mutex_);
    if (seat->link != nullptr)
      status = absl::AlreadyExistsError(absl::StrCat("rank ", facts.rank, " is here already, from ", seat->facts.host,
                                                     ": each needs a number of its own"));
  }
  // Empty: come in; else the code and the words of the error.
  const std::string answer = status.ok() ? "" : absl::StrCat(status.raw_code(), " ", status.message());
  absl::Status linked = meeting_point_->Answer(facts.session, answer);
  std::shared_ptr<RankLink> link;
  if (status.ok() && linked.ok()) {
    auto made = meeting_point_->Link(facts.session, /*is_rank0=*/true, facts.rank0_host, kLinkLimit);
    linked = made.status();
    if (made.ok()) link = *std::move(made);
  }
  status.Update(linked);
  if (!status.ok()) {
    spdlog::warn("rank {} at {} has not joined: {}", facts.rank, facts.host, std::string(status.message()));
    const absl::MutexLock lock(&mutex_);
    if (seat != nullptr && seat->link == nullptr) seat->message = std::string(status.message());
    return;
  }
  spdlog::info("rank {} has joined from {}", facts.rank, facts.host);
  const absl::MutexLock lock(&mutex_);
  seat->link = std::move(link);
  seat->facts = facts;
  seat->state = v1::RankStatus::READY;
  seat->message.clear();
  seat->seen = MonotonicNow();
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
      status = link->Send({RankWord::kFinished}, kPingEvery);
      // The end of the link shows that it was heard: ending it first could take the word away.
      link->Receive(kPingEvery).IgnoreError();
    } else {
      status = task == nullptr ? Ping(*link) : Work(seat, *link, *task);
    }
    const absl::MutexLock lock(&mutex_);
    if (is_last) {
      seat.link.reset();
      return;
    }
    // What was given while a ping was under way is still to do; of a link that is lost, it is lost as well.
    if (!status.ok() && task == nullptr) task = seat.task;
    if (task != nullptr) seat.task = nullptr;
    if (status.ok()) {
      seat.seen = MonotonicNow();
    } else {
      seat.message = absl::StrCat("rank ", seat.rank, " at ", seat.facts.host, " is lost: ", status.message());
      spdlog::warn("{}", seat.message);
      seat.state = v1::RankStatus::LOST;
      seat.link.reset();
    }
    if (task != nullptr) {
      task->is_lost = !status.ok();
      task->is_done = true;
    }
  }
}

absl::Status RankedGradientEngine::Ping(RankLink& link) const {
  FLOWAWR_RETURN_IF_ERROR(link.Send({RankWord::kPing}, options_.timeout));
  return link.Receive(options_.timeout).status();
}

// An error is the link's; what the rank could not compute is the task's result.
absl::Status RankedGradientEngine::Work(Seat& seat, RankLink& link, Task& task) const {
  const absl::Time begin = MonotonicNow();
  FLOWAWR_ASSIGN_OR_RETURN(std::string share, SerializeShare(task.request, task.old, task.plan, task.range));
  FLOWAWR_RETURN_IF_ERROR(link.Send({RankWord::kCompute, std::move(share)}, options_.timeout));
  std::string progress;
  absl::Time advanced = MonotonicNow();
  while (true) {
    FLOWAWR_ASSIGN_OR_RETURN(RankMessage message, link.Receive(options_.timeout));
    const absl::Time now = MonotonicNow();
    if (message.word == RankWord::kProgress) {
      if (message.bytes != progress) progress = message.bytes, advanced = now;
      if (now - advanced > options_.timeout)
        return absl::DeadlineExceededError(absl::StrCat("it has finished no micro-batch for ",
                                                        absl::FormatDuration(options_.timeout),
                                                        " (train.rank_timeout_s)"));
      FLOWAWR_RETURN_IF_ERROR(
          link.Send({task.request.is_cancelled ? RankWord::kCancel : RankWord::kGoOn}, options_.timeout));
      continue;
    }
    if (message.word == RankWord::kFailed) {
      task.result = absl::InternalError(absl::StrCat("rank ", seat.rank, ": ", message.bytes));
      return absl::OkStatus();
    }
    if (message.word != RankWord::kResult) return absl::InternalError("it speaks another language");
    FLOWAWR_ASSIGN_OR_RETURN(task.result, ParsePartial(std::move(message.bytes), task.plan, task.range));
    int64_t rows = 0;
    for (size_t i = task.range.begin; i < task.range.end; ++i)
      if (const Chunk& chunk = task.plan.chunks[i]; !chunk.is_idle) rows += chunk.end - chunk.begin;
    const absl::MutexLock lock(&mutex_);
    seat.rows_per_s = static_cast<double>(rows) / absl::ToDoubleSeconds(MonotonicNow() - begin);
    return absl::OkStatus();
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
  while (!mutex_.AwaitWithTimeout(absl::Condition(&are_all_there), kWelcomeEvery)) {
    if (request.is_cancelled) return absl::CancelledError("the update was cancelled while it waited for ranks");
    if (!options_.waits_for_lost && MonotonicNow() >= limit) break;
  }
  has_begun_ = true;
  return absl::OkStatus();
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
    absl::StatusOr<PartialGradient> mine = local_->ComputeRange(request, plan, own);
    {
      const absl::MutexLock lock(&mutex_);
      const auto are_done = [&] {
        return std::all_of(tasks.begin(), tasks.end(), [](const auto& task) { return task->is_done; });
      };
      mutex_.Await(absl::Condition(&are_done));
    }
    if (request.is_cancelled) return absl::CancelledError("the update was cancelled while its gradient was computed");
    const auto take = [&](ChunkRange of, absl::StatusOr<PartialGradient> part) {
      if (!part.ok()) return part.status();
      for (auto& [node, gradient] : part->nodes) sum.Add(node, gradient);
      figures[of.begin] = std::move(part->figures);
      return absl::OkStatus();
    };
    FLOWAWR_RETURN_IF_ERROR(take(own, std::move(mine)));
    for (const auto& task : tasks) {
      if (task->is_lost) {
        todo.push_back(task->range);
      } else {
        FLOWAWR_RETURN_IF_ERROR(take(task->range, std::move(task->result)));
      }
    }
  }
  std::vector<ChunkFigures> in_order;
  for (auto& [begin, of_range] : figures) std::move(of_range.begin(), of_range.end(), std::back_inserter(in_order));
  return FinishGradient(request, plan, sum.nodes(), in_order);
}

absl::StatusOr<std::vector<double>> RankedGradientEngine::LogProbDrift(const GradientRequest& request) {
  return local_->LogProbDrift(request);
}

void RankedGradientEngine::AddTo(v1::Status& status) const {
  const absl::MutexLock lock(&mutex_);
  v1::RankStatus& own = *status.add_ranks();
  own.set_state(v1::RankStatus::READY);
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
