// What one update gave, and how it is told: to the status, as a line of metrics.jsonl, as TensorBoard scalars. Pure.
#pragma once

#include <cstdint>
#include <map>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

#include "flowawr/v1/control.pb.h"
#include "learner/batch_figures.h"
#include "learner/reward_figures.h"
#include "learner/run_record.h"

namespace flowawr {

// How far the log-probabilities of the groups are from those that the learner computes.
struct Drift {
  double mean = 0, greatest = 0;
};

struct UpdateResult {
  uint64_t update = 0, updates_total = 0, updates_skipped = 0;
  uint64_t samples_trained = 0, groups_accepted = 0;  // over the whole run
  uint64_t behaviour_version = 0;                     // that it published
  uint64_t spec_version = 0;                          // of the batch's rewards
  double learning_rate = 0, elapsed_s = 0;
  // Of an update that moved the policy; absent for one that was skipped.
  struct Trained {
    double loss = 0, grad_norm = 0;
    std::map<std::string, double> figures;  // what the algorithm reports
  };
  std::optional<Trained> trained;
  std::string refused;                  // why the update was refused, for people; empty: it was not
  std::optional<Drift> log_prob_drift;  // where groups bring log-probabilities
  RewardFigures rewards;
  BatchFigures batch;
  std::vector<v1::ShadowReward> shadows;
  std::map<std::string, double> seconds, actor_seconds;  // by stage, since the update before
};

// In place of the last update's. Loss and what the algorithm reports stay those of the last that trained.
void ShowUpdate(const UpdateResult& record, v1::Status& status);
nlohmann::json UpdateLine(const UpdateResult& record);
Scalars UpdateScalars(const UpdateResult& record);
// For the log.
std::string UpdateSentence(const UpdateResult& record);

}  // namespace flowawr
