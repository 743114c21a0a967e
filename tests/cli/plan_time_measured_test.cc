// What `flowawr plan` says of time, held against a run. The machine should do nothing else meanwhile.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdio>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "tests/cli/command.h"
#include "tests/testing/temp_folder.h"

namespace flowawr {
namespace {

std::string RunFlowawr(const TempFolder& folder, std::vector<std::string> arguments) {
  for (const char* setting : {"train.updates=4", "evaluation.every_updates=0", "evaluation.final_prompts=16"}) {
    arguments.emplace_back("--set");
    arguments.emplace_back(setting);
  }
  Command command(folder, arguments);
  EXPECT_EQ(command.AwaitEnd(), "") << command.output();
  return command.output();
}

TEST(PlanTimeMeasured, PredictsAnUpdateOfTheEmbeddedModelToAFactorOfTwo) {
  const TempFolder folder;
  const double predicted =
      nlohmann::json::parse(RunFlowawr(folder, {"plan", "configs/tiny-ocr.yaml", "--json"})).at("seconds").at("update");
  RunFlowawr(folder, {"run", "configs/tiny-ocr.yaml", "--run-dir", folder / "run"});
  std::ifstream metrics(folder / "run/metrics.jsonl");
  std::vector<double> ends, updates;
  for (std::string line; std::getline(metrics, line);) {
    const nlohmann::json record = nlohmann::json::parse(line);
    if (record.at("kind") == "update") ends.push_back(record.at("elapsed_s"));
  }
  ASSERT_EQ(ends.size(), 4);
  for (size_t i = 1; i < ends.size(); ++i) updates.push_back(ends[i] - ends[i - 1]);
  std::sort(updates.begin(), updates.end());
  const double measured = updates[1];
  std::printf("an update: %.2f s predicted, %.2f s measured\n", predicted, measured);
  EXPECT_LT(predicted, 2 * measured);
  EXPECT_GT(predicted, measured / 2);
}

}  // namespace
}  // namespace flowawr
