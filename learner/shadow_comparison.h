// How shadows (terms of weight 0) judge the groups of the newest updates, beside the rewards that are trained on. Pure;
// not thread-safe.
//
// A group counts for a shadow when at least two of its samples have both rewards, and neither reward is the same for all
// of those: then both put the samples in an order. Of ties the ranks are averaged, and a best sample that both have is
// none that differs. Another reward spec begins anew: what is trained on is then another reward.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <vector>

#include "flowawr/v1/control.pb.h"
#include "learner/group.h"

namespace flowawr {

// Spearman's rank correlation: Pearson's of the ranks. Nullopt for fewer than two values, and when one side is constant.
// Both have the same length and are finite.
std::optional<double> SpearmanCorrelation(const std::vector<double>& a, const std::vector<double>& b);

class ShadowComparison {
 public:
  static constexpr size_t kUpdates = 20;

  // The batch of an update, all of one spec. `trained` is what it was trained on, [groups, samples] f32 or f64: any
  // value that puts a group's samples in order. Samples where it is not finite, or that none of the trained rewards could
  // be had of, are left out.
  void Add(const std::vector<Group>& batch, const at::Tensor& trained);

  // Of the newest kUpdates updates that were added, one a shadow of their spec, in its order.
  std::vector<v1::ShadowReward> figures() const;

  // For a checkpoint. Restore() begins with nothing where `json` is not what ToJson() gave.
  std::string ToJson() const;
  void Restore(const std::string& json);

 private:
  struct Sums {
    uint64_t groups = 0, best_differs = 0;
    double correlation = 0;
  };
  uint64_t spec_version_ = 0;
  std::vector<std::string> scorers_;  // the shadows
  std::deque<std::vector<Sums>> updates_;
};

}  // namespace flowawr
