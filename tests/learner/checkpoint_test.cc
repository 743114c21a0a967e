#include "learner/checkpoint.h"

#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <torch/types.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <map>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "common/base/file.h"
#include "common/base/sha256_sums.h"
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
using ::testing::UnorderedElementsAre;

class CheckpointTest : public ::testing::Test {
 protected:
  // Roles of which no two hold the same values, other ones for every seed.
  PolicyRoles Roles(uint64_t seed) const {
    const auto noise = [&](uint32_t role) { return InitialNoise(seed, 0, role, {layout_->size()}); };
    return {LoraAdapter(layout_, noise(0)), LoraAdapter(layout_, noise(1)), LoraAdapter(layout_, noise(2)),
            AdamWState{noise(3), noise(4).abs(), 10 + seed}, 20 + seed};
  }

  absl::StatusOr<std::string> Save(uint64_t update, int keep = 9, const CheckpointExtras& extras = {},
                                   int keep_best = 0) const {
    v1::CheckpointManifest manifest;
    manifest.set_update(update);
    manifest.set_run_id("some-run");
    manifest.set_next_group(uint64_t{1} << 60);
    manifest.add_consumed_groups(77);
    manifest.set_elapsed_s(0.1);
    return SaveCheckpoint(run_.path(), manifest, Roles(update), {keep, keep_best}, extras);
  }

  // What is found must be the checkpoint of `update`, with every bit of it.
  void ExpectFound(uint64_t update) const {
    const auto found = FindCheckpoint(run_.path());
    ASSERT_TRUE(found.ok()) << found.status();
    ASSERT_TRUE(found->has_value());
    EXPECT_EQ((*found)->manifest.update(), update);
    const auto loaded = LoadCheckpoint(**found, layout_);
    ASSERT_TRUE(loaded.ok()) << loaded.status();
    const PolicyRoles saved = Roles(update);
    EXPECT_TRUE(loaded->current.flat().equal(saved.current.flat()));
    EXPECT_TRUE(loaded->behaviour.flat().equal(saved.behaviour.flat()));
    EXPECT_TRUE(loaded->average.flat().equal(saved.average.flat()));
    EXPECT_TRUE(loaded->optimizer.first_moment.equal(saved.optimizer.first_moment));
    EXPECT_TRUE(loaded->optimizer.second_moment.equal(saved.optimizer.second_moment));
    EXPECT_EQ(loaded->optimizer.steps, saved.optimizer.steps);
    EXPECT_EQ(loaded->average_steps, saved.average_steps);
  }

  // Why nothing is found; of the kind that every broken checkpoint must give.
  std::string Refusal() const {
    const absl::Status status = FindCheckpoint(run_.path()).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss) << status;
    return std::string(status.message());
  }

  std::string Checkpoint(absl::string_view name) const { return run_ / absl::StrCat("checkpoints/", name); }

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

constexpr const char* kFiles[] = {"average.safetensors", "behaviour.safetensors", "checkpoint.json",
                                  "current.safetensors", "optimizer.safetensors", "SHA256SUMS"};

void FlipByte(const std::string& path, size_t position) {
  std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
  file.seekg(position);
  const char byte = static_cast<char>(file.get() ^ 1);
  file.seekp(position);
  file.put(byte);
  ASSERT_TRUE(file.good()) << path;
}

TEST_F(CheckpointTest, GivesBackEveryBit) {
  const std::string folder = Save(3).value();
  ExpectFound(3);
  const FoundCheckpoint found = *FindCheckpoint(run_.path()).value();
  EXPECT_EQ(found.folder, folder);
  EXPECT_EQ(found.manifest.run_id(), "some-run");
  EXPECT_EQ(found.manifest.next_group(), uint64_t{1} << 60);
  EXPECT_THAT(found.manifest.consumed_groups(), ElementsAre(77));
  EXPECT_EQ(found.manifest.elapsed_s(), 0.1);
  EXPECT_EQ(ReadFile(run_ / "checkpoints/latest").value(), "update-000003\n");
}

