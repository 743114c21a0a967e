#include "learner/checkpoint_copies.h"

#include <sys/stat.h>

#include <algorithm>
#include <filesystem>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "common/base/file.h"
#include "common/base/steady_cond_var.h"
#include "common/diffusion/noise.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "learner/checkpoint.h"
#include "tests/testing/temp_folder.h"

namespace flowawr {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;
using ::testing::UnorderedElementsAre;

class CheckpointCopiesTest : public ::testing::Test {
 protected:
  CheckpointCopiesTest() { BeRun("a-run"); }

  void BeRun(const std::string& id) { ASSERT_TRUE(WriteFileAtomically(Run() + "/run_id", id + "\n").ok()); }
  std::string Run() const { return run_.path(); }
  std::string Copies() const { return elsewhere_ / "copies"; }

  std::string Save(uint64_t update, int keep = 9) const {
    v1::CheckpointManifest manifest;
    manifest.set_update(update);
    const LoraAdapter adapter(layout_, InitialNoise(update, 0, 0, {layout_->size()}));
    return SaveCheckpoint(Run(), manifest, {adapter, adapter, adapter, AdamWState::Zero(layout_->size()), 1},
                          {.keep = keep})
        .value();
  }
  absl::Status Copy() const {
    return CopyCheckpoints(Run(), Copies(), [] { return true; });
  }
  std::vector<std::string> Names(const std::string& folder) const {
    std::vector<std::string> names;
    for (const auto& entry : fs::directory_iterator(folder)) names.push_back(entry.path().filename().string());
    return names;
  }

