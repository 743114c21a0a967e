// `flowawr plan` as people run it.
#include <gmock/gmock.h>

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "tests/cli/command.h"
#include "tests/testing/python.h"

namespace flowawr {
namespace {

using ::testing::HasSubstr;

struct Outcome {
  std::string end, output;
};

Outcome Plan(std::vector<std::string> arguments) {
  const TempFolder folder;
  arguments.insert(arguments.begin(), "plan");
  Command command(folder, arguments);
  const std::string end = command.AwaitEnd();
  return {end, command.output()};
}

TEST(PlanCommand, PlansARunWhoseModelIsThere) {
  const Outcome outcome = Plan({"configs/tiny-ocr.yaml", "--memory", "64GiB", "--actors", "1"});
  EXPECT_EQ(outcome.end, "");
  for (const char* text :
       {"Learner", "Each actor", "micro-batch", "* fits", "fits beside 1 actor with", "share the pages"})
    EXPECT_THAT(outcome.output, HasSubstr(text));
}

TEST(PlanCommand, PlansThePublishedModelBeforeItIsThere) {
  const Outcome missing = Plan({"configs/sd35-medium-ocr.yaml"});
  EXPECT_NE(missing.end, "");
  EXPECT_THAT(missing.output, HasSubstr("--model sd35-medium"));

  const Outcome outcome =
      Plan({"configs/sd35-medium-ocr.yaml", "--model", "sd35-medium", "--memory", "1GB", "--json", "--actors", "0"});
  ASSERT_EQ(outcome.end, "");
  const nlohmann::json json = nlohmann::json::parse(outcome.output);
  EXPECT_FALSE(json.contains("choice"));
  EXPECT_EQ(json.at("memory"), 1'000'000'000);
  EXPECT_EQ(json.at("table").size(), 3u * 5 * 3);
  int64_t learner = 0;
  for (const auto& part : json.at("learner")) learner += part.at("bytes").get<int64_t>();
  EXPECT_EQ(json.at("machine_bytes"), learner);
  for (const auto& cell : json.at("table")) EXPECT_FALSE(cell.at("fits").get<bool>()) << cell.dump();
}

TEST(PlanCommand, SaysWhatItNeeds) {
  EXPECT_THAT(Plan({}).output, HasSubstr("name a configuration file"));
  EXPECT_THAT(Plan({"configs/tiny-ocr.yaml", "--memory", "much"}).output, HasSubstr("24GiB"));
}

}  // namespace
}  // namespace flowawr
