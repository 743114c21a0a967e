#include "learner/local_gradient_engine.h"

#include <ATen/Parallel.h>
#include <c10/core/DeviceGuard.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/types.h>

#include <algorithm>
#include <atomic>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <thread>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "common/base/clock.h"
#include "common/base/status.h"
#include "common/base/usable_cores.h"
#include "common/diffusion/counter_rng.h"
#include "common/tensor/device_error.h"
#include "common/tensor/transfer.h"
#include "learner/chunk_figures.h"
#include "learner/random_streams.h"

namespace flowawr {
namespace {

// What `compute` gives, or OnDevice()'s error.
template <typename Result>
absl::StatusOr<Result> Guarded(const std::string& what, at::Device device, const std::function<Result()>& compute) {
  std::optional<Result> result;
  FLOWAWR_RETURN_IF_ERROR(OnDevice(
      absl::StrCat("computing the gradient of ", what), device,
      [&] {
        result = compute();
        return absl::OkStatus();
      },
      "Lower train.micro_batch or raise train.checkpointed_blocks; `flowawr plan` has figures"));
  return *std::move(result);
}

std::string NameOf(const Group& group) { return absl::StrCat("group ", group.id()); }

// On the CPU they stay where they are.
Rows AtDevice(at::Device device, Rows rows) {
  for (at::Tensor* x : {&rows.x, &rows.sigma, &rows.signal, &rows.x0, &rows.noise, &rows.next, &rows.sigma_next,
                        &rows.log_prob})
    if (x->defined()) *x = MovedTo(*x, device);
  return rows;
}

// On the CPU each thread computes alone; a device is given its work by one thread.
int ThreadsFor(const std::vector<std::shared_ptr<const Transformer>>& transformers, int wanted) {
  if (!transformers[0]->placement().device.is_cpu()) return static_cast<int>(transformers.size());
  return wanted > 0 ? wanted : UsableCoresHere().count;
}

}  // namespace

// Threads that live as long as the pool and run one piece of work all at once.
class LocalGradientEngine::Pool {
 public:
  explicit Pool(int threads) {
    for (int i = 0; i < threads; ++i) threads_.emplace_back([this, i] { Loop(static_cast<size_t>(i)); });
  }
  ~Pool() {
    {
      const absl::MutexLock lock(&mutex_);
      is_closed_ = true;
    }
    for (std::thread& thread : threads_) thread.join();
  }

  int size() const { return static_cast<int>(threads_.size()); }

  // Returns when every thread has run `work` once, with its number. It must not throw.
  void Run(const std::function<void(size_t thread)>& work) {
    const absl::MutexLock lock(&mutex_);
    work_ = &work;
    ++round_;
    running_ = size();
    mutex_.Await(absl::Condition(
        +[](int* running) { return *running == 0; }, &running_));
    work_ = nullptr;
  }

 private:
  void Loop(size_t thread) {
    // Parallel by chunks, not inside them: that scales better and adds up in one order.
    at::set_num_threads(1);
    uint64_t seen = 0;
    while (true) {
      const std::function<void(size_t)>* work = nullptr;
      {
        const absl::MutexLock lock(&mutex_);
        const auto has_news = [&]() ABSL_NO_THREAD_SAFETY_ANALYSIS { return is_closed_ || round_ != seen; };
        mutex_.Await(absl::Condition(&has_news));
        if (is_closed_) return;
        seen = round_;
        work = work_;
      }
      (*work)(thread);
      const absl::MutexLock lock(&mutex_);
      --running_;
    }
  }

  absl::Mutex mutex_;
  const std::function<void(size_t)>* work_ ABSL_GUARDED_BY(mutex_) = nullptr;
  uint64_t round_ ABSL_GUARDED_BY(mutex_) = 0;
  int running_ ABSL_GUARDED_BY(mutex_) = 0;
  bool is_closed_ ABSL_GUARDED_BY(mutex_) = false;
  std::vector<std::thread> threads_;
};

// The model at the rows of one group, guided away from the empty prompt where the group was sampled so. Thread-safe.
class LocalGradientEngine::Velocity {
 public:
  Velocity(const Transformer& transformer, double guidance, int64_t checkpointed_blocks)
      : transformer_(transformer), guidance_(guidance), checkpointed_blocks_(checkpointed_blocks) {}

  at::Tensor At(const Group& group, const Rows& rows, const BoundAdapter* adapter) const {
    const Prompts prompts = PromptsOf(group);
    const at::Tensor velocity = Of(rows, prompts.embeds, prompts.pooled, adapter);
    if (guidance_ == 1) return velocity;
    const at::Tensor negative = Of(rows, prompts.negative_embeds, prompts.negative_pooled, adapter);
    return negative + (velocity - negative) * guidance_;
  }

