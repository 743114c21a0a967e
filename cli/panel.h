// What `flowawr run` and `flowawr watch` show of a run. Pure: a status in, text out.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "cli/reward_trend.h"
#include "flowawr/v1/control.pb.h"

namespace flowawr {

struct PanelStyle {
  bool has_colour = false;              // ANSI sequences that set the colour of whole lines
  const RewardTrend* trend = nullptr;  // null: no line of it
};

// The panel of a live terminal, one string a line, none wider than `width` columns (at least 20 are assumed). Long
// lines are continued on the next one, not cut. What was not measured is "missing", never 0. Colours say what words say,
// too: yellow what to look at, red what is wrong, green what went well.
std::vector<std::string> RenderPanel(const v1::Status& status, int width, const PanelStyle& style = {});

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
