// What a run directory says about its run, read for the report and the summary.
//
// Reading is lenient: the run may be going on, may have been killed in the middle of a line, or may be of another
// version. What cannot be read is left out and named in `notes`; only a directory without a history is an error.
// Memory is bounded whatever the files hold: metrics.jsonl is read line by line, and of more than 50,000 updates every
// second, fourth, ... is kept (the sums are of all).
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace flowawr {

using SecondsByStage = std::map<std::string, double>;

// How a reward of weight 0 judged the newest updates' groups beside what was trained on.
struct ShadowRecord {
  uint64_t groups = 0;
  std::optional<double> rank_correlation, best_differs;
};

struct UpdateRecord {
  uint64_t update = 0;
  std::optional<double> reward_mean, loss, kl, grad_norm, elapsed_s;
  uint64_t samples_trained = 0;  // of the whole run, up to here
  uint64_t rewards_version = 0;  // of the reward spec; 0: not known
  bool is_skipped = false;       // every group of the batch was all-equal
};

struct EvaluationRecord {
  uint64_t update = 0;
  std::optional<double> reward_mean, reward_stderr, exact_share, elapsed_s;
  uint64_t images = 0;
  std::map<std::string, double> by_scorer;
  uint64_t rewards_version = 0;  // of the reward spec; 0: not known
  bool is_final = false;  // of the whole set of final prompts, at the run's end
};

// Rewards that were replaced while the run went on: what was measured before and after is not the same thing.
struct RewardSwap {
  uint64_t update = 0;  // the last one under the old rewards
  std::string from, to;  // as people read them: "ocr weight 1"
};

struct Picture {
  std::string png;
  int width = 0, height = 0;
  std::string prompt;
  std::optional<double> reward;
  uint64_t update = 0;
  std::map<std::string, std::string> details;  // of the first scorer, e.g. `text`: what the OCR read
};

// What the learner said of the run at its end; empty of one that has not come to it, or was trained on since.
struct EndRecord {
  std::string reason;  // why it was before its last update; empty: it was not
  std::vector<std::string> warnings;
};

inline constexpr size_t kMostPicturedUpdates = 6;

// At most `most` of them, spread evenly, with the first and the last. Pure.
std::vector<uint64_t> SpreadUpdates(const std::vector<uint64_t>& updates, size_t most);

struct RunHistory {
  std::string run_id;                             // empty: not known
  std::vector<UpdateRecord> updates;              // by update; of a repeated one the last line counts
  uint64_t updates_skipped = 0;                   // of all, also those that `updates` leaves out
  std::vector<EvaluationRecord> evaluations;      // likewise
  std::vector<RewardSwap> swaps;                  // by update
  std::map<std::string, ShadowRecord> shadows;    // of the last update, by scorer
  uint64_t shadows_update = 0;                    // which that was
  EndRecord end;
  SecondsByStage learner_seconds, actor_seconds;  // sums over the updates; the actors' over all actors
  // By file name without ending: the same prompt and seed have the same name. The final ones of a run that has not come
  // to its end are those of its latest evaluation.
  std::map<std::string, Picture> base_pictures, final_pictures;
  // By update, of the evaluations in between: at most kMostPicturedUpdates, spread evenly.
  std::map<uint64_t, std::map<std::string, Picture>> pictures_between;
  std::string config_yaml;
  std::vector<std::string> notes;  // sentences for the reader of the report

  // The evaluation before the first update; the last one after it; that one if it is the run's last word, made at its
  // end. Null when there is none.
  const EvaluationRecord* base_evaluation() const;
  const EvaluationRecord* latest_evaluation() const;
  const EvaluationRecord* final_evaluation() const;
};

// What metrics.jsonl alone tells: neither pictures nor configuration. NotFound when `run_dir` has none.
absl::StatusOr<RunHistory> ReadRunMetrics(const std::string& run_dir);

// All of it. NotFound when `run_dir` has no metrics.jsonl.
absl::StatusOr<RunHistory> ReadRunHistory(const std::string& run_dir);

}  // namespace flowawr
