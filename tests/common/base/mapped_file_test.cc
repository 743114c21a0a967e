#include "common/base/mapped_file.h"

#include <gmock/gmock.h>
#include <sys/mman.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>
#include <fstream>
#include <thread>
#include <vector>

#include "common/base/file.h"
#include "tests/testing/temp_folder.h"

namespace flowawr {
namespace {

constexpr size_t kSize = size_t{1} << 20;

class MappedFileTest : public testing::Test {
 protected:
  MappedFileTest() : path_(folder_.Write("weights.safetensors", std::string(kSize, 'x'))) {}

  const TempFolder folder_;
  const std::string path_;
};
// Death tests run in processes of their own: what they do is what a server would see.
using MappedFileDeathTest = MappedFileTest;

char ReadAt(const char* data, size_t at) { return *static_cast<const volatile char*>(data + at); }

TEST_F(MappedFileTest, HasTheBytesOfTheFile) {
  const auto file = MappedFile::Open(path_);
  ASSERT_TRUE(file.ok()) << file.status();
  EXPECT_EQ(absl::string_view((*file)->data(), (*file)->size()), std::string(kSize, 'x'));
  (*file)->data()[0] = 'y';
  EXPECT_EQ(ReadFile(path_)->at(0), 'x');
  EXPECT_EQ(MappedFile::Open(folder_ / "none").status().code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(MappedFile::Open(folder_.path()).status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ((*MappedFile::Open(folder_.Write("empty", "")))->size(), 0);
}

TEST_F(MappedFileTest, StaysWholeWhenTheFileIsReplacedOrRemoved) {
  const auto file = MappedFile::Open(path_);
  ASSERT_TRUE(WriteFileAtomically(path_, "short").ok());
  EXPECT_EQ(ReadAt((*file)->data(), kSize - 1), 'x');
  std::filesystem::remove(path_);
  EXPECT_EQ(ReadAt((*file)->data(), kSize / 2), 'x');
}

TEST_F(MappedFileDeathTest, NamesTheFileThatWasCutShortAndEndsAsDamagedFilesDo) {
  const auto cut_and_read = [this] {
    const auto other = MappedFile::Open(folder_.Write("other", std::string(kSize, 'o')));
    auto gone = MappedFile::Open(folder_.Write("gone", std::string(kSize, 'g')));
    gone->reset();
    const auto file = MappedFile::Open(path_);
    std::filesystem::resize_file(path_, 10);
    ReadAt((*other)->data(), kSize - 1);
    std::thread([&] { ReadAt((*file)->data(), kSize - 1); }).join();
  };
  EXPECT_EXIT(cut_and_read(), testing::ExitedWithCode(65),
              "weights.safetensors: can no longer be read: it was cut short");
}

TEST_F(MappedFileDeathTest, LeavesEveryOtherBusErrorAsItWas) {
  const auto read_foreign_mapping = [this] {
    const auto ours = MappedFile::Open(path_);
    const std::string foreign = folder_.Write("foreign", std::string(kSize, 'f'));
    FILE* stream = std::fopen(foreign.c_str(), "r");
    void* mapping = mmap(nullptr, kSize, PROT_READ, MAP_PRIVATE, fileno(stream), 0);
    std::filesystem::resize_file(foreign, 0);
    ReadAt(static_cast<const char*>(mapping), 0);
  };
  EXPECT_EXIT(read_foreign_mapping(), testing::KilledBySignal(SIGBUS), "");
  const auto be_sent_one = [this] {
    const auto ours = MappedFile::Open(path_);
    kill(getpid(), SIGBUS);
  };
  EXPECT_EXIT(be_sent_one(), testing::KilledBySignal(SIGBUS), "");
}

TEST_F(MappedFileDeathTest, StaysTrueWhileOthersMapAndUnmap) {
  const auto churn_and_cut = [this] {
    const auto file = MappedFile::Open(folder_.Write("weights.safetensors", std::string(kSize, 'x')));
    const std::string small = folder_.Write("small", "s");
    std::vector<std::thread> others;
    for (int i = 0; i < 4; ++i)
      others.emplace_back([&] {
        for (;;) std::vector<std::unique_ptr<const MappedFile>>(3).emplace_back(*MappedFile::Open(small));
      });
    std::filesystem::resize_file(path_, 0);
    ReadAt((*file)->data(), kSize / 2);
  };
  for (int i = 0; i < 20; ++i)
    EXPECT_EXIT(churn_and_cut(), testing::ExitedWithCode(65), "weights.safetensors: can no longer be read");
}

}  // namespace
}  // namespace flowawr