TEST_F(CheckpointTest, FindsNoneInANewDirectory) {
  EXPECT_FALSE(FindCheckpoint(run_.path()).value().has_value());
  ASSERT_TRUE(TidyCheckpoints(run_.path()).ok());
}

TEST_F(CheckpointTest, RefusesAFlippedByteAnywhereAndNamesTheFile) {
  for (const std::string file : kFiles) {
    const std::string path = absl::StrCat(Save(2).value(), "/", file);
    const size_t size = fs::file_size(path), step = std::max<size_t>(size / 100, 1);
    for (size_t position = 0; position < size; position += step) {
      FlipByte(path, position);
      ASSERT_THAT(Refusal(), HasSubstr(path)) << "byte " << position;
      FlipByte(path, position);
    }
    ExpectFound(2);
  }
}

TEST_F(CheckpointTest, RefusesEveryKindOfTruncationAndNamesTheFile) {
  for (const std::string file : kFiles) {
    const std::string path = absl::StrCat(Save(2).value(), "/", file), bytes = ReadFile(path).value();
    for (const size_t size : {bytes.size() - 1, bytes.size() / 2, size_t{0}}) {
      ASSERT_TRUE(WriteFileAtomically(path, bytes.substr(0, size)).ok());
      ASSERT_THAT(Refusal(), HasSubstr(path)) << size << " bytes";
    }
    fs::remove(path);
    ASSERT_THAT(Refusal(), HasSubstr(path));
  }
}

// Going on from an older one is for the user to decide.
TEST_F(CheckpointTest, NamesTheNewestWholeOneAndFindsItWhenTheBrokenOnesAreMovedAway) {
  ASSERT_TRUE(Save(1).ok());
  ASSERT_TRUE(Save(2).ok());
  for (const uint64_t update : {3, 4}) FlipByte(Save(update).value() + "/current.safetensors", 100);
  EXPECT_THAT(Refusal(), AllOf(HasSubstr(Checkpoint("update-000004/current.safetensors")),
                               HasSubstr(Checkpoint("update-000002") + " is whole: to go on from update 2, move " +
                                         Checkpoint("update-000004") + " and " + Checkpoint("update-000003") +
                                         " away and resume again")));
  fs::rename(Checkpoint("update-000004"), Checkpoint("update-000004-broken"));
  fs::remove_all(Checkpoint("update-000003"));
  ExpectFound(2);
}

TEST_F(CheckpointTest, SaysSoWhenAllAreBroken) {
  for (const uint64_t update : {1, 2}) FlipByte(Save(update).value() + "/average.safetensors", 100);
  EXPECT_THAT(Refusal(), AllOf(HasSubstr("update-000002/average.safetensors"), HasSubstr("No other")));
}

TEST_F(CheckpointTest, NamesTheFormatOfAnotherVersion) {
  const std::string folder = Save(1).value();
  const std::string json = absl::StrReplaceAll(ReadFile(folder + "/checkpoint.json").value(),
                                               {{"\"format\": 2", "\"format\": 7, \"x\": 1"}});
  ASSERT_TRUE(WriteFileAtomically(folder + "/checkpoint.json", json).ok());
  std::map<std::string, std::string> files;
  for (const std::string file : kFiles)
    if (file != kSha256SumsFile) files[file] = ReadFile(folder + "/" + file).value();
  ASSERT_TRUE(WriteFileAtomically(folder + "/SHA256SUMS", FormatSha256Sums(files)).ok());
  EXPECT_THAT(Refusal(), HasSubstr("format 7; this program reads format 2"));
}

TEST_F(CheckpointTest, RemovesWhatAKilledSaveWasWriting) {
  ASSERT_TRUE(Save(1).ok());
  fs::rename(Save(2).value(), Checkpoint("update-000002.tmp"));
  ExpectFound(1);
  ASSERT_TRUE(TidyCheckpoints(run_.path()).ok());
  EXPECT_THAT(Names(), UnorderedElementsAre("update-000001", "latest"));
  ExpectFound(1);
}

TEST_F(CheckpointTest, RefusesOneThatWasRenamedToAnotherUpdate) {
  fs::rename(Save(2).value(), Checkpoint("update-000007"));
  EXPECT_THAT(Refusal(), HasSubstr("update-000007 was renamed: it is the checkpoint of update 2"));
}

