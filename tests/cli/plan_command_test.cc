// `flowawr plan` as people run it.
#include <gmock/gmock.h>

#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "tests/cli/command.h"
#include "tests/testing/python.h"
#include "tests/testing/temp_folder.h"

namespace flowawr {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

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
  for (const char* text : {"Learner", "Each actor", "micro-batch", "* fits", "fits beside 1 actor with",
                           "share the pages", "to draw 128 images in 8 steps", "to train on 384 rows",
                           "an evaluation, 5 of them on the way", "together, 60 updates; give or take"})
    EXPECT_THAT(outcome.output, HasSubstr(text));
}

TEST(PlanCommand, PlansWithThePictureSizeThatTheModelWasMadeFor) {
  const TempFolder folder;
  const std::string file =
      folder.Write("run.yaml",
                   "run_dir: run\nmodel: {path: models/tiny-sd3}\nprompts: {train: none.txt}\n"
                   "rewards: {terms: [{scorer: ocr}]}\nevaluation: {every_updates: 0}\n");
  EXPECT_THAT(Plan({file, "--no-time"}).output, HasSubstr("32 x 64 pixels"));
  EXPECT_THAT(Plan({file, "--no-time", "--set", "model.height=64"}).output, HasSubstr("64 x 64 pixels"));
  EXPECT_THAT(Plan({file, "--no-time", "--model", "sd35-medium"}).output, HasSubstr("1024 x 1024 pixels"));
}

