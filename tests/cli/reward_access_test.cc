#include "cli/reward_access.h"

#include <filesystem>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/testing/temp_folder.h"

namespace flowawr {
namespace {

using ::testing::HasSubstr;

std::string Config(const TempFolder& folder, const std::string& terms) {
  return folder.Write("run.yaml",
                      absl::StrCat("run_dir: run\nmodel: {path: m}\nprompts: {train: p}\n"
                                   "evaluation: {every_updates: 0}\nrewards: {terms: [", terms, "]}\n"));
}

TEST(PlanRewardsTest, TakesOneScorerWithItsOptions) {
  const auto plan = PlanRewards({.what = "small=jpeg_compressibility,scale=5"});
  ASSERT_TRUE(plan.ok()) << plan.status();
  ASSERT_EQ(plan->scorers.size(), 1u);
  EXPECT_EQ(plan->scorers[0].kind(), "jpeg_compressibility");
  EXPECT_EQ(plan->scorers[0].options().at("scale"), "5");
  ASSERT_EQ(plan->spec.terms_size(), 1);
  EXPECT_EQ(plan->spec.terms(0).scorer(), "small");
  EXPECT_EQ(plan->spec.terms(0).endpoint(), "");
  EXPECT_TRUE(plan->spec.terms(0).is_required());
  EXPECT_FALSE(plan->has_config);
}

TEST(PlanRewardsTest, TakesEveryTermOfAConfiguration) {
  const TempFolder folder;
  const std::string config = Config(
      folder, R"({scorer: size, kind: jpeg_compressibility, weight: 0.5, options: {scale: 5}}, )"
              R"({scorer: taste, endpoint: "127.0.0.1:7000", is_required: false})");
  const auto plan = PlanRewards({.what = config, .overrides = {"rewards.terms.0.weight=2"}});
  ASSERT_TRUE(plan.ok()) << plan.status();
  ASSERT_EQ(plan->scorers.size(), 1u);
  EXPECT_EQ(plan->scorers[0].name(), "size");
  EXPECT_EQ(plan->scorers[0].kind(), "jpeg_compressibility");
  ASSERT_EQ(plan->spec.terms_size(), 2);
  EXPECT_EQ(plan->spec.terms(0).weight(), 2);
  EXPECT_EQ(plan->spec.terms(1).endpoint(), "127.0.0.1:7000");
  EXPECT_FALSE(plan->spec.terms(1).is_required());
  EXPECT_EQ(plan->network_config, config);  // as the other server's is
  const auto elsewhere = PlanRewards({.what = config, .server = "127.0.0.1:8000"});
  ASSERT_TRUE(elsewhere.ok()) << elsewhere.status();
  EXPECT_TRUE(elsewhere->scorers.empty());
  EXPECT_EQ(elsewhere->spec.terms(0).endpoint(), "127.0.0.1:8000");
  EXPECT_EQ(elsewhere->spec.terms(1).endpoint(), "127.0.0.1:7000");
}

TEST(PlanRewardsTest, TellsAScorerFromAConfiguration) {
  const TempFolder folder;
  const std::filesystem::path before = std::filesystem::current_path();
  std::filesystem::current_path(folder.path());
  std::filesystem::create_directory("ocr");  // a folder of pictures, say
  EXPECT_TRUE(PlanRewards({.what = "ocr"}).ok());
  EXPECT_TRUE(absl::IsNotFound(PlanRewards({.what = "none.yaml"}).status()));
  std::filesystem::current_path(before);
}

TEST(PlanRewardsTest, SaysWhatDoesNotGoTogether) {
  const auto why = [](const RewardArguments& arguments) {
    return std::string(PlanRewards(arguments).status().message());
  };
  EXPECT_THAT(why({.what = "ocr", .overrides = {"seed=1"}}), HasSubstr("--set changes a configuration"));
  EXPECT_THAT(why({.what = "ocr,layout=line", .server = "127.0.0.1:7000"}), HasSubstr("has its scorers loaded"));
  EXPECT_THAT(why({.what = "ocr,layout"}), HasSubstr("is not option=value"));
}

}  // namespace
}  // namespace flowawr
