// Latents along the ODE, for tests that look at nothing else of the sampler.
#pragma once

#include <ATen/core/Tensor.h>

#include <utility>
#include <vector>

#include "common/diffusion/sampler.h"

namespace flowawr {

inline at::Tensor DrawLatents(absl::FunctionRef<at::Tensor(const at::Tensor& latents, float sigma)> velocity,
                              v1::Solver solver, std::vector<float> sigmas, const at::Tensor& noise) {
  return Sample({.solver = solver, .sigmas = std::move(sigmas), .stochastic = std::nullopt}, noise, velocity,
                [](int) { return at::Tensor(); }, [](int) { return true; })
      .value()
      .latents;
}

}  // namespace flowawr
