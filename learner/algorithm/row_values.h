// Losses whose gradient with respect to the velocity is written down beside them: LossByRows() makes an autograd node of
// them that keeps that gradient and nothing else, and works on few rows at a time.
#pragma once

#include <ATen/core/Tensor.h>

#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include "learner/algorithm/algorithm.h"

namespace flowawr {

// Of B rows; without gradient.
struct RowValues {
  at::Tensor loss;                   // [B]
  at::Tensor gradient;               // [B, C, h, w]: of each row's loss with respect to v_theta
  std::vector<at::Tensor> figures;   // [B] each
};

// `values_of` is called with a few of the rows at a time, `names` are those of its figures.
RowLoss LossByRows(const Rows& rows, const Velocities& velocities, const std::vector<std::string>& names,
                   absl::FunctionRef<RowValues(const Rows& rows, const Velocities& velocities)> values_of);

struct Distance {
  at::Tensor value;     // [B]
  at::Tensor gradient;  // [B, C, h, w]: with respect to the velocity
};

// How far the x0 that `velocity` sees is from `target`, in units of how far it is from x0: with x0_hat = x_t - t velocity,
// mean (x0_hat - target)^2 / stopgrad(max(mean |x0_hat - x0|, 1e-5)).
Distance RegressX0(const Rows& rows, const at::Tensor& velocity, const at::Tensor& target);

// The pretraining loss: mean (velocity - (noise - x0))^2, in f64.
Distance MatchVelocity(const Rows& rows, const at::Tensor& velocity);

// Adds weight * mean (v_theta - other)^2 to loss and gradient, and returns that mean, [B]; zeros where `other` is undefined,
// as a velocity is that nobody needs.
at::Tensor AddPull(const at::Tensor& v_theta, const at::Tensor& other, double weight, RowValues& values);

// `values`, one a row, against latents.
at::Tensor AsLatents(const at::Tensor& values);

}  // namespace flowawr
