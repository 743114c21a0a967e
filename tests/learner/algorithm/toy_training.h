// Rows of the toy by a real Algorithm, and a solver for where its gradients vanish.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <vector>

#include "absl/functional/function_ref.h"
#include "flowawr/v1/config.pb.h"
#include "learner/algorithm/algorithm.h"
#include "tests/learner/algorithm/toy_gaussian.h"

namespace flowawr {

// Every one of `sigmas`, but the last, which is 0, is trained at for each sample.
std::unique_ptr<const Algorithm> MakeToyAlgorithm(const v1::AlgorithmConfig& config, std::vector<float> sigmas);

// All rows of a batch of one group, whose x0 is given.
Rows MakeToyRows(const Algorithm& algorithm, const Group& group, const Quadratic& reward, uint64_t seed);
// Likewise of `samples` that `policy` draws.
Rows DrawToyRows(const Algorithm& algorithm, const Gaussian& policy, const Quadratic& reward, int64_t samples,
                 uint64_t seed);

// What a model answers at x [n, d] and t [n, 1]: [n, d] f64.
using ToyModel = absl::FunctionRef<at::Tensor(const at::Tensor& x, const at::Tensor& t, const at::Tensor& parameters)>;
// The one whose parameters are those of a law.
at::Tensor GaussianModel(const at::Tensor& x, const at::Tensor& t, const at::Tensor& parameters);

// Minus the gradient by `parameters` of the mean loss. v_old is that of `old_law`, v_ref that of ToyPolicy().
at::Tensor Descent(const Algorithm& algorithm, const Rows& rows, const Gaussian& old_law, const at::Tensor& parameters,
                   ToyModel model);

// [n, d] f64 to and from latents.
at::Tensor ToLatents(const at::Tensor& values);
at::Tensor FromLatents(const at::Tensor& latents);

// Where `pull` is 0, from `start`, by Barzilai-Borwein steps: exact where it is linear. Fails the test if it does not
// get there.
at::Tensor Solve(absl::FunctionRef<at::Tensor(const at::Tensor&)> pull, at::Tensor start);

}  // namespace flowawr
