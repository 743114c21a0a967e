// What `flowawr run` and `flowawr watch` show of a run. Pure: a status in, text out.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "flowawr/v1/control.pb.h"

namespace flowawr {

// The panel of a live terminal, one string a line, none wider than `width` columns (at least 20 are assumed). Long
// lines are continued on the next one, not cut. What was not measured is "missing", never 0.
std::vector<std::string> RenderPanel(const v1::Status& status, int width);

// For logs and pipes: a line for each update, evaluation and change of phase, none for a status that tells nothing new.
class ProgressLines {
 public:
  std::vector<std::string> Next(const v1::Status& status);

 private:
  std::optional<v1::Status> last_;
};

// "version 3: ocr weight 1 at 127.0.0.1:50052, jpeg weight -0.1 (optional)".
std::string DescribeRewardSpec(const v1::RewardSpec& spec);

// "running", "evaluating the base model", ...
std::string PhaseName(v1::RunPhase phase);

// "0:07", "1:02:03".
std::string FormatDuration(double seconds);

// "reward 0.512 ± 0.020, exact 43.0%"; of rewards that know no exact images, without the last part.
std::string DescribeEvaluation(const v1::EvaluationSummary& evaluation);

}  // namespace flowawr
