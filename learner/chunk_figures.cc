#include "learner/chunk_figures.h"

#include <torch/types.h>

#include <cmath>
#include <set>
#include <unordered_map>

#include "absl/strings/str_cat.h"
#include "common/tensor/transfer.h"

namespace flowawr {
namespace {

constexpr int64_t kLoss = 0, kGreatest = 1, kOldDistance = 2, kFigures = 3;

// The values of all chunks on the host, one after the other. Each device is waited for once.
std::vector<double> ReadAll(const std::vector<ChunkFigures>& chunks) {
  struct OfDevice {
    std::vector<at::Tensor> parts = {};
    at::Tensor on_host = {};
    const double* next = nullptr;
  };
  std::unordered_map<at::Device, OfDevice> devices;
  for (const ChunkFigures& chunk : chunks) devices[chunk.values.device()].parts.push_back(chunk.values);
  for (auto& [device, of_device] : devices) {
    of_device.on_host = MovedTo(at::cat(of_device.parts), at::kCPU);
    of_device.next = of_device.on_host.const_data_ptr<double>();
  }
  std::vector<double> values;
  for (const ChunkFigures& chunk : chunks) {
    const double*& next = devices.at(chunk.values.device()).next;
    values.insert(values.end(), next, next + chunk.values.numel());
    next += chunk.values.numel();
  }
  return values;
}

struct Mean {
  double sum = 0;
  int64_t rows = 0;

  void Add(double value, int64_t of_rows) { sum += value, rows += of_rows; }
  double value() const { return sum / static_cast<double>(rows); }
};

}  // namespace

ChunkFigures PackChunk(size_t group, const Rows& rows, const Velocities& velocities, bool is_old_another,
                       const RowLoss& loss, const at::Tensor& gradient) {
  const at::Tensor losses = loss.loss.detach();
  ChunkFigures chunk{.group = group, .is_old_another = is_old_another, .steps = rows.step};
  std::vector<at::Tensor> values = {
      losses.sum(at::kDouble),
      at::linalg_vector_norm(gradient, INFINITY).to(at::kDouble),  // NaN if an element is
      is_old_another
          ? (velocities.theta.detach() - velocities.old).square().flatten(1).mean(1).sum(at::kDouble)
          : at::zeros({}, losses.options().dtype(at::kDouble))};
  for (const auto& [name, of_rows] : loss.figures) {
    chunk.names.push_back(name);
    values.push_back(of_rows.sum(at::kDouble));
  }
  chunk.values = at::cat({at::stack(values), losses.to(at::kDouble)});
  return chunk;
}

void SumFigures(const std::vector<ChunkFigures>& chunks, BatchGradient& total) {
  double loss = 0;
  Mean old_distance;
  std::map<std::string, Mean> figures;
  std::map<int64_t, Mean> by_sigma;
  std::set<size_t> not_finite;
  const std::vector<double> values = ReadAll(chunks);
  const double* next = values.data();
  for (const ChunkFigures& chunk : chunks) {
    loss += next[kLoss];
    if (!std::isfinite(next[kLoss]) || !std::isfinite(next[kGreatest])) not_finite.insert(chunk.group);
    if (chunk.is_old_another) old_distance.Add(next[kOldDistance], chunk.rows());
    next += kFigures;
    for (const std::string& name : chunk.names) figures[name].Add(*next++, chunk.rows());
    for (const int64_t step : chunk.steps) by_sigma[step].Add(*next++, 1);
  }
  total.loss = chunks.empty() ? 0 : loss / static_cast<double>(total.rows);
  for (const auto& [name, mean] : figures) total.figures[name] = mean.value();
  for (const auto& [step, mean] : by_sigma) total.figures[absl::StrCat("loss/sigma_", step)] = mean.value();
  if (old_distance.rows > 0) total.figures["old_distance"] = old_distance.value();
  total.not_finite.assign(not_finite.begin(), not_finite.end());
}

}  // namespace flowawr
