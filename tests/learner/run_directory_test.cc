#include "learner/run_directory.h"

#include <signal.h>
#include <sys/resource.h>
#include <unistd.h>

#include <filesystem>
#include <nlohmann/json.hpp>

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

// A run that goes back to an update has no pictures of later ones; a run that begins anew has none.
TEST(RunDirectory, DropsPicturesOfWhatARunWentBackBehind) {
  const TempFolder folder;
  const auto directory = RunDirectory::Open(folder.path()).value();
  for (const char* name : {"images/update-000010", "images/update-000020", "images/latest"})
    ASSERT_TRUE(MakeDirectories(folder / name).ok());
  directory->DropPictureHistory(10);
  EXPECT_TRUE(std::filesystem::exists(folder / "images/update-000010"));
  EXPECT_FALSE(std::filesystem::exists(folder / "images/update-000020"));
  directory->DropPictureHistory(std::nullopt);
  EXPECT_FALSE(std::filesystem::exists(folder / "images/update-000010"));
  EXPECT_TRUE(std::filesystem::exists(folder / "images/latest"));
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

TEST_F(MetricsTest, AFullDiskLeavesNoHalfLineAndIsCalledByItsName) {
  std::filesystem::create_symlink("/dev/full", folder_ / "metrics.jsonl");
  const absl::Status full = directory_->AppendMetrics("{}");
  EXPECT_EQ(full.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(std::string(full.message()), AllOf(HasSubstr("metrics.jsonl"), HasSubstr("No space left on device")));
}

// What fits of a line when the file may not grow any further is taken back.
TEST_F(MetricsTest, TakesBackALineOfWhichOnlyAPartCouldBeWritten) {
  ASSERT_TRUE(directory_->AppendMetrics("{\"update\":1}").ok());
  const std::string before = Metrics();
  signal(SIGXFSZ, SIG_IGN);
  rlimit unlimited;
  ASSERT_EQ(getrlimit(RLIMIT_FSIZE, &unlimited), 0);
  rlimit small = unlimited;
  small.rlim_cur = before.size() + 4;
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &small), 0);
  const absl::Status full = directory_->AppendMetrics("{\"update\":2}");
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &unlimited), 0);
  EXPECT_EQ(full.code(), absl::StatusCode::kResourceExhausted) << full;
  EXPECT_EQ(Metrics(), before);
}

class RunExportTest : public MetricsTest {
 protected:
  absl::StatusOr<ExportedLora> Export(const std::string& name, const std::string& readme = "") {
    return directory_->Export(LoraAdapter::Initialise(layout_, 1), "models/tiny-sd3", name, {.readme = readme});
  }
  const std::shared_ptr<const LoraLayout> layout_ =
      std::make_shared<LoraLayout>(LoraLayout{2, 4, {{"transformer_blocks.0.attn.to_q", 3, 5}}});
};

TEST_F(RunExportTest, StaysInTheRunsExportFolder) {
  EXPECT_EQ(Export("")->peft_folder, folder_ / "export/peft");
  EXPECT_EQ(Export("half-way.1")->peft_folder, folder_ / "export/half-way.1/peft");
  for (const std::string& name : {std::string("/tmp/x"), std::string("../checkpoints"), std::string(".."),
                                  std::string("a/b"), std::string("peft"), std::string("SHA256SUMS"),
                                  std::string("pytorch_lora_weights.safetensors"), std::string(65, 'x')})
    EXPECT_EQ(Export(name).status().code(), absl::StatusCode::kInvalidArgument) << name;
}

TEST_F(RunExportTest, ReplacesItsOwnFilesAndNoOthers) {
  ASSERT_TRUE(Export("").ok());
  EXPECT_TRUE(Export("").ok());
  ASSERT_TRUE(MakeDirectories(folder_ / "export/other").ok());
  const std::string mine = folder_.Write("export/other/pytorch_lora_weights.safetensors", "another's adapter");
  const absl::Status refused = Export("other").status();
  EXPECT_EQ(refused.code(), absl::StatusCode::kAlreadyExists);
  EXPECT_THAT(std::string(refused.message()), HasSubstr(mine));
  EXPECT_EQ(ReadFile(mine).value(), "another's adapter");
  EXPECT_FALSE(std::filesystem::exists(folder_ / "export/other/peft"));
}

// Which kept no list of what they wrote: a finished run of theirs must be able to go on and end here.
TEST_F(RunExportTest, ReplacesAnExportOfAnOlderRelease) {
  const std::string card =  // as theirs say it
      "# x\n\nA LoRA adapter for the transformer of `x`, trained by reinforcement learning with FlowAWR (arXiv "
      "2606.30376, "
      "flowawr 0.1.0).\n";
  ASSERT_TRUE(Export("", card).ok());
  std::filesystem::remove(folder_ / "export/SHA256SUMS");
  const auto replaced = Export("", card + "\nnew");
  EXPECT_TRUE(replaced.ok()) << replaced.status();
  EXPECT_EQ(ReadFile(folder_ / "export/peft/README.md").value(), card + "\nnew");
  ASSERT_TRUE(Export("listed").ok());  // by a list without a card
  folder_.Write("export/listed/peft/README.md", card);
  EXPECT_TRUE(Export("listed", card).ok());
}

TEST_F(RunExportTest, ReplacesNothingThatOnlyLooksLikeAnExport) {
  ASSERT_TRUE(Export("theirs").ok());
  std::filesystem::remove(folder_ / "export/theirs/SHA256SUMS");
  nlohmann::json config = nlohmann::json::parse(ReadFile(folder_ / "export/theirs/peft/adapter_config.json").value());
  config["use_rslora"] = false;  // as peft writes it
  folder_.Write("export/theirs/peft/adapter_config.json", config.dump(2) + "\n");
  EXPECT_EQ(Export("theirs").status().code(), absl::StatusCode::kAlreadyExists);

  ASSERT_TRUE(Export("noted").ok());
  const std::string mine = folder_.Write("export/noted/peft/README.md", "What I found out with FlowAWR");
  const absl::Status refused = Export("noted", "---\n").status();
  EXPECT_EQ(refused.code(), absl::StatusCode::kAlreadyExists);
  EXPECT_THAT(std::string(refused.message()), HasSubstr(mine));
}

}  // namespace
}  // namespace flowawr
