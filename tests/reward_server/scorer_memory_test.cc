#include "reward_server/scorer_memory.h"

#include "common/base/file.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/testing/temp_folder.h"

namespace flowawr {
namespace {

using ::testing::HasSubstr;
using ::testing::SizeIs;

v1::LoadScorerRequest Scorer(const std::string& name, const std::string& kind, const std::string& scale = "") {
  v1::LoadScorerRequest scorer;
  scorer.set_name(name);
  scorer.set_kind(kind);
  if (!scale.empty()) (*scorer.mutable_options())["scale"] = scale;
  return scorer;
}

TEST(ScorerMemoryTest, GivesTheNextServerWhatWasLoadedAndNotUnloaded) {
  const TempFolder folder;
  {
    const auto memory = ScorerMemory::Open(folder / "scorers");
    ASSERT_TRUE(memory.ok()) << memory.status();
    EXPECT_THAT((*memory)->scorers(), SizeIs(0));
    ASSERT_TRUE((*memory)->Add(Scorer("a", "jpeg", "5,\n6")).ok());
    ASSERT_TRUE((*memory)->Add(Scorer("", "ocr")).ok());
    ASSERT_TRUE((*memory)->Add(Scorer("b", "jpeg", "1")).ok());
    ASSERT_TRUE((*memory)->Add(Scorer("b", "jpeg", "2")).ok());
    ASSERT_TRUE((*memory)->Remove("ocr").ok());
    ASSERT_TRUE((*memory)->Remove("never loaded").ok());
  }
  const auto memory = ScorerMemory::Open(folder / "scorers");
  ASSERT_TRUE(memory.ok()) << memory.status();
  const auto scorers = (*memory)->scorers();
  ASSERT_THAT(scorers, SizeIs(2));
  EXPECT_EQ(scorers[0].SerializeAsString(), Scorer("a", "jpeg", "5,\n6").SerializeAsString());
  EXPECT_EQ(scorers[1].SerializeAsString(), Scorer("b", "jpeg", "2").SerializeAsString());
}

TEST(ScorerMemoryTest, LeavesOutTheLineThatCannotBeReadNamesItAndKeepsIt) {
  const TempFolder folder;
  const std::string file = folder.Write("scorers", "{\"kind\": \"ocr\"}\nocr\n{\"kind\": \"jpeg\"}\n");
  const auto memory = ScorerMemory::Open(file);
  ASSERT_TRUE(memory.ok()) << memory.status();
  EXPECT_THAT((*memory)->scorers(), SizeIs(2));
  ASSERT_THAT((*memory)->complaints(), SizeIs(1));
  EXPECT_THAT((*memory)->complaints()[0], HasSubstr(file + ":2: "));
  ASSERT_TRUE((*memory)->Add(Scorer("a", "jpeg")).ok());
  EXPECT_THAT(ReadFile(file).value(), HasSubstr("\nocr\n"));
}

}  // namespace
}  // namespace flowawr
