#include "learner/checkpoint.h"

#include <sys/resource.h>
#include <sys/wait.h>
#include <torch/types.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>

#include "absl/strings/str_cat.h"
#include "common/base/file.h"
#include "common/diffusion/noise.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/testing/temp_folder.h"

namespace flowawr {
namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::UnorderedElementsAre;

class CheckpointTest : public ::testing::Test {
 protected:
  // Roles of which no two hold the same values, other ones for every seed.
  PolicyRoles Roles(uint64_t seed) const {
    const auto noise = [&](uint32_t role) { return InitialNoise(seed, 0, role, {layout_->size()}); };
    return {LoraAdapter(layout_, noise(0)), LoraAdapter(layout_, noise(1)), LoraAdapter(layout_, noise(2)),
            AdamWState{noise(3), noise(4).abs(), 10 + seed}, 20 + seed};
  }

  absl::StatusOr<std::string> Save(uint64_t update, int keep = 9) const {
    v1::CheckpointManifest manifest;
    manifest.set_update(update);
    manifest.set_run_id("some-run");
    manifest.set_next_group(uint64_t{1} << 60);
    manifest.add_consumed_groups(77);
    manifest.set_elapsed_s(0.1);
    return SaveCheckpoint(run_.path(), manifest, Roles(update), keep);
  }

  // What is found must be the checkpoint of `update`, with every bit of it; returns the warnings.
  std::vector<std::string> ExpectFound(uint64_t update) const {
    std::vector<std::string> warnings;
    const auto found = FindCheckpoint(run_.path(), &warnings);
    EXPECT_TRUE(found.ok()) << found.status();
    if (!found.ok()) return warnings;
    EXPECT_TRUE(found->has_value());
    if (!found->has_value()) return warnings;
    EXPECT_EQ((*found)->manifest.update(), update);
    const auto loaded = LoadCheckpoint(**found, layout_);
    EXPECT_TRUE(loaded.ok()) << loaded.status();
    if (!loaded.ok()) return warnings;
    const PolicyRoles saved = Roles(update);
    EXPECT_TRUE(loaded->current.flat().equal(saved.current.flat()));
    EXPECT_TRUE(loaded->behaviour.flat().equal(saved.behaviour.flat()));
    EXPECT_TRUE(loaded->average.flat().equal(saved.average.flat()));
    EXPECT_TRUE(loaded->optimizer.first_moment.equal(saved.optimizer.first_moment));
    EXPECT_TRUE(loaded->optimizer.second_moment.equal(saved.optimizer.second_moment));
    EXPECT_EQ(loaded->optimizer.steps, saved.optimizer.steps);
    EXPECT_EQ(loaded->average_steps, saved.average_steps);
    return warnings;
  }

  std::vector<std::string> Names() const {
    std::vector<std::string> names;
    for (const auto& entry : fs::directory_iterator(run_ / "checkpoints"))
      names.push_back(entry.path().filename().string());
    return names;
  }

  const TempFolder run_;
  const std::shared_ptr<const LoraLayout> layout_ = std::make_shared<const LoraLayout>(
      LoraLayout{.rank = 2, .alpha = 4, .modules = {{"blocks.0.to_q", 30, 20}, {"blocks.0.to_k", 30, 10}}});
};

void FlipByteInTheMiddle(const std::string& path) {
  std::string bytes = ReadFile(path).value();
  bytes[bytes.size() / 2] ^= 1;
  ASSERT_TRUE(WriteFileAtomically(path, bytes).ok());
}

TEST_F(CheckpointTest, GivesBackEveryBit) {
  const std::string folder = Save(3).value();
  EXPECT_THAT(ExpectFound(3), IsEmpty());
  std::vector<std::string> warnings;
  const FoundCheckpoint found = *FindCheckpoint(run_.path(), &warnings).value();
  EXPECT_EQ(found.folder, folder);
  EXPECT_EQ(found.manifest.run_id(), "some-run");
  EXPECT_EQ(found.manifest.next_group(), uint64_t{1} << 60);
  EXPECT_THAT(found.manifest.consumed_groups(), ElementsAre(77));
  EXPECT_EQ(found.manifest.elapsed_s(), 0.1);
  EXPECT_EQ(found.manifest.sha256_size(), 4);
  EXPECT_EQ(ReadFile(run_ / "checkpoints/latest").value(), "update-000003\n");
}

TEST_F(CheckpointTest, FindsNoneInANewDirectory) {
  std::vector<std::string> warnings;
  EXPECT_FALSE(FindCheckpoint(run_.path(), &warnings).value().has_value());
  EXPECT_THAT(warnings, IsEmpty());
}

TEST_F(CheckpointTest, PassesOverAFlippedByteInAnyFileAndNamesIt) {
  ASSERT_TRUE(Save(1).ok());
  for (const std::string file : {"current", "behaviour", "average", "optimizer"}) {
    const std::string path = absl::StrCat(Save(2).value(), "/", file, ".safetensors");
    FlipByteInTheMiddle(path);
    EXPECT_THAT(ExpectFound(1), ElementsAre(AllOf(HasSubstr(path), HasSubstr("digest"))));
  }
}

TEST_F(CheckpointTest, PassesOverTruncatedAndMissingFilesAndNamesThem) {
  ASSERT_TRUE(Save(1).ok());
  for (const std::string file : {"current.safetensors", "optimizer.safetensors", "checkpoint.json"}) {
    const std::string path = absl::StrCat(Save(2).value(), "/", file);
    fs::resize_file(path, fs::file_size(path) - 3);
    EXPECT_THAT(ExpectFound(1), ElementsAre(HasSubstr(path)));
    fs::remove(path);
    EXPECT_THAT(ExpectFound(1), ElementsAre(HasSubstr(path)));
  }
}

TEST_F(CheckpointTest, IsDataLossWhenAllAreBroken) {
  for (const uint64_t update : {1, 2}) FlipByteInTheMiddle(Save(update).value() + "/average.safetensors");
  std::vector<std::string> warnings;
  const absl::Status status = FindCheckpoint(run_.path(), &warnings).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss);
  EXPECT_THAT(std::string(status.message()), HasSubstr("update-000002/average.safetensors"));
  EXPECT_THAT(warnings, ElementsAre(HasSubstr("update-000002/"), HasSubstr("update-000001/")));
}

