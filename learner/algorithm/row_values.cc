#include "learner/algorithm/row_values.h"

#include <torch/csrc/autograd/custom_function.h>
#include <torch/types.h>

#include <algorithm>
#include <cstdint>
#include <utility>

namespace flowawr {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;
using ValuesOf = absl::FunctionRef<RowValues(const Rows& rows, const Velocities& velocities)>;

// Elements of the latents that are worked on at a time: what the formulas need on the way is never more than this.
constexpr int64_t kLossElements = int64_t{1} << 18;
constexpr double kLossScaleMin = 1e-5;

at::Tensor MeanOverDims(const at::Tensor& rows) { return rows.flatten(1).mean(1); }

double DimsOf(const at::Tensor& rows) { return static_cast<double>(rows[0].numel()); }

// Rows [begin, begin + count) of the tensors that there are, without gradient.
Rows Narrow(const Rows& rows, int64_t begin, int64_t count) {
  const auto of = [&](const at::Tensor& x) { return x.defined() ? x.detach().narrow(0, begin, count) : x; };
  return {.x = of(rows.x),
          .sigma = of(rows.sigma),
          .signal = of(rows.signal),
          .x0 = of(rows.x0),
          .step = {rows.step.begin() + begin, rows.step.begin() + begin + count},
          .noise = of(rows.noise),
          .next = of(rows.next),
          .sigma_next = of(rows.sigma_next),
          .log_prob = of(rows.log_prob)};
}
Velocities Narrow(const Velocities& velocities, int64_t begin, int64_t count) {
  const auto of = [&](const at::Tensor& x) { return x.defined() ? x.detach().narrow(0, begin, count) : x; };
  return {.theta = of(velocities.theta), .old = of(velocities.old), .ref = of(velocities.ref)};
}

class RowLossFunction : public torch::autograd::Function<RowLossFunction> {
 public:
  static variable_list forward(AutogradContext* context, const at::Tensor& v_theta, const Rows& rows,
                               const Velocities& velocities, const ValuesOf& values_of) {
    const int64_t all = v_theta.size(0);
    const int64_t rows_at_once = std::max<int64_t>(1, kLossElements / v_theta[0].numel());
    at::Tensor gradient = at::empty_like(v_theta, at::MemoryFormat::Contiguous);
    std::vector<std::vector<at::Tensor>> parts;  // by output
    for (int64_t begin = 0; begin < all; begin += rows_at_once) {
      const int64_t count = std::min(rows_at_once, all - begin);
      RowValues values = values_of(Narrow(rows, begin, count), Narrow(velocities, begin, count));
      gradient.narrow(0, begin, count).copy_(values.gradient);
      parts.resize(1 + values.figures.size());
      parts[0].push_back(std::move(values.loss));
      for (size_t i = 0; i < values.figures.size(); ++i) parts[1 + i].push_back(std::move(values.figures[i]));
    }
    context->save_for_backward({gradient});
    variable_list outputs;
    for (const std::vector<at::Tensor>& part : parts) outputs.push_back(at::cat(part));
    context->mark_non_differentiable({outputs.begin() + 1, outputs.end()});
    return outputs;
  }

  static variable_list backward(AutogradContext* context, const variable_list& gradients) {
    return {context->get_saved_variables()[0] * AsLatents(gradients[0]), {}, {}, {}};
  }
};

}  // namespace

RowLoss LossByRows(const Rows& rows, const Velocities& velocities, const std::vector<std::string>& names,
                   ValuesOf values_of) {
  const variable_list outputs = RowLossFunction::apply(velocities.theta, rows, velocities, values_of);
  RowLoss loss{.loss = outputs[0], .figures = {}};
  for (size_t i = 0; i < names.size(); ++i) loss.figures.emplace_back(names[i], outputs.at(1 + i));
  return loss;
}

Distance RegressX0(const Rows& rows, const at::Tensor& velocity, const at::Tensor& target) {
  const at::Tensor t = AsLatents(rows.sigma);
  const at::Tensor x0 = rows.x - t * velocity;
  const at::Tensor scale = MeanOverDims((x0 - rows.x0).abs()).clamp_min(kLossScaleMin);
  const at::Tensor error = x0 - target;
  return {MeanOverDims(error.square()) / scale, error * (-2 / DimsOf(error) * t / AsLatents(scale))};
}

Distance MatchVelocity(const Rows& rows, const at::Tensor& velocity) {
  const at::Tensor error = velocity - (rows.noise - rows.x0);
  return {error.square().flatten(1).mean(1, false, at::kDouble), error * (2 / DimsOf(error))};
}

at::Tensor AddPull(const at::Tensor& v_theta, const at::Tensor& other, double weight, RowValues& values) {
  if (!other.defined()) return at::zeros_like(values.loss);
  const at::Tensor drift = v_theta - other;
  const at::Tensor mean = MeanOverDims(drift.square());
  values.loss = values.loss + weight * mean;
  values.gradient.add_(drift, 2 * weight / DimsOf(drift));
  return mean;
}

at::Tensor AsLatents(const at::Tensor& values) { return values.view({-1, 1, 1, 1}); }

}  // namespace flowawr
