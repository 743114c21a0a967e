#include "learner/local_gradient_engine.h"

#include <ATen/Parallel.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/types.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <exception>
#include <functional>
#include <map>
#include <numeric>
#include <optional>
#include <set>
#include <string>
#include <thread>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "common/base/status.h"
#include "common/base/usable_cores.h"
#include "common/diffusion/counter_rng.h"
#include "learner/random_streams.h"

namespace flowawr {
namespace {

// Rows [begin, end) of one group, numbered sample by sample.
struct Chunk {
  int group = 0;
  int64_t begin = 0, end = 0;
};

// Sums over the rows of a chunk, or of several.
struct Sums {
  at::Tensor gradient;  // of the sum of the rows' losses
  double loss = 0;
  int64_t rows = 0;
  std::map<std::string, double> figures = {};
  // Of the losses at one of the rollout's sigmas, by its number.
  struct AtSigma {
    double loss = 0;
    int64_t rows = 0;
  };
  std::map<int64_t, AtSigma> by_sigma = {};
  double old_distance = 0;  // of `old_rows`, those whose v_old is another policy's
  int64_t old_rows = 0;
  bool is_finite = true;

  void Add(const Sums& other) {
    if (gradient.defined()) {
      gradient.add_(other.gradient);
    } else {
      gradient = other.gradient;
    }
    loss += other.loss;
    rows += other.rows;
    for (const auto& [name, value] : other.figures) figures[name] += value;
    for (const auto& [step, at] : other.by_sigma) by_sigma[step].loss += at.loss, by_sigma[step].rows += at.rows;
    old_distance += other.old_distance;
    old_rows += other.old_rows;
  }
};

// One pass: a sum is finite unless a term is not, or finite ones overflow.
bool IsFinite(const at::Tensor& values) {
  return std::isfinite(values.sum().item<double>()) || at::isfinite(values).all().item<bool>();
}

// What `compute` gives, or Internal with the words of what it throws: LibTorch says in no other way what it refuses.
template <typename Result>
absl::StatusOr<Result> Guarded(const Group& group, const std::function<Result()>& compute) {
  std::string words;
  try {
    return compute();
  } catch (const c10::Error& error) {
    words = error.what_without_backtrace();
  } catch (const std::exception& error) {
    words = error.what();
  }
  return absl::InternalError(absl::StrCat("computing the gradient of group ", group.id(), " failed: ", words));
}

std::vector<int64_t> AllSamples(const Group& group) {
  std::vector<int64_t> samples(static_cast<size_t>(group.x0.size(0)));
  std::iota(samples.begin(), samples.end(), 0);
  return samples;
}

}  // namespace

// Threads that live as long as the pool and run one piece of work all at once.
class LocalGradientEngine::Pool {
 public:
  explicit Pool(int threads) {
    for (int i = 0; i < threads; ++i) threads_.emplace_back([this] { Loop(); });
  }
  ~Pool() {
    {
      const absl::MutexLock lock(&mutex_);
      is_closed_ = true;
    }
    for (std::thread& thread : threads_) thread.join();
  }

  int size() const { return static_cast<int>(threads_.size()); }

  // Returns when every thread has run `work` once. It must not throw.
  void Run(const std::function<void()>& work) {
    const absl::MutexLock lock(&mutex_);
    work_ = &work;
    ++round_;
    running_ = size();
    mutex_.Await(absl::Condition(
        +[](int* running) { return *running == 0; }, &running_));
    work_ = nullptr;
  }

 private:
  void Loop() {
    // Parallel by chunks, not inside them: that scales better and adds up in one order.
    at::set_num_threads(1);
    uint64_t seen = 0;
    while (true) {
      const std::function<void()>* work = nullptr;
      {
        const absl::MutexLock lock(&mutex_);
        const auto has_news = [&]() ABSL_NO_THREAD_SAFETY_ANALYSIS { return is_closed_ || round_ != seen; };
        mutex_.Await(absl::Condition(&has_news));
        if (is_closed_) return;
        seen = round_;
        work = work_;
      }
      (*work)();
      const absl::MutexLock lock(&mutex_);
      --running_;
    }
  }