TEST_F(CheckpointTest, RefusesAPipeInPlaceOfAFileWithoutWaitingForIt) {
  const std::string file = Save(2).value() + "/average.safetensors";
  ASSERT_TRUE(fs::remove(file));
  ASSERT_EQ(mkfifo(file.c_str(), 0600), 0);
  EXPECT_THAT(Refusal(), HasSubstr("average.safetensors is no ordinary file"));
}

// Between the two renames of a save that replaces the checkpoint of the same update.
TEST_F(CheckpointTest, PutsBackTheOneThatAKilledSaveMovedAside) {
  const std::string folder = Save(1).value();
  fs::copy(folder, folder + ".tmp", fs::copy_options::recursive);
  fs::rename(folder, folder + ".old");
  ASSERT_TRUE(TidyCheckpoints(run_.path()).ok());
  EXPECT_THAT(Names(), UnorderedElementsAre("update-000001", "latest"));
  ExpectFound(1);
}

// After the second rename, while the one moved aside was being removed.
TEST_F(CheckpointTest, RemovesTheOneThatWasMovedAsideWhenAnotherIsInItsPlace) {
  const std::string folder = Save(1).value();
  fs::copy(folder, folder + ".old", fs::copy_options::recursive);
  fs::remove(folder + ".old/current.safetensors");
  ASSERT_TRUE(TidyCheckpoints(run_.path()).ok());
  EXPECT_THAT(Names(), UnorderedElementsAre("update-000001", "latest"));
  ExpectFound(1);
}

TEST_F(CheckpointTest, LeavesWhatIsNotACheckpointOfItsOwnAlone) {
  for (const std::string name : {"update-000003.broken.old", "notes.tmp", "update-.tmp"})
    ASSERT_TRUE(MakeDirectories(Checkpoint(name)).ok());
  ASSERT_TRUE(TidyCheckpoints(run_.path()).ok());
  EXPECT_THAT(Names(), UnorderedElementsAre("update-000003.broken.old", "notes.tmp", "update-.tmp"));
}

TEST_F(CheckpointTest, KeepsTheNewest) {
  for (const uint64_t update : {9, 10, 11, 12}) ASSERT_TRUE(Save(update, 2).ok());
  EXPECT_THAT(Names(), UnorderedElementsAre("update-000011", "update-000012", "latest"));
  for (const uint64_t update : {999'999, 1'000'000}) ASSERT_TRUE(Save(update, 2).ok());
  ExpectFound(1'000'000);
  EXPECT_THAT(Names(), UnorderedElementsAre("update-999999", "update-1000000", "latest"));
}

TEST_F(CheckpointTest, KeepsTheBestBesideTheNewest) {
  const CheckpointExtras extras{.heldout = {{9, .7}, {10, .9}, {11, .8}}};
  for (const uint64_t update : {9, 10, 11, 12, 13}) ASSERT_TRUE(Save(update, 1, extras, 2).ok());
  EXPECT_THAT(Names(), UnorderedElementsAre("update-000010", "update-000011", "update-000013", "latest"));
  ExpectFound(13);
}

TEST_F(CheckpointTest, RemembersNotesAndChecksThemLikeTheRest) {
  const std::string folder = Save(4, 9, {.notes = {{"shadows.json", "{}"}}}).value();
  const FoundCheckpoint found = *FindCheckpoint(run_.path()).value();
  EXPECT_EQ(ReadNote(found, "shadows.json"), "{}");
  EXPECT_EQ(ReadNote(found, "others.json"), "");
  FlipByte(folder + "/shadows.json", 0);
  EXPECT_THAT(Refusal(), HasSubstr("shadows.json was changed"));
}

// In a process of its own, whose files may hold 256 bytes: the system's answer beyond is the same kind as a full
// disk's.
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
    ExpectFound(1);
    EXPECT_THAT(Names(), UnorderedElementsAre("update-000001", "latest"));
  }
}

}  // namespace
}  // namespace flowawr
