#include "common/tensor/nvml.h"

#include <stdlib.h>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace flowawr {
namespace {

using ::testing::HasSubstr;

TEST(NvmlTest, TellsHowBusyHotAndFullACardIs) {
  const absl::StatusOr<Nvml> nvml = Nvml::Load(PRETEND_NVML);
  ASSERT_TRUE(nvml.ok()) << nvml.status();
  const absl::StatusOr<CardState> card = nvml->Ask("0000:65:00.0");
  ASSERT_TRUE(card.ok()) << card.status();
  EXPECT_EQ(card->utilization, 0.87);
  EXPECT_EQ(card->power_watts, 654.321);
  EXPECT_EQ(card->temperature_celsius, 84);
  EXPECT_EQ(card->memory_bytes, 80'000'000'000);
  EXPECT_EQ(card->used_memory_bytes, 71'000'000'000);
  EXPECT_EQ(card->received_bytes, 9'000'000'000);
  EXPECT_EQ(card->sent_bytes, 5'000'000'000);
  ASSERT_TRUE(card->throttling.has_value());
  EXPECT_TRUE(card->throttling->hardware);
  EXPECT_TRUE(card->throttling->hardware_thermal);
  EXPECT_FALSE(card->throttling->power_cap);
  EXPECT_FALSE(card->throttling->software_thermal);
  EXPECT_FALSE(card->throttling->power_brake);
}

TEST(NvmlTest, LeavesOutWhatACardDoesNotTell) {
  const absl::StatusOr<Nvml> nvml = Nvml::Load(PRETEND_NVML);
  ASSERT_TRUE(nvml.ok()) << nvml.status();
  const absl::StatusOr<CardState> slice = nvml->Ask("0000:66:00.0");
  ASSERT_TRUE(slice.ok()) << slice.status();
  EXPECT_FALSE(slice->received_bytes || slice->sent_bytes);
  EXPECT_FALSE(slice->utilization || slice->power_watts || slice->temperature_celsius || slice->throttling);
  EXPECT_TRUE(slice->memory_bytes.has_value());
}

TEST(NvmlTest, SaysWhatIsMissing) {
  const absl::Status none = Nvml::Load("libno-such-library.so.1").status();
  EXPECT_TRUE(absl::IsNotFound(none)) << none;
  EXPECT_THAT(std::string(none.message()), HasSubstr("no NVIDIA management library (libno-such-library.so.1)"));
  EXPECT_TRUE(absl::IsNotFound(Nvml::Load("libm.so.6").status()));
  setenv("PRETEND_NVML_ERROR", "9", /*overwrite=*/1);
  const absl::Status error = Nvml::Load(PRETEND_NVML).status();
  unsetenv("PRETEND_NVML_ERROR");
  EXPECT_TRUE(absl::IsFailedPrecondition(error)) << error;
  EXPECT_THAT(std::string(error.message()), HasSubstr("nvmlInit with error 9"));
  EXPECT_TRUE(absl::IsFailedPrecondition(Nvml::Load(PRETEND_NVML)->Ask("0000:01:00.0").status()));
}

}  // namespace
}  // namespace flowawr