 private:
  // Two passes when guided, not one of twice the rows as in sampling: each shares one prompt among its rows.
  at::Tensor Of(const Rows& rows, const at::Tensor& embeds, const at::Tensor& pooled, const BoundAdapter* adapter) const {
    return transformer_.Forward({.latents = rows.x,
                                 .sigma = rows.sigma,
                                 .prompt_embeds = embeds.unsqueeze(0),
                                 .pooled_prompt_embeds = pooled.unsqueeze(0)},
                                adapter, checkpointed_blocks_);
  }

  // Where the transformer is: a group's are uploaded once, for all its chunks.
  struct Prompts {
    at::Tensor embeds, pooled, negative_embeds, negative_pooled;
  };
  Prompts PromptsOf(const Group& group) const {
    const absl::MutexLock lock(&mutex_);
    const auto [entry, is_new] = prompts_.try_emplace(group.id());
    if (is_new) {
      const auto there = [&](const at::Tensor& x) {
        return x.defined() ? MovedTo(x, transformer_.placement().device) : x;
      };
      entry->second = {there(group.prompt_embeds), there(group.pooled_prompt_embeds),
                       there(group.negative_prompt_embeds), there(group.negative_pooled_prompt_embeds)};
    }
    return entry->second;
  }

  const Transformer& transformer_;
  const double guidance_;
  const int64_t checkpointed_blocks_;
  mutable absl::Mutex mutex_;
  mutable std::map<uint64_t, Prompts> prompts_ ABSL_GUARDED_BY(mutex_);  // by group
};

// What is bound for one request on one device.
struct LocalGradientEngine::Policies {
  BoundAdapter current;
  std::map<uint64_t, std::optional<BoundAdapter>> old_by_version = {};  // nullopt: that version is the current one

  bool IsCurrent(const Group& group) const { return !old_by_version.at(group.lease.policy_version()); }
  const BoundAdapter& ThatSampled(const Group& group) const {
    const std::optional<BoundAdapter>& old = old_by_version.at(group.lease.policy_version());
    return old ? *old : current;
  }
};

// What the chunks of one Compute() need of one device.
struct LocalGradientEngine::Place {
  Place(const Transformer& transformer, const Algorithm::Needs& needs, int64_t checkpointed_blocks, at::Tensor adapter,
        Policies bound)
      : device(transformer.placement().device),
        velocity(transformer, needs.guidance, checkpointed_blocks),
        leaf(std::move(adapter)),
        policies(std::move(bound)) {}

  const at::Device device;
  const Velocity velocity;
  const at::Tensor leaf;  // the adapter's vector, requiring grad
  const Policies policies;
};

// One ComputeRange(): what its chunks read, and their sums.
struct LocalGradientEngine::Job {
  const Algorithm& algorithm;
  const Algorithm::Needs needs;
  const uint64_t seed;
  const GradientRequest& request;
  const GradientPlan& plan;
  const ChunkRange range;
  const std::vector<std::unique_ptr<const Place>>& places;  // one a device; threads are dealt out to them
  GradientProgress* const progress;                         // or null

  absl::Mutex mutex;
  size_t next_claim ABSL_GUARDED_BY(mutex) = range.begin;  // claimed in order, so that few sums wait for others
  TreeSum<at::Tensor> gradient ABSL_GUARDED_BY(mutex) = GradientSum(plan);
  std::vector<std::optional<ChunkFigures>> figures ABSL_GUARDED_BY(mutex) =
      std::vector<std::optional<ChunkFigures>>(range.size());  // nullopt: idle
  absl::Status status ABSL_GUARDED_BY(mutex) = absl::OkStatus();

  void Work(size_t thread) {
    const Place& place = *places[thread % places.size()];
    const c10::DeviceGuard on_device(place.device);  // else every operation changes the thread's device, and back
    while (const std::optional<size_t> index = Claim()) {
      const Chunk& chunk = plan.chunks[*index];
      const std::string name = NameOf(request.batch[chunk.group]);
      const absl::Time begin = MonotonicNow();
      absl::StatusOr<Result> result = Guarded<Result>(name, place.device, [&] { return Compute(place, chunk); });
      Note(MonotonicNow() - begin);
      Deliver(*index, std::move(result), name, place.device);
    }
  }

  void Note(absl::Duration took) const {
    if (progress == nullptr) return;
    const int64_t took_ms = std::max<int64_t>(1, absl::ToInt64Milliseconds(took));
    int64_t longest_ms = progress->longest_ms;
    while (took_ms > longest_ms && !progress->longest_ms.compare_exchange_weak(longest_ms, took_ms)) {
    }
    ++progress->chunks;
  }

