#include "common/base/sha256_sums.h"

#include <cstdlib>
#include <filesystem>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/testing/temp_folder.h"

namespace flowawr {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

class Sha256SumsTest : public ::testing::Test {
 protected:
  void SetUp() override {
    for (const auto& [name, bytes] : files_) folder_.Write(name, bytes);
    folder_.Write("SHA256SUMS", list_);
  }

  std::string Refusal(const std::vector<std::string>& required = {}) const {
    const absl::Status status = CheckSha256Sums(folder_.path(), required);
    EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss) << status;
    return std::string(status.message());
  }

  const TempFolder folder_;
  const std::map<std::string, std::string> files_ = {{"a.txt", "abc"}, {"empty", ""}};
  const std::string list_ = FormatSha256Sums(files_);
};

TEST_F(Sha256SumsTest, AcceptsWhatWasWrittenAndFilesThatAreNotListed) {
  folder_.Write("notes", "of someone");
  EXPECT_TRUE(CheckSha256Sums(folder_.path(), {"a.txt", "empty"}).ok());
}

TEST_F(Sha256SumsTest, IsWhatSha256sumChecks) {
  const std::string command =
      absl::StrCat("cd '", folder_.path(), "' && sha256sum --check --strict --quiet SHA256SUMS");
  EXPECT_EQ(std::system(command.c_str()), 0);
}

TEST_F(Sha256SumsTest, NamesTheFileThatWasChangedOrIsMissing) {
  folder_.Write("a.txt", "abd");
  EXPECT_THAT(Refusal(), HasSubstr(folder_ / "a.txt was changed"));
  folder_.Write("a.txt", "ab");
  EXPECT_THAT(Refusal(), HasSubstr(folder_ / "a.txt was changed"));
  std::filesystem::remove(folder_ / "a.txt");
  EXPECT_THAT(Refusal(), HasSubstr(folder_ / "a.txt: No such file"));
}

TEST_F(Sha256SumsTest, RefusesAFlippedBitAnywhereInTheList) {
  for (size_t bit = 0; bit < 8 * list_.size(); ++bit) {
    std::string list = list_;
    list[bit / 8] ^= 1 << bit % 8;
    folder_.Write("SHA256SUMS", list);
    ASSERT_THAT(Refusal({"a.txt", "empty"}), HasSubstr(folder_ / "SHA256SUMS")) << "bit " << bit;
  }
}

TEST_F(Sha256SumsTest, RefusesAListThatIsCutShortAnywhere) {
  for (size_t size = 0; size < list_.size(); ++size) {
    folder_.Write("SHA256SUMS", list_.substr(0, size));
    ASSERT_THAT(Refusal({"a.txt", "empty"}), HasSubstr(folder_ / "SHA256SUMS")) << size << " bytes";
  }
}

TEST_F(Sha256SumsTest, ReadsNothingOutsideTheFolder) {
  folder_.Write("SHA256SUMS", FormatSha256Sums({{"../a.txt", "abc"}}));
  EXPECT_THAT(Refusal(), HasSubstr("not a digest and a file name"));
}

TEST_F(Sha256SumsTest, NeedsTheList) {
  std::filesystem::remove(folder_ / "SHA256SUMS");
  const absl::Status status = CheckSha256Sums(folder_.path(), {});
  EXPECT_EQ(status.code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(std::string(status.message()), HasSubstr(folder_ / "SHA256SUMS"));
}

}  // namespace
}  // namespace flowawr
