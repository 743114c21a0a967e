#include "learner/run_directory.h"

#include <unistd.h>

#include <filesystem>

#include "absl/strings/str_cat.h"
#include "common/base/file.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/testing/temp_folder.h"

namespace flowawr {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::UnorderedElementsAre;

TEST(RunDirectory, IsHeldByOneAndNamesTheHolder) {
  const TempFolder folder;
  const std::string path = folder / "runs/a";
  auto held = RunDirectory::Open(path);
  ASSERT_TRUE(held.ok()) << held.status();
  const absl::Status second = RunDirectory::Open(path).status();
  EXPECT_EQ(second.code(), absl::StatusCode::kAborted);
  EXPECT_THAT(std::string(second.message()),
              AllOf(HasSubstr(path), HasSubstr(absl::StrCat("process ", getpid(), ";"))));
  held->reset();
  EXPECT_TRUE(RunDirectory::Open(path).ok());
}

TEST(RunDirectory, RemovesWhatAKilledProcessHadHalfWritten) {
  const TempFolder folder;
  for (const char* name : {"checkpoints/update-000001.tmp", "images/final", "export/peft", "endpoints"})
    ASSERT_TRUE(MakeDirectories(folder / name).ok());
  for (const char* name : {"checkpoints/update-000001.tmp/current.safetensors", "checkpoints/latest.tmpa1B2c3",
                           "images/final/000.png.tmpa1B2c3", "export/peft/adapter_model.safetensors.tmpa1B2c3",
                           "export/pytorch_lora_weights.safetensors.tmpa1B2c3"})
    folder.Write(name, "half");
  const std::string others = folder.Write("endpoints/actor-0.tmpa1B2c3", "another process is writing this");
  const std::string whole = folder.Write("export/peft/adapter_config.json", "{}");
  ASSERT_TRUE(RunDirectory::Open(folder.path()).ok());
  std::vector<std::string> left;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(folder.path()))
    if (entry.is_regular_file()) left.push_back(entry.path().string());
  EXPECT_THAT(left, UnorderedElementsAre(others, whole, folder / "lock"));
  EXPECT_FALSE(std::filesystem::exists(folder / "checkpoints/update-000001.tmp"));
}

class MetricsTest : public ::testing::Test {
 protected:
  std::string Metrics() const { return ReadFile(folder_ / "metrics.jsonl").value(); }

  const TempFolder folder_;
  const std::unique_ptr<RunDirectory> directory_ = RunDirectory::Open(folder_.path()).value();
};

TEST_F(MetricsTest, DropsWhatComesAfterTheUpdateAndAHalfWrittenLastLine) {
  const std::string kept = "{\"kind\":\"evaluation\",\"update\":0}\n{\"update\":1}\n{\"update\":2}\n";
  folder_.Write("metrics.jsonl", kept + "{\"update\":3}\n{\"update\":10}\n{\"update\":2,\"rew");
  ASSERT_TRUE(directory_->TruncateMetrics(2).ok());
  EXPECT_EQ(Metrics(), kept);
  ASSERT_TRUE(directory_->AppendMetrics("{\"update\":3}").ok());
  EXPECT_EQ(Metrics(), kept + "{\"update\":3}\n");
}

TEST_F(MetricsTest, EndsALastLineThatLacksOnlyItsEnd) {
  folder_.Write("metrics.jsonl", "{\"update\":1}\n{\"update\":2}");
  ASSERT_TRUE(directory_->TruncateMetrics(2).ok());
  EXPECT_EQ(Metrics(), "{\"update\":1}\n{\"update\":2}\n");
}

TEST_F(MetricsTest, AreEmptyForARunThatStartsAnew) {
  const std::string evaluation = "{\"kind\":\"evaluation\",\"update\":0}";
  ASSERT_TRUE(directory_->AppendMetrics(evaluation).ok());
  ASSERT_TRUE(directory_->TruncateMetrics(std::nullopt).ok());
  ASSERT_TRUE(directory_->AppendMetrics(evaluation).ok());
  EXPECT_EQ(Metrics(), evaluation + "\n");
}

TEST_F(MetricsTest, NeedNotExist) {
  EXPECT_TRUE(directory_->TruncateMetrics(std::nullopt).ok());
  EXPECT_TRUE(directory_->TruncateMetrics(5).ok());
  EXPECT_FALSE(std::filesystem::exists(folder_ / "metrics.jsonl"));
}

}  // namespace
}  // namespace flowawr
