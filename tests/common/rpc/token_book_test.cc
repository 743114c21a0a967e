#include "common/rpc/token_book.h"

#include <filesystem>
#include <string>

#include "common/base/file.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/testing/temp_folder.h"

namespace flowawr {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr char kFirst[] = "first-token-of-all", kSecond[] = "second-token-of-all", kActors[] = "token-of-the-actors";

class TokenBookTest : public ::testing::Test {
 protected:
  TokenBookTest() {
    network_.set_token_file(folder_.Write("all", std::string(kFirst) + "\n"));
    network_.set_actor_token_file(folder_.Write("actors", kActors));
    clock_.Advance(absl::Hours(1));
  }
  std::shared_ptr<TokenBook> Open() { return TokenBook::Open(network_, clock_).value(); }

  const TempFolder folder_;
  v1::NetworkConfig network_;
  ManualClock clock_;
};

TEST_F(TokenBookTest, KnowsEveryTokenByItsRole) {
  const auto book = Open();
  EXPECT_EQ(book->RoleOf(kFirst), Role::kAll);
  EXPECT_EQ(book->RoleOf(kActors), Role::kActor);
  EXPECT_EQ(book->RoleOf("token-of-nobody-here"), std::nullopt);
  EXPECT_EQ(book->RoleOf(""), std::nullopt);
  EXPECT_FALSE(book->is_open());
  EXPECT_TRUE(TokenBook::Open({}).value()->is_open());
}

TEST_F(TokenBookTest, RefusesOneTokenForTwoRolesAndDoesNotShowIt) {
  folder_.Write("actors", kFirst);
  const absl::Status status = TokenBook::Open(network_, clock_).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(status.message()), AllOf(HasSubstr("network.token_file and network.actor_token_file"),
                                                   Not(HasSubstr(kFirst))));
}

TEST_F(TokenBookTest, TakesEveryLineOfAFile) {
  folder_.Write("all", std::string(kFirst) + "\n\n" + kSecond + "\n");
  const auto book = Open();
  EXPECT_EQ(book->RoleOf(kFirst), Role::kAll);
  EXPECT_EQ(book->RoleOf(kSecond), Role::kAll);
}

TEST_F(TokenBookTest, KnowsANewTokenAtOnceAndTheOldOneForItsGrace) {
  const auto book = Open();
  EXPECT_EQ(book->RoleOf(kSecond), std::nullopt);
  folder_.Write("all", kSecond);
  EXPECT_EQ(book->RoleOf(kSecond), Role::kAll);
  EXPECT_EQ(book->RoleOf(kFirst), Role::kAll) << "still under way";
  clock_.Advance(TokenBook::kGrace);
  EXPECT_EQ(book->RoleOf(kFirst), std::nullopt);
  EXPECT_EQ(book->RoleOf(kSecond), Role::kAll);
}

TEST_F(TokenBookTest, ATokenThatIsPutBackInItsGraceStays) {
  const auto book = Open();
  folder_.Write("all", kSecond);
  EXPECT_EQ(book->RoleOf(kSecond), Role::kAll);
  folder_.Write("all", std::string(kFirst) + "\n" + kSecond + "\n");
  clock_.Advance(absl::Seconds(2));
  EXPECT_EQ(book->RoleOf(kFirst), Role::kAll);
  clock_.Advance(TokenBook::kGrace * 2);
  EXPECT_EQ(book->RoleOf(kFirst), Role::kAll);
}

TEST_F(TokenBookTest, KeepsWhatItKnowsWhileAFileIsHalfWrittenOrGone) {
  const auto book = Open();
  for (const std::string content : {"", "half", "two words in a line"}) {
    folder_.Write("all", content);
    clock_.Advance(TokenBook::kGrace * 2);
    EXPECT_EQ(book->RoleOf(kFirst), Role::kAll) << content;
    EXPECT_EQ(book->RoleOf(kActors), Role::kActor) << content;
    EXPECT_EQ(book->RoleOf("half"), std::nullopt);
  }
  std::filesystem::remove(folder_ / "all");
  clock_.Advance(TokenBook::kGrace * 2);
  EXPECT_EQ(book->RoleOf(kFirst), Role::kAll);
  folder_.Write("all", kSecond);
  EXPECT_EQ(book->RoleOf(kSecond), Role::kAll);
}

// As Kubernetes replaces a secret: ..data leads to a folder, and changes to lead to another.
TEST_F(TokenBookTest, FollowsASecretsLink) {
  namespace fs = std::filesystem;
  fs::create_directory(folder_ / "one");
  fs::create_directory(folder_ / "two");
  folder_.Write("one/token", kFirst);
  folder_.Write("two/token", kSecond);
  fs::create_symlink("one", folder_ / "..data");
  fs::create_symlink("..data/token", folder_ / "token");
  network_.set_token_file(folder_ / "token");
  const auto book = Open();
  EXPECT_EQ(book->RoleOf(kFirst), Role::kAll);
  fs::create_symlink("two", folder_ / "..data_tmp");
  fs::rename(folder_ / "..data_tmp", folder_ / "..data");
  EXPECT_EQ(book->RoleOf(kSecond), Role::kAll);
}

}  // namespace
}  // namespace flowawr