  absl::Mutex mutex_;
  const std::function<void()>* work_ ABSL_GUARDED_BY(mutex_) = nullptr;
  uint64_t round_ ABSL_GUARDED_BY(mutex_) = 0;
  int running_ ABSL_GUARDED_BY(mutex_) = 0;
  bool is_closed_ ABSL_GUARDED_BY(mutex_) = false;
  std::vector<std::thread> threads_;
};

// The model at the rows of one group, guided away from the empty prompt where the group was sampled so.
class LocalGradientEngine::Velocity {
 public:
  Velocity(const Transformer& transformer, double guidance, int64_t checkpointed_blocks)
      : transformer_(transformer), guidance_(guidance), checkpointed_blocks_(checkpointed_blocks) {}

  at::Tensor At(const Group& group, const Rows& rows, const BoundAdapter* adapter) const {
    const at::Tensor velocity = Of(rows, group.prompt_embeds, group.pooled_prompt_embeds, adapter);
    if (guidance_ == 1) return velocity;
    const at::Tensor negative = Of(rows, group.negative_prompt_embeds, group.negative_pooled_prompt_embeds, adapter);
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

  const Transformer& transformer_;
  const double guidance_;
  const int64_t checkpointed_blocks_;
};

// What is bound for one request.
struct LocalGradientEngine::Policies {
  BoundAdapter current;
  std::map<uint64_t, std::optional<BoundAdapter>> old_by_version = {};  // nullopt: that version is the current one

  bool IsCurrent(const Group& group) const { return !old_by_version.at(group.lease.policy_version()); }
  const BoundAdapter& ThatSampled(const Group& group) const {
    const std::optional<BoundAdapter>& old = old_by_version.at(group.lease.policy_version());
    return old ? *old : current;
  }
};

// One Compute(): what its chunks read, and their sum.
struct LocalGradientEngine::Job {
  const Algorithm& algorithm;
  const Algorithm::Needs needs;
  const Velocity velocity;
  const uint64_t seed;
  const GradientRequest& request;
  const at::Tensor leaf;  // the adapter's vector, requiring grad
  const Policies policies;
  const std::vector<std::vector<int64_t>> samples;  // by group: those that are trained on
  const std::vector<Chunk> chunks;
  const size_t window;  // how far ahead of the sum chunks may be claimed: bounds the memory of `finished`

  absl::Mutex mutex;
  size_t next_claim ABSL_GUARDED_BY(mutex) = 0;
  size_t next_sum ABSL_GUARDED_BY(mutex) = 0;
  std::map<size_t, Sums> finished ABSL_GUARDED_BY(mutex) = {};  // at or after next_sum
  std::set<size_t> not_finite ABSL_GUARDED_BY(mutex) = {};      // groups
  Sums sum ABSL_GUARDED_BY(mutex) = {};
  absl::Status status ABSL_GUARDED_BY(mutex) = absl::OkStatus();

  void Work() {
    while (const std::optional<size_t> index = Claim()) {
      const Chunk& chunk = chunks[*index];
      Deliver(*index, Guarded<Sums>(request.batch[chunk.group], [&] { return Compute(chunk); }));
    }
  }

  // The next chunk, or nullopt when there is nothing more to do.
  std::optional<size_t> Claim() {
    const absl::MutexLock lock(&mutex);
    const auto may_claim = [this]() ABSL_NO_THREAD_SAFETY_ANALYSIS {
      return !status.ok() || next_claim >= chunks.size() || next_claim < next_sum + window;
    };
    mutex.Await(absl::Condition(&may_claim));
    if (status.ok() && request.is_cancelled && next_claim < chunks.size()) {
      status = absl::CancelledError("the update was cancelled while its gradient was computed");
    }
    if (!status.ok() || next_claim >= chunks.size()) return std::nullopt;
    return next_claim++;
  }

