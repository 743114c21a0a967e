#include "cli/compare_command.h"

#include <CLI/CLI.hpp>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "cli/compare.h"
#include "common/base/file.h"
#include "common/base/status.h"
#include "common/config/run_config.h"
#include "common/process/exit_code.h"
#include "common/process/option_values.h"

namespace flowawr {
namespace {

constexpr int kMostRuns = 8;  // that a chart can tell apart

struct CompareRequest {
  std::vector<std::string> folders;
  std::vector<double> thresholds;
  std::string out = "compare.html";
};

absl::Status Compare(const CompareRequest& request) {
  std::vector<std::string> whole;
  for (const std::string& folder : request.folders)
    whole.push_back(std::filesystem::weakly_canonical(std::filesystem::absolute(folder)).string());
  const std::vector<std::string> names = DistinctNames(whole);
  std::vector<ComparedRun> runs;
  for (size_t i = 0; i < names.size(); ++i) {
    ComparedRun& run = runs.emplace_back(ComparedRun{.name = names[i]});
    FLOWAWR_ASSIGN_OR_RETURN(run.history, ReadRunMetrics(request.folders[i]));
    absl::StatusOr<v1::RunConfig> config = LoadRunConfig(request.folders[i] + "/config.yaml");
    if (config.ok())
      run.config = *std::move(config);
    else
      run.history.notes.push_back(absl::StrCat("its configuration cannot be read: ", config.status().message()));
  }
  const std::vector<double> thresholds = request.thresholds.empty() ? DefaultThresholds(runs) : request.thresholds;
  FLOWAWR_RETURN_IF_ERROR(WriteFileAtomically(request.out, CompareAsHtml(runs, thresholds)));
  std::printf("%s\n%s\n", CompareAsText(runs, thresholds).c_str(), request.out.c_str());
  return absl::OkStatus();
}

}  // namespace

void AddCompareCommand(CLI::App& app, int* exit_code) {
  const auto request = std::make_shared<CompareRequest>();
  CLI::App* command = app.add_subcommand("compare", "Compare runs: a page of their curves, and a table.");
  command->footer(
      R"(Reads only the folders of the runs, which may go on meanwhile. The table tells what each run reached, after how many
updates, images and seconds its held-out reward first was at a threshold, and which settings differ. Runs of different
rewards are said to be so: their figures are not of the same thing.

Example:
  flowawr compare runs/rank-8 runs/rank-32 --threshold 0.8 --threshold 0.9)");
  command->add_option("RUN_DIR", request->folders, "The folders of the runs, 2 to 8")->required()->expected(2, kMostRuns);
  command->add_option("--threshold", request->thresholds,
                      "a held-out reward to be reached; may be repeated; default: half and nine tenths of the best gain")
      ->type_name("REWARD")
      ->check(Number(-1e9, 1e9))
      ->allow_extra_args(false);
  command->add_option("--out", request->out, "the page to write")->type_name("FILE.html")->capture_default_str();
  command->callback([request, exit_code] { *exit_code = ReportAndExitCodeOf(Compare(*request)); });
}

}  // namespace flowawr
