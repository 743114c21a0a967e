#include "common/sd3/scheduler.h"

#include <gmock/gmock.h>

#include "tests/testing/temp_folder.h"

namespace flowawr {
namespace {

using testing::HasSubstr;

absl::StatusOr<SchedulerConfig> Load(const std::string& json) {
  const TempFolder folder;
  folder.Write("scheduler_config.json", json);
  return SchedulerConfig::Load(folder.path());
}

constexpr char kStart[] = R"({"_class_name": "FlowMatchEulerDiscreteScheduler")";

TEST(SchedulerConfigTest, ReadsTheShiftAndTheTrainingSteps) {
  const auto config = Load(std::string(kStart) + R"(, "shift": 3.0, "num_train_timesteps": 500, "shift_terminal": null,
      "use_dynamic_shifting": false, "base_shift": 0.5})");
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->shift, 3);
  EXPECT_EQ(config->num_train_timesteps, 500);
}

TEST(SchedulerConfigTest, AbsentFieldsTakeTheDefaultsOfDiffusers) {
  const auto config = Load(std::string(kStart) + "}");
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->shift, 1);
  EXPECT_EQ(config->num_train_timesteps, 1000);
}

TEST(SchedulerConfigTest, RefusesWhatWouldChangeTheSigmas) {
  for (const char* field : {"use_dynamic_shifting", "use_karras_sigmas", "use_exponential_sigmas", "use_beta_sigmas",
                            "invert_sigmas", "stochastic_sampling"}) {
    const absl::Status status = Load(std::string(kStart) + ", \"" + field + "\": true}").status();
    EXPECT_THAT(status.message(), HasSubstr(std::string(field) + " is set; it is not supported"));
  }
  EXPECT_THAT(Load(std::string(kStart) + R"(, "shift_terminal": 0.1})").status().message(),
              HasSubstr("shift_terminal"));
}

TEST(SchedulerConfigTest, RefusesAnotherSchedulerAndValuesOutOfRange) {
  EXPECT_THAT(Load(R"({"_class_name": "DDIMScheduler"})").status().message(), HasSubstr("\"DDIMScheduler\""));
  EXPECT_THAT(Load("{}").status().message(), HasSubstr("expected FlowMatchEulerDiscreteScheduler"));
  EXPECT_THAT(Load("[]").status().message(), HasSubstr("expected an object"));
  for (const char* value : {"0", "-3", "\"three\"", "true"})
    EXPECT_THAT(Load(std::string(kStart) + ", \"shift\": " + value + "}").status().message(),
                HasSubstr("shift must be"))
        << value;
  for (const char* value : {"0", "1.5", "-1", "10000000000"})
    EXPECT_THAT(Load(std::string(kStart) + ", \"num_train_timesteps\": " + value + "}").status().message(),
                HasSubstr("num_train_timesteps must be a whole number"))
        << value;
  EXPECT_FALSE(SchedulerConfig::Load("/nonexistent").ok());
}

}  // namespace
}  // namespace flowawr