  const TempFolder run_, elsewhere_;
  const std::shared_ptr<const LoraLayout> layout_ = std::make_shared<const LoraLayout>(
      LoraLayout{.rank = 2, .alpha = 4, .modules = {{"blocks.0.to_q", 30, 20}}});
};

TEST_F(CheckpointCopiesTest, HoldWhatTheRunHoldsToTheByte) {
  for (const uint64_t update : {1, 2}) Save(update);
  ASSERT_TRUE(WriteFileAtomically(Run() + "/config.yaml", "name: x\n").ok());
  ASSERT_TRUE(WriteFileAtomically(Run() + "/metrics.jsonl", "{}\n").ok());
  const absl::Status copied = Copy();
  ASSERT_TRUE(copied.ok()) << copied;
  EXPECT_THAT(Names(Copies()), UnorderedElementsAre("checkpoints", "config.yaml", "metrics.jsonl", "run_id"));
  for (const auto& entry : fs::recursive_directory_iterator(Run() + "/checkpoints")) {
    if (!entry.is_regular_file() || entry.path().filename() == "latest") continue;
    const std::string name = fs::relative(entry.path(), Run()).string();
    EXPECT_EQ(ReadFile(absl::StrCat(Copies(), "/", name)).value(), ReadFile(entry.path().string()).value()) << name;
  }
  EXPECT_EQ(FindCheckpoint(Copies()).value()->manifest.update(), 2u);
}

TEST_F(CheckpointCopiesTest, LoseWhatTheRunRemovedAndWhatAKilledCopyLeft) {
  Save(1);
  ASSERT_TRUE(Copy().ok());
  fs::create_directories(Copies() + "/checkpoints/update-000002.tmp");
  fs::create_directories(Copies() + "/checkpoints/notes of mine");
  Save(2, /*keep=*/1);
  ASSERT_TRUE(Copy().ok());
  EXPECT_THAT(Names(Copies() + "/checkpoints"), UnorderedElementsAre("update-000002", "notes of mine"));
}

// The run's newest is broken and was moved away, or all are lost and it begins anew: the copy may be the last whole
// one.
TEST_F(CheckpointCopiesTest, KeepWhatIsNewerThanAllThatTheRunHas) {
  for (const uint64_t update : {1, 2}) Save(update);
  ASSERT_TRUE(Copy().ok());
  fs::remove_all(Run() + "/checkpoints/update-000002");
  ASSERT_TRUE(Copy().ok());
  EXPECT_EQ(FindCheckpoint(Copies()).value()->manifest.update(), 2u);
}

// Between the two renames of a copy that replaces one of the same update.
TEST_F(CheckpointCopiesTest, PutBackTheOneThatAKilledCopyMovedAside) {
  Save(1);
  ASSERT_TRUE(Copy().ok());
  const std::string copy = Copies() + "/checkpoints/update-000001";
  fs::copy(copy, copy + ".tmp", fs::copy_options::recursive);
  fs::rename(copy, copy + ".old");
  fs::remove_all(Run() + "/checkpoints");
  ASSERT_TRUE(Copy().ok());
  EXPECT_THAT(Names(Copies() + "/checkpoints"), UnorderedElementsAre("update-000001"));
}

TEST_F(CheckpointCopiesTest, FollowAHistoryThatGrowsAndOneThatWentBack) {
  Save(1);
  const std::string history = Run() + "/metrics.jsonl";
  for (const char* text : {"1\n", "1\n2\n3\n", "1\n2\n3\n", "1\n", "1\n4\n5\n6\n"}) {
    ASSERT_TRUE(WriteFileAtomically(history, text).ok());
    ASSERT_TRUE(Copy().ok());
    EXPECT_EQ(ReadFile(Copies() + "/metrics.jsonl").value(), text);
  }
}

TEST_F(CheckpointCopiesTest, LoseNothingWhenTheRunHasNoCheckpointAnyMore) {
  const std::string folder = Save(1);
  ASSERT_TRUE(Copy().ok());
  fs::remove_all(folder);
  ASSERT_TRUE(Copy().ok());
  EXPECT_EQ(FindCheckpoint(Copies()).value()->manifest.update(), 1u);
}

TEST_F(CheckpointCopiesTest, NeverReplaceAWholeCopyByABrokenCheckpoint) {
  const std::string folder = Save(1);
  ASSERT_TRUE(Copy().ok());
  Save(2);
  std::string bytes = ReadFile(Run() + "/checkpoints/update-000002/current.safetensors").value();
  bytes[100] ^= 1;
  ASSERT_TRUE(WriteFileAtomically(Run() + "/checkpoints/update-000002/current.safetensors", bytes).ok());
  EXPECT_THAT(std::string(Copy().message()), HasSubstr("current.safetensors was changed"));
  EXPECT_THAT(Names(Copies() + "/checkpoints"), UnorderedElementsAre("update-000001"));
}

// A full disk, or whatever else keeps the newest away: what the run has removed makes room, but for the last whole
// copy.
TEST_F(CheckpointCopiesTest, MakeRoomBeforeTheyAreMadeAndLeaveTheLastWholeOne) {
  for (const uint64_t update : {1, 2, 3}) Save(update);
  ASSERT_TRUE(Copy().ok());
  const std::string newest = Save(4, /*keep=*/1);
  std::string bytes = ReadFile(newest + "/current.safetensors").value();
  bytes[100] ^= 1;
  ASSERT_TRUE(WriteFileAtomically(newest + "/current.safetensors", bytes).ok());
  EXPECT_FALSE(Copy().ok());
  EXPECT_THAT(Names(Copies() + "/checkpoints"), UnorderedElementsAre("update-000003"));
  bytes[100] ^= 1;
  ASSERT_TRUE(WriteFileAtomically(newest + "/current.safetensors", bytes).ok());
  EXPECT_TRUE(Copy().ok());
  EXPECT_THAT(Names(Copies() + "/checkpoints"), UnorderedElementsAre("update-000004"));
}

TEST_F(CheckpointCopiesTest, AreOfOneRun) {
  Save(1);
  ASSERT_TRUE(Copy().ok());
  BeRun("another-run");
  EXPECT_THAT(std::string(Copy().message()), HasSubstr("holds checkpoints of another run"));
}

// What the thread told, as a test waits for it.
class Told {
 public:
  void Tell(const std::string& warning) {
    absl::MutexLock lock(&mutex_);
    warnings_.push_back(warning);
    changed_.SignalAll();
  }
  std::string Next() {
    absl::MutexLock lock(&mutex_);
    while (warnings_.empty()) changed_.Wait(&mutex_);
    const std::string warning = warnings_.front();
    warnings_.erase(warnings_.begin());
    return warning;
  }

 private:
  absl::Mutex mutex_;
  SteadyCondVar changed_;
  std::vector<std::string> warnings_;
};

TEST_F(CheckpointCopiesTest, AreMadeBesideTheRunAndFinishedAtItsEnd) {
  Save(1);
  {
    CheckpointCopies copies(Run(), Copies(), [](const std::string& warning) { ADD_FAILURE() << warning; });
    copies.Copy();
  }
  EXPECT_EQ(FindCheckpoint(Copies()).value()->manifest.update(), 1u);
}

TEST_F(CheckpointCopiesTest, WarnWhileTheyFailAndNoLongerOnceTheyAreMade) {
  Save(1);
  elsewhere_.Write("copies", "a file is in the way");
  Told told;
  CheckpointCopies copies(Run(), Copies(), [&told](const std::string& warning) { told.Tell(warning); });
  copies.Copy();
  EXPECT_THAT(told.Next(), HasSubstr("are not copied to " + Copies()));
  fs::remove(Copies());
  copies.Copy();
  EXPECT_EQ(told.Next(), "");
  EXPECT_EQ(FindCheckpoint(Copies()).value()->manifest.update(), 1u);
}

}  // namespace
}  // namespace flowawr
