#include "reward_server/detection/instances.h"

#include <torch/types.h>

#include <algorithm>
#include <map>
#include <utility>

namespace flowawr {
namespace {

struct Candidate {
  int64_t query = 0;
  int64_t label = 0;
  float probability = 0;
};

// An object's score is at most its class's probability, so those that can be found are known before any mask is made.
std::vector<Candidate> Candidates(const at::Tensor& class_logits, const InstanceOptions& options) {
  const at::Tensor probabilities = class_logits.to(at::kFloat).softmax(-1).contiguous();
  const int64_t classes = probabilities.size(1) - 1;
  const auto values = probabilities.accessor<float, 2>();
  std::vector<Candidate> candidates;
  for (int64_t q = 0; q < probabilities.size(0); ++q) {
    for (int64_t c = 0; c < classes; ++c) {
      if (values[q][c] > options.min_score) candidates.push_back({q, c, values[q][c]});
    }
  }
  std::stable_sort(candidates.begin(), candidates.end(),
                   [](const Candidate& a, const Candidate& b) { return a.probability > b.probability; });
  if (static_cast<int64_t>(candidates.size()) > options.most) candidates.resize(options.most);
  return candidates;
}

// One query's mask on the picture.
struct QueryMask {
  at::Tensor mask;           // bool
  double mean = 0;           // probability within it
  std::array<float, 4> box = {};
};

at::Tensor Resized(const at::Tensor& x, int64_t height, int64_t width) {
  if (x.size(2) == height && x.size(3) == width) return x;
  return at::upsample_bilinear2d(x, {height, width}, /*align_corners=*/false);
}

// The first and one behind the last true place of [n].
std::pair<float, float> Extent(const at::Tensor& is_there) {
  const at::Tensor places = is_there.nonzero();
  return {places[0].item<float>(), places[-1].item<float>() + 1};
}

QueryMask MaskOf(const at::Tensor& logits, const DetectionPixels& pixels, int64_t height, int64_t width) {
  const at::Tensor padded =
      Resized(logits.to(at::kFloat).unsqueeze(0).unsqueeze(0), pixels.pixels.size(2), pixels.pixels.size(3));
  const at::Tensor picture =
      Resized(padded.narrow(2, 0, pixels.height).narrow(3, 0, pixels.width), height, width).squeeze(0).squeeze(0);
  QueryMask found{.mask = picture.gt(0)};
  const double count = found.mask.sum().item<double>();
  if (count == 0) return found;
  found.mean = (picture.sigmoid() * found.mask).sum().item<double>() / (count + 1e-6);
  const auto [left, right] = Extent(found.mask.any(0));
  const auto [top, bottom] = Extent(found.mask.any(1));
  found.box = {left, top, right, bottom};
  return found;
}

}  // namespace

std::vector<Instance> FindInstances(const at::Tensor& class_logits, const at::Tensor& mask_logits,
                                    const DetectionPixels& pixels, int64_t height, int64_t width,
                                    const InstanceOptions& options) {
  std::map<int64_t, QueryMask> masks;
  std::vector<Instance> instances;
  for (const Candidate& candidate : Candidates(class_logits, options)) {
    auto [found, is_new] = masks.try_emplace(candidate.query);
    if (is_new) found->second = MaskOf(mask_logits[candidate.query], pixels, height, width);
    const double score = candidate.probability * found->second.mean;
    if (score > options.min_score)
      instances.push_back(
          {.label = candidate.label, .score = score, .box = found->second.box, .mask = found->second.mask});
  }
  std::stable_sort(instances.begin(), instances.end(),
                   [](const Instance& a, const Instance& b) { return a.score > b.score; });
  return instances;
}

}  // namespace flowawr