TEST(PlanCommand, ProposesWhoComputesOnWhichDevice) {
  const std::vector<std::string> of_medium = {"configs/sd35-medium-ocr.yaml", "--model", "sd35-medium", "--no-time",
                                              "--set", "rollout.max_staleness=1"};
  const auto plan = [&](std::vector<std::string> more) {
    more.insert(more.begin(), of_medium.begin(), of_medium.end());
    return Plan(more);
  };
  const Outcome text = plan({"--devices", "2", "--device-memory", "80GB"});
  for (const char* line : {"Devices: 2 of 80.0 GB", "each actor", "train.devices: [cuda:1]",
                           "local.actor_devices: [cuda:0]", "local.reward_device: cuda:1"})
    EXPECT_THAT(text.output, HasSubstr(line));
  const Outcome json = plan({"--devices", "8", "--device-memory", "8GB", "--json"});
  const nlohmann::json devices = nlohmann::json::parse(json.output).at("devices");
  EXPECT_FALSE(devices.at("fits").get<bool>());
  EXPECT_EQ(devices.at("actor_devices").size() + devices.at("train_devices").size(), 8);
  EXPECT_GT(devices.at("learner_bytes").get<int64_t>(), 2 * 2'469'663'936);  // the transformer in bfloat16
}

TEST(PlanCommand, ProposesWhatMakesARunFitOnSmallDevices) {
  const auto plan = [](const std::string& memory, std::vector<std::string> more = {}) {
    more.insert(more.begin(), {"configs/sd35-medium-ocr.yaml", "--model", "sd35-medium", "--no-time", "--devices", "1",
                               "--device-memory", memory});
    return Plan(more).output;
  };
  EXPECT_THAT(plan("80GB"), Not(HasSubstr("Fits with")));
  // An actor's text encoders alone are 11 GB: 40 GB are enough with smaller micro-batches, 24 GB only without encoders.
  EXPECT_THAT(plan("40GB"), HasSubstr("Fits with train.checkpointed_blocks: 0, train.micro_batch: 8\n"));
  const nlohmann::json json = nlohmann::json::parse(plan("24GB", {"--json"})).at("devices").at("fits_with");
  EXPECT_TRUE(json.at("embeds_cache").get<bool>());
  EXPECT_THAT(plan("24GB", {"--set", "model.embeds_cache=embeds", "--set",
                            absl::StrCat("train.micro_batch=", json.at("micro_batch").get<int>()), "--set",
                            absl::StrCat("train.checkpointed_blocks=", json.at("checkpointed_blocks").get<int>())}),
              HasSubstr("Proposed:"));
  // What would do on the processor is told of the processor.
  EXPECT_THAT(plan("8GB", {"--memory", "500GB"}),
              AllOf(HasSubstr("Nothing of train.* makes it fit: a smaller picture, or more"),
                    HasSubstr("Without the devices: the learner, "),
                    HasSubstr("\nWithout the devices, 500.0 GB: fits beside")));
}

TEST(PlanCommand, NamesManyDevicesByTheEndsOfTheirList) {
  const auto plan = [](const std::vector<std::string>& more) {
    std::vector<std::string> arguments = {"configs/tiny-ocr.yaml", "--no-time",       "--devices", "1024",
                                          "--device-memory",       "80GB"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return Plan(arguments).output;
  };
  EXPECT_THAT(plan({}), AllOf(HasSubstr("local.actor_devices: [cuda:0 to cuda:"), Not(HasSubstr("cuda:1,"))));
  const nlohmann::json json = nlohmann::json::parse(plan({"--json"})).at("devices");
  EXPECT_THAT(json.at("actor_devices").dump(), HasSubstr("\"cuda:0\",\"cuda:1\",\"cuda:2\""));
}

TEST(PlanCommand, DealsTheLearnersDevicesOutToItsRanks) {
  const auto plan = [](const std::string& ranks) {
    return Plan({"configs/sd35-medium-ocr.yaml", "--model", "sd35-medium", "--no-time", "--set",
                 "rollout.max_staleness=0", "--set", "train.ranks=" + ranks, "--devices", "4", "--device-memory",
                 "80GB"})
        .output;
  };
  EXPECT_THAT(plan("1"), testing::Not(HasSubstr("rank 0")));
  EXPECT_THAT(plan("2"), HasSubstr("    rank 0: cuda:0, cuda:1\n    rank 1: cuda:2, cuda:3\n"));
  EXPECT_THAT(plan("8"), HasSubstr("run at most 4"));
}

TEST(PlanCommand, SaysWhatIsMissingToPlanForDevices) {
  const Outcome outcome = Plan({"configs/tiny-ocr.yaml", "--no-time", "--devices", "2"});
  EXPECT_EQ(outcome.end, "exit status 64");
  EXPECT_THAT(outcome.output, HasSubstr("--devices needs --device-memory, like 80GB"));
  EXPECT_THAT(Plan({"configs/tiny-ocr.yaml", "--no-time", "--devices", "2", "--device-memory", "much"}).output,
              HasSubstr("--device-memory much: expected an amount like"));
  const Outcome none = Plan({"configs/tiny-ocr.yaml", "--no-time", "--device-memory", "80GB"});
  EXPECT_EQ(none.end, "exit status 64");
  EXPECT_THAT(none.output, HasSubstr("--devices N"));
  EXPECT_EQ(Plan({"configs/tiny-ocr.yaml", "--no-time", "--memory", "much"}).end, "exit status 64");
}

TEST(PlanCommand, TellsProgramsTheTimeUnlessToldNotTo) {
  const std::vector<std::string> arguments = {
      "configs/tiny-ocr.yaml",     "--json", "--actors", "1", "--set", "train.updates=10", "--set",
      "evaluation.every_updates=3"};
  const Outcome outcome = Plan(arguments);
  ASSERT_EQ(outcome.end, "") << outcome.output;
  const nlohmann::json seconds = nlohmann::json::parse(outcome.output).at("seconds");
  double update = 0;
  for (const char* part : {"sampling", "decoding", "scoring_assumed", "training"}) {
    EXPECT_GT(seconds.at(part).get<double>(), 0) << part;
    update += seconds.at(part).get<double>();
  }
  EXPECT_NEAR(seconds.at("update").get<double>(), update, 1e-9);
  EXPECT_EQ(seconds.at("evaluations"), 3);
  EXPECT_NEAR(
      seconds.at("total").get<double>(),
      10 * update + 3 * seconds.at("evaluation").get<double>() + 2 * seconds.at("first_evaluation").get<double>(),
      1e-6);
  std::vector<std::string> untimed = arguments;
  untimed.push_back("--no-time");
  EXPECT_FALSE(nlohmann::json::parse(Plan(untimed).output).contains("seconds"));
}

TEST(PlanCommand, NeedsNoTextEncodersWhereTheirWorkIsCached) {
  const TempFolder folder;
  for (const char* part : {"transformer", "vae"}) {
    std::filesystem::create_directories(folder / part);
    std::filesystem::copy(absl::StrCat("models/tiny-sd3/", part, "/config.json"), folder / part);
  }
  const std::string model = "model.path=" + folder.path();
  EXPECT_NE(Plan({"configs/tiny-ocr.yaml", "--set", model}).end, "");
  const Outcome cached = Plan({"configs/tiny-ocr.yaml", "--set", model, "--set", "model.embeds_cache=c"});
  EXPECT_EQ(cached.end, "") << cached.output;
  EXPECT_THAT(cached.output, HasSubstr("  0 MB  text encoders' weights"));
}

TEST(PlanCommand, PlansThePublishedModelBeforeItIsThere) {
  const Outcome missing = Plan({"configs/sd35-medium-ocr.yaml"});
  EXPECT_NE(missing.end, "");
  EXPECT_THAT(missing.output, HasSubstr("--model sd35-medium"));

  const Outcome outcome = Plan({"configs/sd35-medium-ocr.yaml", "--model", "sd35-medium", "--memory", "1GB", "--json",
                                "--actors", "0", "--no-time"});
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