TEST_F(CheckpointTest, IgnoresWhatAKilledSaveWasWriting) {
  ASSERT_TRUE(Save(1).ok());
  fs::rename(Save(2).value(), run_ / "checkpoints/update-000002.tmp");
  EXPECT_THAT(ExpectFound(1), IsEmpty());
  ASSERT_TRUE(Save(2).ok());
  EXPECT_THAT(ExpectFound(2), IsEmpty());
  EXPECT_THAT(Names(), UnorderedElementsAre("update-000001", "update-000002", "latest"));
}

// Between the two renames of a save that replaces the checkpoint of the same update.
TEST_F(CheckpointTest, FindsTheOneThatAKilledSaveMovedAside) {
  const std::string folder = Save(1).value();
  fs::copy(folder, folder + ".tmp", fs::copy_options::recursive);
  fs::rename(folder, folder + ".old");
  EXPECT_THAT(ExpectFound(1), IsEmpty());
  ASSERT_TRUE(Save(2, /*keep=*/2).ok());
  fs::remove_all(run_ / "checkpoints/update-000002");
  EXPECT_THAT(ExpectFound(1), IsEmpty());
}

TEST_F(CheckpointTest, PrefersWhatIsInPlaceToWhatWasMovedAside) {
  const std::string folder = Save(1).value();
  fs::copy(folder, folder + ".old", fs::copy_options::recursive);
  fs::remove(folder + ".old/current.safetensors");  // the kill came while it was being removed
  EXPECT_THAT(ExpectFound(1), IsEmpty());
  ASSERT_TRUE(Save(1).ok());
  EXPECT_THAT(Names(), UnorderedElementsAre("update-000001", "latest"));
  fs::copy(folder, folder + ".old", fs::copy_options::recursive);
  FlipByteInTheMiddle(folder + "/current.safetensors");
  EXPECT_THAT(ExpectFound(1), ElementsAre(HasSubstr(folder + "/current.safetensors")));
}

TEST_F(CheckpointTest, KeepsTheNewest) {
  for (const uint64_t update : {9, 10, 11, 12}) ASSERT_TRUE(Save(update, 2).ok());
  EXPECT_THAT(Names(), UnorderedElementsAre("update-000011", "update-000012", "latest"));
  for (const uint64_t update : {999'999, 1'000'000}) ASSERT_TRUE(Save(update, 2).ok());
  EXPECT_THAT(ExpectFound(1'000'000), IsEmpty());
  EXPECT_THAT(Names(), UnorderedElementsAre("update-999999", "update-1000000", "latest"));
}

TEST_F(CheckpointTest, KeepsWhatItJustSavedBesideABrokenNewerOne) {
  ASSERT_TRUE(Save(1).ok());
  FlipByteInTheMiddle(Save(5).value() + "/current.safetensors");
  ASSERT_TRUE(Save(2, /*keep=*/1).ok());
  EXPECT_THAT(ExpectFound(2), ElementsAre(HasSubstr("update-000005/")));
  EXPECT_FALSE(fs::exists(run_ / "checkpoints/update-000001"));
}

// In a process of its own, whose files may hold 256 bytes: the system's answer beyond is the same kind as a full disk's.
TEST_F(CheckpointTest, LeavesTheOlderOnesWhenTheNewOneDoesNotFit) {
  ASSERT_TRUE(Save(1).ok());
  for (const uint64_t update : {1, 2}) {
    const pid_t child = fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
      signal(SIGXFSZ, SIG_IGN);
      const rlimit limit{256, 256};
      setrlimit(RLIMIT_FSIZE, &limit);
      _exit(Save(update, /*keep=*/1).status().code() == absl::StatusCode::kResourceExhausted ? 0 : 1);
    }
    int exit_status = -1;
    ASSERT_EQ(waitpid(child, &exit_status, 0), child);
    EXPECT_EQ(exit_status, 0);
    EXPECT_THAT(ExpectFound(1), IsEmpty());
    EXPECT_THAT(Names(), UnorderedElementsAre("update-000001", "latest"));
  }
}

}  // namespace
}  // namespace flowawr