  void Deliver(size_t index, absl::StatusOr<Sums> result) {
    const absl::MutexLock lock(&mutex);
    if (!result.ok()) {
      status.Update(result.status());
      return;
    }
    if (!result->is_finite) not_finite.insert(static_cast<size_t>(chunks[index].group));
    finished.emplace(index, *std::move(result));
    for (auto next = finished.find(next_sum); next != finished.end(); next = finished.find(next_sum)) {
      sum.Add(next->second);
      finished.erase(next);
      ++next_sum;
    }
  }

  Sums Compute(const Chunk& chunk) const {
    const Group& group = request.batch[chunk.group];
    const Rows rows = algorithm.MakeRows({.seed = seed,
                                          .update = request.update,
                                          .group = &group,
                                          .samples = &samples[chunk.group],
                                          .begin = chunk.begin,
                                          .end = chunk.end,
                                          .signals = request.signals[chunk.group]});
    const bool is_old_another = needs.old && !policies.IsCurrent(group);
    Velocities v;
    {
      const at::NoGradGuard no_grad;
      if (is_old_another) v.old = velocity.At(group, rows, &policies.ThatSampled(group));
      if (needs.reference) v.ref = velocity.At(group, rows, nullptr);
    }
    v.theta = velocity.At(group, rows, &policies.current);
    if (needs.old && !is_old_another) v.old = v.theta.detach();

    const RowLoss of_rows = algorithm.Loss(rows, v);
    Sums sums;
    sums.gradient = torch::autograd::grad({of_rows.loss.sum()}, {leaf})[0];
    const at::Tensor losses = of_rows.loss.detach();
    sums.loss = losses.sum(at::kDouble).item<double>();
    sums.rows = losses.size(0);
    for (const auto& [name, values] : of_rows.figures) sums.figures[name] = values.sum(at::kDouble).item<double>();
    for (size_t row = 0; row < rows.step.size(); ++row) {
      Sums::AtSigma& at = sums.by_sigma[rows.step[row]];
      at.loss += losses[static_cast<int64_t>(row)].item<double>();
      ++at.rows;
    }
    if (is_old_another) {
      sums.old_rows = sums.rows;
      sums.old_distance = (v.theta.detach() - v.old).square().flatten(1).mean(1).sum(at::kDouble).item<double>();
    }
    sums.is_finite = std::isfinite(sums.loss) && IsFinite(sums.gradient);
    return sums;
  }
};

LocalGradientEngine::LocalGradientEngine(std::shared_ptr<const Transformer> transformer,
                                         std::shared_ptr<const Algorithm> algorithm, const Options& options)
    : transformer_(std::move(transformer)),
      algorithm_(std::move(algorithm)),
      options_(options),
      pool_(std::make_unique<Pool>(options.threads > 0 ? options.threads : UsableCoresHere().count)) {}

LocalGradientEngine::~LocalGradientEngine() = default;

absl::StatusOr<LocalGradientEngine::Policies> LocalGradientEngine::Bind(const GradientRequest& request,
                                                                        const at::Tensor& leaf, bool wants_old) const {
  FLOWAWR_ASSIGN_OR_RETURN(BoundAdapter current,
                           transformer_->Bind(LoraAdapter(request.current.shared_layout(), leaf)));
  Policies policies{.current = std::move(current)};
  for (const Group& group : request.batch) {
    const auto [entry, is_new] = policies.old_by_version.try_emplace(group.lease.policy_version());
    if (!is_new || !wants_old) continue;
    const LoraAdapter* adapter = request.old_adapter(entry->first);
    if (adapter == nullptr) continue;
    // As the current adapter is bound: in bfloat16 a merged one would round differently, and v_theta would be pulled
    // towards the difference. It also needs no copy of the layers.
    FLOWAWR_ASSIGN_OR_RETURN(entry->second, transformer_->Bind(*adapter));
  }
  return policies;
}

absl::StatusOr<BatchGradient> LocalGradientEngine::Compute(const GradientRequest& request) {
  const Algorithm::Needs needs = algorithm_->needs();
  const at::Tensor leaf = request.current.flat().detach().requires_grad_();
  FLOWAWR_ASSIGN_OR_RETURN(Policies policies, Bind(request, leaf, needs.old));

  BatchGradient total;
  std::vector<std::vector<int64_t>> samples = request.samples;
  std::vector<Chunk> chunks;
  for (size_t i = 0; i < request.batch.size(); ++i) {
    const Group& group = request.batch[i];
    if (request.samples.empty()) samples.push_back(AllSamples(group));
    const int64_t rows = static_cast<int64_t>(samples[i].size()) * algorithm_->rows_per_sample();
    total.rows += rows;
    if (rows == 0 || !algorithm_->Teaches(request.is_all_equal[i], policies.IsCurrent(group))) continue;
    total.teaches = true;
    for (int64_t begin = 0; begin < rows; begin += options_.micro_batch)
      chunks.push_back({static_cast<int>(i), begin, std::min<int64_t>(rows, begin + options_.micro_batch)});
  }

  Job job{.algorithm = *algorithm_,
          .needs = needs,
          .velocity = Velocity(*transformer_, needs.guidance, options_.checkpointed_blocks),
          .seed = options_.seed,
          .request = request,
          .leaf = leaf,
          .policies = std::move(policies),
          .samples = std::move(samples),
          .chunks = std::move(chunks),
          .window = 2 * static_cast<size_t>(pool_->size())};
  pool_->Run([&job] { job.Work(); });

  const absl::MutexLock lock(&job.mutex);
  if (!job.status.ok()) return job.status;
  total.gradient = job.sum.gradient.defined() ? job.sum.gradient.div_(total.rows) : at::zeros_like(request.current.flat());
  total.loss = total.teaches ? job.sum.loss / static_cast<double>(total.rows) : 0;
  for (const auto& [name, sum] : job.sum.figures) total.figures[name] = sum / static_cast<double>(job.sum.rows);
  for (const auto& [step, at] : job.sum.by_sigma)
    total.figures[absl::StrCat("loss/sigma_", step)] = at.loss / static_cast<double>(at.rows);
  if (job.sum.old_rows > 0) total.figures["old_distance"] = job.sum.old_distance / static_cast<double>(job.sum.old_rows);
  total.not_finite.assign(job.not_finite.begin(), job.not_finite.end());
  return total;
}

absl::StatusOr<std::vector<double>> LocalGradientEngine::LogProbDrift(const GradientRequest& request) {
  const Algorithm::Needs needs = algorithm_->needs();
  if (needs.max_log_prob_drift == 0) return std::vector<double>();
  FLOWAWR_ASSIGN_OR_RETURN(const Policies policies, Bind(request, request.current.flat(), /*wants_old=*/true));
  const Velocity velocity(*transformer_, needs.guidance, /*checkpointed_blocks=*/0);
  const auto drift_of = [&](size_t i) {
    const at::NoGradGuard no_grad;
    const Group& group = request.batch[i];
    const std::vector<int64_t> samples = AllSamples(group);
    CounterRng rng(options_.seed, RandomStream(RandomUse::kDriftRow, request.update, group.id()));
    const auto row = static_cast<int64_t>(rng.Below(samples.size() * static_cast<uint64_t>(algorithm_->rows_per_sample())));
    const Rows rows = algorithm_->MakeRows({.seed = options_.seed,
                                            .update = request.update,
                                            .group = &group,
                                            .samples = &samples,
                                            .begin = row,
                                            .end = row + 1,
                                            .signals = at::zeros({group.x0.size(0)})});
    const at::Tensor v = velocity.At(group, rows, &policies.ThatSampled(group));
    return algorithm_->LogProbDrift(rows, v).item<double>();
  };

  std::vector<absl::StatusOr<double>> drifts(request.batch.size(), 0.0);  // each written by one thread
  std::atomic<size_t> next = 0;
  pool_->Run([&] {
    for (size_t i = next++; i < drifts.size() && !request.is_cancelled; i = next++)
      drifts[i] = Guarded<double>(request.batch[i], [&] { return drift_of(i); });
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
