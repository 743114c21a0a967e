// What the methods have in common that train on where a sample's way ended: x0 is mixed with fresh noise at a few of the
// rollout's own sigmas, whatever way led there, so that the sampler is free. A method of that kind says no more than how
// advantages become signals and what the loss of a row is.
#pragma once

#include <string>
#include <vector>

#include "learner/algorithm/advantages.h"
#include "learner/algorithm/algorithm.h"
#include "learner/algorithm/row_values.h"

namespace flowawr {

class ForwardAlgorithm : public Algorithm {
 public:
  // All steps follow the ODE.
  void PrepareLease(v1::Lease& lease) const override;
  BatchSignals Signals(const at::Tensor& rewards, const std::vector<double>& weights) const override;
  // An all-equal group still pulls towards v_ref and v_old, where they are needed and another's.
  bool Teaches(bool is_all_equal, bool is_old_current) const override;
  Needs needs() const override { return traits_.needs; }
  int64_t rows_per_sample() const override;
  Rows MakeRows(const RowRange& range) const override;
  RowLoss Loss(const Rows& rows, const Velocities& velocities) const override;

 protected:
  struct Traits {
    Needs needs;
    double clip = 0;                   // BatchSignals::clip
    std::vector<std::string> figures;  // names of those of Values()
  };
  // Draws train.timesteps_per_sample of the first TrainedSigmas() of `sigmas`, without replacement.
  ForwardAlgorithm(const v1::RunConfig& config, std::vector<float> sigmas, Traits traits);

  // See SignalsOfAdvantages.
  virtual at::Tensor SignalsOf(const at::Tensor& advantages) const = 0;
  virtual RowValues Values(const Rows& rows, const Velocities& velocities) const = 0;

 private:
  const Traits traits_;
  const v1::SamplerConfig sampler_;
  const v1::Combination combination_;
  const AdvantageOptions advantages_;
  const std::vector<float> sigmas_;  // those that training may draw
  const int64_t draws_;
};

}  // namespace flowawr
