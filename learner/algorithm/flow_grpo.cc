#include "learner/algorithm/flow_grpo.h"

#include <torch/types.h>

#include <string>
#include <utility>

#include "absl/memory/memory.h"
#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "common/base/status.h"
#include "common/config/rules.h"
#include "common/config/trained_sigmas.h"
#include "common/diffusion/counter_rng.h"
#include "common/diffusion/sde_step.h"
#include "common/rollout/group_schema.h"
#include "learner/algorithm/row_values.h"
#include "learner/random_streams.h"

namespace flowawr {

absl::StatusOr<std::unique_ptr<const Algorithm>> FlowGrpo::Make(const v1::RunConfig& config,
                                                                std::vector<float> sigmas) {
  if (const auto found = FindNoisyStepViolations(config); !found.empty())
    return absl::InvalidArgumentError(absl::StrCat(found.front().path, ": ", found.front().problem));
  auto made = absl::WrapUnique(new FlowGrpo(config, std::move(sigmas)));
  FLOWAWR_RETURN_IF_ERROR(
      Annotate(CheckStochasticSteps(made->WindowAt(made->last_), config.sampler().steps()), "algorithm.flow_grpo"));
  return made;
}

FlowGrpo::FlowGrpo(const v1::RunConfig& config, std::vector<float> sigmas)
    : config_(config.algorithm().flow_grpo()),
      sampler_(config.sampler()),
      combination_(config.rewards().combination()),
      advantages_{.clip = config.algorithm().advantage_clip(), .std_scope = config.algorithm().std_scope()},
      seed_(config.seed()),
      sigmas_(std::move(sigmas)),
      window_(NoisyStepsOf(config).count),
      last_(NoisyStepsOf(config).end - window_) {}

v1::StochasticSteps FlowGrpo::WindowAt(int64_t first) const {
  v1::StochasticSteps steps;
  steps.set_kind(config_.sde());
  steps.set_noise_level(config_.noise_level());
  steps.set_first(static_cast<uint32_t>(first));
  steps.set_count(static_cast<uint32_t>(window_));
  return steps;
}

void FlowGrpo::PrepareLease(v1::Lease& lease) const {
  *lease.mutable_sampler() = sampler_;
  CounterRng rng(seed_, RandomStream(RandomUse::kStochasticWindow, lease.group_id()));
  *lease.mutable_stochastic() = WindowAt(static_cast<int64_t>(rng.Below(static_cast<uint64_t>(last_) + 1)));
}

BatchSignals FlowGrpo::Signals(const at::Tensor& rewards, const std::vector<double>& weights) const {
  BatchSignals signals = CombineRewards(rewards, weights, combination_, advantages_,
                                        [](const at::Tensor& advantages) { return advantages; });
  signals.clip = advantages_.clip;
  return signals;
}

bool FlowGrpo::Teaches(bool is_all_equal, bool) const { return !is_all_equal || config_.kl_beta() > 0; }

Algorithm::Needs FlowGrpo::needs() const {
  return {.reference = config_.kl_beta() > 0,
          .guidance = GuidanceScale(sampler_),
          .max_log_prob_drift = config_.max_log_prob_drift()};
}

Rows FlowGrpo::MakeRows(const RowRange& range) const {
  const Group& group = *range.group;
  const int64_t first = group.lease.stochastic().first();
  Rows rows;
  std::vector<int64_t> samples, states;
  std::vector<float> sigmas, sigmas_next;
  for (int64_t row = range.begin; row < range.end; ++row) {
    const int64_t state = row % window_, step = first + state;
    samples.push_back((*range.samples)[row / window_]);
    states.push_back(state);
    rows.step.push_back(step);
    sigmas.push_back(sigmas_[step]);
    sigmas_next.push_back(sigmas_[step + 1]);
  }
  const at::Tensor sample = at::tensor(samples, at::kLong), state = at::tensor(states, at::kLong);
  rows.sigma = at::tensor(sigmas, at::kFloat);
  rows.sigma_next = at::tensor(sigmas_next, at::kFloat);
  rows.signal = range.signals.index_select(0, sample);
  rows.x0 = group.x0.index_select(0, sample);
  rows.x = group.states.index({sample, state});
  rows.next = group.states.index({sample, state + 1});
  rows.log_prob = group.log_probs.index({sample, state});
  return rows;
}

RowLoss FlowGrpo::Loss(const Rows& rows, const Velocities& v) const {
  const SdeStep step = MakeSdeStep(config_.sde(), config_.noise_level(), rows.sigma, rows.sigma_next);
  const at::Tensor mean = StepMean(step, rows.x, v.theta);
  const at::Tensor log_ratio = StepLogProb(step, rows.next, mean) - rows.log_prob;
  const at::Tensor ratio = log_ratio.exp();
  const at::Tensor free = -rows.signal * ratio;
  const at::Tensor clipped = -rows.signal * ratio.clamp(1 - config_.clip_range(), 1 + config_.clip_range());
  const at::Tensor policy = at::maximum(free, clipped);
  at::Tensor kl = at::zeros_like(rows.sigma);
  if (v.ref.defined()) {
    const at::Tensor drift = (mean - StepMean(step, rows.x, v.ref)) / AsLatents(step.noise_rate);
    kl = drift.square().flatten(1).mean(1) / 2;
  }
  const at::Tensor clip_share = (free < clipped).to(at::kFloat);
  return {.loss = policy + config_.kl_beta() * kl,
          .figures = {{"policy_loss", policy.detach()},
                      {"kl", kl.detach()},
                      {"ratio", ratio.detach()},
                      {"ratio_deviation", (ratio - 1).abs().detach()},
                      {"log_ratio_square", log_ratio.square().detach()},
                      {"clip_share", clip_share}}};
}

at::Tensor FlowGrpo::LogProbDrift(const Rows& rows, const at::Tensor& velocity) const {
  const SdeStep step = MakeSdeStep(config_.sde(), config_.noise_level(), rows.sigma, rows.sigma_next);
  return (StepLogProb(step, rows.next, StepMean(step, rows.x, velocity)) - rows.log_prob).abs();
}

}  // namespace flowawr
