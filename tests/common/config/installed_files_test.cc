#include "common/config/installed_files.h"

#include <string>

#include "gtest/gtest.h"
#include "tests/testing/temp_folder.h"

namespace flowawr {
namespace {

TEST(OrInstalled, TakesWhatIsHereFirst) {
  const TempFolder installed;
  installed.Write("models/ours/a", "");
  installed.Write("README.md", "");
  EXPECT_EQ(OrInstalled("models/ours", installed.path()), installed / "models/ours");
  EXPECT_EQ(OrInstalled("README.md", installed.path()), "README.md") << "tests run in the repository's root";
  EXPECT_EQ(OrInstalled("models/none", installed.path()), "models/none");
  EXPECT_EQ(OrInstalled("/models/ours", installed.path()), "/models/ours");
  EXPECT_EQ(OrInstalled("", installed.path()), "");
}

TEST(UseInstalledFiles, FindsWhatARunReadsAndLeavesWhatItWrites) {
  const TempFolder installed;
  for (const char* file : {"m/x", "train.txt", "clip/x", "runs/x"}) installed.Write(file, "");
  v1::RunConfig config;
  config.set_run_dir("runs");
  config.mutable_model()->set_path("m");
  config.mutable_prompts()->set_train("train.txt");
  v1::RewardTerm& term = *config.mutable_rewards()->add_terms();
  term.set_scorer("pickscore");
  (*term.mutable_options())["model"] = "clip";
  UseInstalledFiles(installed.path(), &config);
  EXPECT_EQ(config.model().path(), installed / "m");
  EXPECT_EQ(config.prompts().train(), installed / "train.txt");
  EXPECT_EQ(config.rewards().terms(0).options().at("model"), installed / "clip");
  EXPECT_EQ(config.run_dir(), "runs");
}

}  // namespace
}  // namespace flowawr
