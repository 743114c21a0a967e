// What a run directory says about its run, read for the report and the summary.
//
// Reading is lenient: the run may be going on, may have been killed in the middle of a line, or may be of another
// version. What cannot be read is left out and named in `notes`; only a directory without a history is an error.
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

struct UpdateRecord {
  uint64_t update = 0;
  std::optional<double> reward_mean, loss, kl, grad_norm, elapsed_s;
  uint64_t samples_trained = 0;  // of the whole run, up to here
  bool is_skipped = false;       // every group of the batch was all-equal
};

struct EvaluationRecord {
  uint64_t update = 0;
  std::optional<double> reward_mean, reward_stderr, exact_share, elapsed_s;
  uint64_t images = 0;
  std::map<std::string, double> by_scorer;
};

struct Picture {
  std::string png;
  int width = 0, height = 0;
  std::string prompt;
  std::optional<double> reward;
  std::map<std::string, std::string> details;  // of the first scorer, e.g. `text`: what the OCR read
};

struct RunHistory {
  std::string run_id;                             // empty: not known
  std::vector<UpdateRecord> updates;              // by update; of a repeated one the last line counts
  std::vector<EvaluationRecord> evaluations;      // likewise
  SecondsByStage learner_seconds, actor_seconds;  // sums over the updates; the actors' over all actors
  // By file name without ending: the same prompt and seed have the same name. The final ones of a run that has not come
  // to its end are those of its latest evaluation.
  std::map<std::string, Picture> base_pictures, final_pictures;
  std::string config_yaml;
  std::vector<std::string> notes;  // sentences for the reader of the report

  // The evaluation before the first update, and the last one after it; null when there is none.
  const EvaluationRecord* base_evaluation() const;
  const EvaluationRecord* final_evaluation() const;
};

// What metrics.jsonl alone tells: neither pictures nor configuration. NotFound when `run_dir` has none.
absl::StatusOr<RunHistory> ReadRunMetrics(const std::string& run_dir);

// All of it. NotFound when `run_dir` has no metrics.jsonl.
absl::StatusOr<RunHistory> ReadRunHistory(const std::string& run_dir);

// What the prompt asks to be written: its first double-quoted part; empty when it has none.
std::string QuotedTarget(absl::string_view prompt);

// Whether the OCR's `text` holds `target` by the OCR reward's rule: white space and case do not count.
bool TextMatches(absl::string_view text, absl::string_view target);

}  // namespace flowawr