  struct Result {
    at::Tensor gradient;  // of the sum of the rows' losses
    ChunkFigures figures;
  };

  // The next chunk, or nullopt when there is nothing more to do.
  std::optional<size_t> Claim() {
    const absl::MutexLock lock(&mutex);
    for (; next_claim < range.end && plan.chunks[next_claim].is_idle; ++next_claim) gradient.Add(next_claim, at::Tensor());
    if (status.ok() && request.is_cancelled && next_claim < range.end) {
      status = absl::CancelledError("the update was cancelled while its gradient was computed");
    }
    if (!status.ok() || next_claim >= range.end) return std::nullopt;
    return next_claim++;
  }

  void Deliver(size_t index, absl::StatusOr<Result> result, const std::string& name, at::Device device) {
    const absl::MutexLock lock(&mutex);
    status.Update(result.status());
    if (!result.ok()) return;
    figures[index - range.begin] = std::move(result->figures);
    status.Update(OnDevice(absl::StrCat("adding up the gradient of ", name), device, [&]() ABSL_NO_THREAD_SAFETY_ANALYSIS {
      gradient.Add(index, std::move(result->gradient));
      return absl::OkStatus();
    }));
  }

  Result Compute(const Place& place, const Chunk& chunk) const {
    const Group& group = request.batch[chunk.group];
    const Rows rows = AtDevice(place.device, algorithm.MakeRows({.seed = seed,
                                                                 .update = request.update,
                                                                 .group = &group,
                                                                 .samples = &plan.samples[chunk.group],
                                                                 .begin = chunk.begin,
                                                                 .end = chunk.end,
                                                                 .signals = request.signals[chunk.group]}));
    const bool is_old_another = needs.old && !place.policies.IsCurrent(group);
    Velocities v;
    {
      const at::NoGradGuard no_grad;
      if (is_old_another) v.old = place.velocity.At(group, rows, &place.policies.ThatSampled(group));
      if (needs.reference) v.ref = place.velocity.At(group, rows, nullptr);
    }
    v.theta = place.velocity.At(group, rows, &place.policies.current);
    if (needs.old && !is_old_another) v.old = v.theta.detach();

    const RowLoss of_rows = algorithm.Loss(rows, v);
    const at::Tensor gradient = torch::autograd::grad({of_rows.loss.sum()}, {place.leaf})[0];
    return {gradient, PackChunk(chunk.group, rows, v, is_old_another, of_rows, gradient)};
  }
};

LocalGradientEngine::LocalGradientEngine(std::vector<std::shared_ptr<const Transformer>> transformers,
                                         std::shared_ptr<const Algorithm> algorithm, const Options& options)
    : transformers_(std::move(transformers)),
      algorithm_(std::move(algorithm)),
      options_(options),
      pool_(std::make_unique<Pool>(ThreadsFor(transformers_, options.threads))) {}

LocalGradientEngine::~LocalGradientEngine() = default;

absl::StatusOr<LocalGradientEngine::Policies> LocalGradientEngine::Bind(const Transformer& transformer,
                                                                        const GradientRequest& request,
                                                                        const at::Tensor& flat, bool wants_old) {
  FLOWAWR_ASSIGN_OR_RETURN(BoundAdapter current, transformer.Bind(LoraAdapter(request.current.shared_layout(), flat)));
  Policies policies{.current = std::move(current)};
  for (const Group& group : request.batch) {
    const auto [entry, is_new] = policies.old_by_version.try_emplace(group.lease.policy_version());
    if (!is_new || !wants_old) continue;
    const LoraAdapter* adapter = request.old_adapter(entry->first);
    if (adapter == nullptr) continue;
    // As the current adapter is bound: in bfloat16 a merged one would round differently, and v_theta would be pulled
    // towards the difference. It also needs no copy of the layers.
    FLOWAWR_ASSIGN_OR_RETURN(entry->second, transformer.Bind(*adapter));
  }
  return policies;
}

absl::StatusOr<std::vector<std::unique_ptr<const LocalGradientEngine::Place>>> LocalGradientEngine::Places(
    const GradientRequest& request, int checkpointed_blocks, bool wants_old, bool wants_gradient) const {
  std::vector<std::unique_ptr<const Place>> places;
  for (const auto& transformer : transformers_) {
    const at::Device device = transformer->placement().device;
    FLOWAWR_RETURN_IF_ERROR(OnDevice("binding the policies of an update", device, [&]() -> absl::Status {
      const at::Tensor flat = MovedTo(request.current.flat().detach(), device);
      const at::Tensor leaf = wants_gradient ? flat.detach().requires_grad_() : flat;
      FLOWAWR_ASSIGN_OR_RETURN(Policies policies, Bind(*transformer, request, leaf, wants_old));
      places.push_back(std::make_unique<const Place>(*transformer, algorithm_->needs(), checkpointed_blocks, leaf,
                                                     std::move(policies)));
      return absl::OkStatus();
    }));
  }
  return places;
}

GradientPlan LocalGradientEngine::Plan(const GradientRequest& request) const {
  return PlanGradient(request, *algorithm_, options_.micro_batch);
}

absl::StatusOr<PartialGradient> LocalGradientEngine::ComputeRange(const GradientRequest& request, const GradientPlan& plan,
                                                                  ChunkRange range, GradientProgress* progress) {
  const Algorithm::Needs needs = algorithm_->needs();
  FLOWAWR_ASSIGN_OR_RETURN(const auto places, Places(request, options_.checkpointed_blocks, needs.old,
                                                     /*wants_gradient=*/true));
  Job job{.algorithm = *algorithm_,
          .needs = needs,
          .seed = options_.seed,
          .request = request,
          .plan = plan,
          .range = range,
          .places = places,
          .progress = progress};
  pool_->Run([&job](size_t thread) { job.Work(thread); });

  const absl::MutexLock lock(&job.mutex);
  if (!job.status.ok()) return job.status;
  PartialGradient partial{.nodes = job.gradient.nodes()};
  for (std::optional<ChunkFigures>& figures : job.figures)
    if (figures) partial.figures.push_back(*std::move(figures));
  return partial;
}

absl::StatusOr<BatchGradient> LocalGradientEngine::Compute(const GradientRequest& request) {
  const GradientPlan plan = Plan(request);
  FLOWAWR_ASSIGN_OR_RETURN(PartialGradient all, ComputeRange(request, plan, {0, plan.chunks.size()}));
  return Finish(request, plan, all.nodes, all.figures);
}

absl::StatusOr<BatchGradient> LocalGradientEngine::Finish(const GradientRequest& request, const GradientPlan& plan,
                                                          const std::map<TreeNode, at::Tensor>& nodes,
                                                          const std::vector<ChunkFigures>& figures) const {
  return Guarded<BatchGradient>("the whole batch", device(),
                                [&] { return FinishGradient(request, plan, nodes, figures); });
}

at::Device LocalGradientEngine::device() const { return transformers_[0]->placement().device; }

absl::StatusOr<std::vector<double>> LocalGradientEngine::LogProbDrift(const GradientRequest& request) {
  const Algorithm::Needs needs = algorithm_->needs();
  if (needs.max_log_prob_drift == 0) return std::vector<double>();
  FLOWAWR_ASSIGN_OR_RETURN(const auto places, Places(request, /*checkpointed_blocks=*/0, /*wants_old=*/true,
                                                     /*wants_gradient=*/false));
  const auto drift_of = [&](const Place& place, size_t i) {
    const at::NoGradGuard no_grad;
    const Group& group = request.batch[i];
    const std::vector<int64_t> samples = AllSamples(group);
    CounterRng rng(options_.seed, RandomStream(RandomUse::kDriftRow, request.update, group.id()));
    const auto row = static_cast<int64_t>(rng.Below(samples.size() * static_cast<uint64_t>(algorithm_->rows_per_sample())));
    const Rows rows = AtDevice(place.device, algorithm_->MakeRows({.seed = options_.seed,
                                                                   .update = request.update,
                                                                   .group = &group,
                                                                   .samples = &samples,
                                                                   .begin = row,
                                                                   .end = row + 1,
                                                                   .signals = at::zeros({group.x0.size(0)})}));
    const at::Tensor v = place.velocity.At(group, rows, &place.policies.ThatSampled(group));
    return algorithm_->LogProbDrift(rows, v).item<double>();
  };

  std::vector<absl::StatusOr<double>> drifts(request.batch.size(), 0.0);  // each written by one thread
  std::atomic<size_t> next = 0;
  pool_->Run([&](size_t thread) {
    const Place& place = *places[thread % places.size()];
    for (size_t i = next++; i < drifts.size() && !request.is_cancelled; i = next++)
      drifts[i] = Guarded<double>(NameOf(request.batch[i]), place.device, [&] { return drift_of(place, i); });
  });
  if (request.is_cancelled) return absl::CancelledError("the update was cancelled while its groups were checked");
  std::vector<double> values;
  for (const absl::StatusOr<double>& drift : drifts) {
    if (!drift.ok()) return drift.status();
    values.push_back(*drift);
  }
  return values;
}

}  // namespace flowawr
