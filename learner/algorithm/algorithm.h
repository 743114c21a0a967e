// What parts one training method from another; the run loop and the gradient engine know nothing else of it.
//
//   how actors sample -> what a group brings -> rewards to signals -> rows -> loss of a row, with its gradient
//
// One file pair a method, its section in AlgorithmConfig (proto/flowawr/v1/config.proto) and one line in registry.cc.
// Flow convention: x_t = (1 - t) x0 + t eps, velocity v = eps - x0, t = sigma in (0, 1]. Objects are immutable, so that
// any thread may call them. Sources: docs/algorithms.md. ForwardAlgorithm has what most methods share.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "flowawr/v1/config.pb.h"
#include "flowawr/v1/rollout.pb.h"
#include "learner/group.h"

namespace flowawr {

// What the rewards of one batch ask of the policy.
struct BatchSignals {
  at::Tensor rewards;  // [groups, samples] f64: weighted sum; NaN where a term is missing
  at::Tensor values;   // [groups, samples] f32: a sample's signal (energy, advantage, ...); 0: the sample asks for nothing
  std::vector<bool> is_all_equal;  // by group: every signal is that of equal rewards, so that it prefers no sample
  int64_t all_equal_groups = 0;
  double clip = 0;  // signals are cut to plus or minus this; 0: to nothing
};

// What a few rows of one group are trained on. B rows; all f32.
struct Rows {
  at::Tensor x;       // [B, C, h, w]: what the model sees
  at::Tensor sigma;   // [B]: at which noise level
  at::Tensor signal;  // [B]
  at::Tensor x0;      // [B, C, h, w]: where the sample's way ended
  std::vector<int64_t> step;  // [B]: which of the rollout's sigmas `sigma` is; 0: the noisiest
  at::Tensor noise;   // [B, C, h, w]: what x0 was mixed with; undefined in methods that train on trajectories
  // Of those methods, undefined otherwise.
  at::Tensor next;        // [B, C, h, w]: where the sampler's step led
  at::Tensor sigma_next;  // [B]
  at::Tensor log_prob;    // [B]: of that step, by the policy that made it
};

// The model's answers at `Rows::x`, [B, C, h, w] f32.
struct Velocities {
  at::Tensor theta;  // carries the gradient
  at::Tensor old;    // no gradient: the policy that sampled; undefined unless Needs::old
  at::Tensor ref;    // no gradient: adapter off; undefined unless Needs::reference
};

struct RowLoss {
  at::Tensor loss;  // [B], with gradient
  // Detached [B] each, reported as their means, e.g. {"policy_loss", ...}, {"kl", ...}.
  std::vector<std::pair<std::string, at::Tensor>> figures;
};

class Algorithm {
 public:
  struct Needs {
    bool old = false;        // v_old; the engine saves the pass where the policy that sampled is the current one
    bool reference = false;  // v_ref
    double guidance = 1;     // scale of the velocities above, as the actors sampled; 1: none
    // A group whose log-probabilities differ by more from those recomputed is not trained on; 0: there are none to compare.
    double max_log_prob_drift = 0;
  };
  // Which rows: those numbered [begin, end) of a group, `draws` a sample, sample after sample, of the samples listed.
  struct RowRange {
    uint64_t seed = 0, update = 0;  // of the run; key every random number
    const Group* group = nullptr;
    const std::vector<int64_t>* samples = nullptr;  // positions in the group, ascending
    int64_t begin = 0, end = 0;
    at::Tensor signals;  // [samples of the group] f32
  };

  virtual ~Algorithm() = default;

  // How actors sample a training group: sets the lease's `sampler` and `stochastic`, from its group_id.
  virtual void PrepareLease(v1::Lease& lease) const = 0;
  // `rewards` is [terms, groups, samples] f64, NaN where a reward could not be had; `weights` has one value a term.
  virtual BatchSignals Signals(const at::Tensor& rewards, const std::vector<double>& weights) const = 0;
  // Whether a group can move the policy: its signals do, or v_old differs from v_theta and pulls, or the reference does.
  virtual bool Teaches(bool is_all_equal, bool is_old_current) const = 0;

  virtual Needs needs() const = 0;
  virtual int64_t rows_per_sample() const = 0;
  virtual Rows MakeRows(const RowRange& range) const = 0;
  virtual RowLoss Loss(const Rows& rows, const Velocities& velocities) const = 0;
  // [B] f32: how far the log-probabilities of the rows are from those by `velocity`, of the policy that made them. Called
  // where needs().max_log_prob_drift is not 0.
  virtual at::Tensor LogProbDrift(const Rows& rows, const at::Tensor& velocity) const;
};

// The method that `config.algorithm` names; FlowAWR where it names none. `sigmas` are the rollout's own, sampler.steps + 1
// values. InvalidArgument when its options do not fit the rest of the configuration.
absl::StatusOr<std::unique_ptr<const Algorithm>> MakeAlgorithm(const v1::RunConfig& config, std::vector<float> sigmas);

}  // namespace flowawr
