#include "learner/scorer_book.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"

namespace flowawr {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Pair;

constexpr char kHere[] = "a:1", kThere[] = "b:2";
constexpr auto kKept = ScorerBook::Contact::kKept, kRenewed = ScorerBook::Contact::kRenewed,
               kLost = ScorerBook::Contact::kLost;
const absl::Time kNow = absl::UnixEpoch() + absl::Hours(1);

v1::RewardSpec Spec(const std::string& scorer, const std::string& endpoint) {
  v1::RewardSpec spec;
  v1::RewardSpecTerm& term = *spec.add_terms();
  term.set_scorer(scorer);
  term.set_endpoint(endpoint);
  term.set_weight(1);
  return spec;
}

v1::RewardsConfig Configured(const std::string& scorer, const std::string& kind) {
  v1::RewardsConfig rewards;
  v1::RewardTerm& term = *rewards.add_terms();
  term.set_scorer(scorer);
  term.set_kind(kind);
  (*term.mutable_options())["quality"] = "80";
  return rewards;
}

v1::ListScorersResponse List(const std::string& scorer = "", const std::string& kind = "ocr") {
  v1::ListScorersResponse list;
  list.add_scorers()->set_name("another");
  if (scorer.empty()) return list;
  v1::ScorerInfo& info = *list.add_scorers();
  info.set_name(scorer);
  info.set_kind(kind);
  (*info.mutable_options())["layout"] = "word";
  return list;
}

TEST(ScorerBookTest, LoadsAgainWhatAServerHadBeforeItWasAway) {
  ScorerBook book({});
  book.Need(Spec("read", kHere));
  book.OnList(kHere, List("read"), kLost);
  EXPECT_THAT(book.TakeLoads(kNow), IsEmpty());
  EXPECT_THAT(book.warnings(), IsEmpty());
  book.OnNoList(kHere, absl::UnavailableError("connection refused"));
  EXPECT_THAT(book.warnings(), ElementsAre(AllOf(HasSubstr(kHere), HasSubstr("does not answer: connection refused"))));
  book.OnList(kHere, List(), kLost);
  const std::vector<ScorerBook::Load> loads = book.TakeLoads(kNow);
  ASSERT_EQ(loads.size(), 1u);
  EXPECT_EQ(loads[0].endpoint, kHere);
  EXPECT_EQ(loads[0].scorer.name(), "read");
  EXPECT_EQ(loads[0].scorer.kind(), "ocr");
  EXPECT_EQ(loads[0].scorer.options().at("layout"), "word");
  EXPECT_THAT(book.TakeLoads(kNow), IsEmpty()) << "it is under way";
  EXPECT_THAT(book.warnings(), ElementsAre(HasSubstr("is gone and is loaded again, attempt 1 of 8")));
  book.OnLoad(loads[0], absl::OkStatus(), kNow);
  book.OnList(kHere, List("read"), kKept);
  EXPECT_THAT(book.warnings(), IsEmpty());
  EXPECT_THAT(book.loads(), ElementsAre(Pair("read", 1)));
}

TEST(ScorerBookTest, LoadsNothingThatSomebodyUnloaded) {
  ScorerBook book(Configured("read", "ocr"));
  book.Need(Spec("read", kHere));
  book.OnList(kHere, List("read"), kLost);
  book.OnList(kHere, List(), kKept);
  EXPECT_THAT(book.TakeLoads(kNow), IsEmpty());
  EXPECT_THAT(book.warnings(), ElementsAre(HasSubstr("was unloaded; load it again, or take it out")));
  book.OnList(kHere, List(), kLost);
  EXPECT_EQ(book.TakeLoads(kNow).size(), 1u) << "that was another process";
}

// Servers want connections to be made anew now and then: that undoes nobody's unloading.
TEST(ScorerBookTest, TakesANewConnectionForAnotherProcessOnlyWhereAScorerWasJustThere) {
  ScorerBook book(Configured("read", "ocr"));
  book.Need(Spec("read", kHere));
  book.OnList(kHere, List("read"), kKept);
  book.OnList(kHere, List("read"), kRenewed);
  EXPECT_THAT(book.warnings(), IsEmpty());
  book.OnList(kHere, List(), kKept);
  book.OnList(kHere, List(), kRenewed);
  EXPECT_THAT(book.TakeLoads(kNow), IsEmpty());
  EXPECT_THAT(book.warnings(), ElementsAre(HasSubstr("was unloaded")));
  book.OnList(kHere, List("read"), kKept);
  book.OnList(kHere, List(), kRenewed);
  EXPECT_EQ(book.TakeLoads(kNow).size(), 1u);
}

TEST(ScorerBookTest, LoadsWhatTheConfigurationNamesAtAServerThatNeverHadIt) {
  ScorerBook book(Configured("size", "jpeg_compressibility"));
  book.Need(Spec("size", kHere));
  book.OnList(kHere, List(), kLost);
  const std::vector<ScorerBook::Load> loads = book.TakeLoads(kNow);
  ASSERT_EQ(loads.size(), 1u);
  EXPECT_EQ(loads[0].scorer.kind(), "jpeg_compressibility");
  EXPECT_EQ(loads[0].scorer.options().at("quality"), "80");
}

TEST(ScorerBookTest, SaysWhatItCannotLoad) {
  ScorerBook book({});
  book.Need(Spec("read", kHere));
  book.OnList(kHere, List(), kLost);
  EXPECT_THAT(book.TakeLoads(kNow), IsEmpty());
  EXPECT_THAT(book.warnings(), ElementsAre(HasSubstr("flowawr reward load read=KIND --server a:1")));
}

TEST(ScorerBookTest, KnowsFromAnotherServerOfTheTermHowToLoad) {
  ScorerBook book({});
  book.Need(Spec("read", absl::StrCat(kHere, ",", kThere)));
  EXPECT_THAT(book.endpoints(), ElementsAre(kHere, kThere));
  book.OnList(kHere, List("read"), kLost);
  book.OnList(kThere, List(), kLost);
  const std::vector<ScorerBook::Load> loads = book.TakeLoads(kNow);
  ASSERT_EQ(loads.size(), 1u);
  EXPECT_EQ(loads[0].endpoint, kThere);
  EXPECT_EQ(loads[0].scorer.options().at("layout"), "word");
}

TEST(ScorerBookTest, TriesAgainAfterGrowingPausesAndNotForEver) {
  ScorerBook book(Configured("read", "ocr"), {.most_attempts = 3,
                                              .first_pause = absl::Seconds(1),
                                              .longest_pause = absl::Seconds(90)});
  book.Need(Spec("read", kHere));
  book.OnList(kHere, List(), kLost);
  const absl::Status no_file = absl::NotFoundError("no such folder");
  absl::Time now = kNow;
  for (const int pause : {1, 2}) {
    const auto loads = book.TakeLoads(now);
    ASSERT_EQ(loads.size(), 1u);
    book.OnLoad(loads[0], no_file, now);
    book.OnList(kHere, List(), kKept);
    EXPECT_THAT(book.TakeLoads(now + absl::Seconds(pause) - absl::Milliseconds(1)), IsEmpty());
    now += absl::Seconds(pause);
  }
  const auto last = book.TakeLoads(now);
  ASSERT_EQ(last.size(), 1u);
  book.OnLoad(last[0], no_file, now);
  EXPECT_THAT(book.TakeLoads(now + absl::Hours(1)), IsEmpty());
  EXPECT_THAT(book.warnings(), ElementsAre(HasSubstr("could not be loaded again: no such folder")));
  book.OnList(kHere, List(), kLost);
  EXPECT_EQ(book.TakeLoads(now).size(), 1u) << "its server came once more";
}

TEST(ScorerBookTest, WaitsForWhoeverIsQuicker) {
  ScorerBook book(Configured("read", "ocr"), {.most_attempts = 1});
  book.Need(Spec("read", kHere));
  book.OnList(kHere, List(), kLost);
  for (int i = 0; i < 3; ++i) {
    const auto loads = book.TakeLoads(kNow + i * absl::Minutes(5));
    ASSERT_EQ(loads.size(), 1u);
    book.OnLoad(loads[0], absl::AlreadyExistsError("being loaded"), kNow + i * absl::Minutes(5));
  }
  EXPECT_THAT(book.loads(), IsEmpty());
}

TEST(ScorerBookTest, SaysNothingOfServersThatDoNotTell) {
  ScorerBook book({});
  book.Need(Spec("own", kHere));
  book.OnNoList(kHere, absl::UnimplementedError("no such method"));
  EXPECT_THAT(book.warnings(), IsEmpty());
  EXPECT_THAT(book.TakeLoads(kNow), IsEmpty());
}

TEST(ScorerBookTest, WarnsOfAStuckScorerUntilItIsWell) {
  ScorerBook book({});
  book.Need(Spec("read", kHere));
  v1::ListScorersResponse list = List("read");
  list.mutable_scorers(1)->set_health(v1::ScorerInfo::STUCK);
  book.OnList(kHere, list, kLost);
  EXPECT_THAT(book.warnings(), ElementsAre(HasSubstr("is stuck: a call does not return; flowawr reward reload read")));
  book.OnList(kHere, List("read"), kKept);
  EXPECT_THAT(book.warnings(), IsEmpty());
}

TEST(ScorerBookTest, ForgetsWhatIsNoLongerNeededButForHowToLoadIt) {
  ScorerBook book({});
  book.Need(Spec("read", kHere));
  book.OnList(kHere, List("read"), kLost);
  book.Need(Spec("size", kThere));
  book.OnNoList(kHere, absl::UnavailableError("gone"));
  EXPECT_THAT(book.warnings(), IsEmpty());
  book.Need(Spec("read", kHere));
  book.OnList(kHere, List(), kLost);
  EXPECT_EQ(book.TakeLoads(kNow).size(), 1u);
}

TEST(ScorerBookTest, TellsTheNextOneWhatItSaw) {
  ScorerBook first({}), second({});
  first.Need(Spec("read", kHere));
  first.OnList(kHere, List("read"), kLost);
  second.AddJsonLines(absl::StrCat("no JSON\n{\"endpoint\": 1}\n", first.ToJsonLines(), "[]\n"));
  second.Need(Spec("read", kHere));
  second.OnList(kHere, List(), kLost);
  const auto loads = second.TakeLoads(kNow);
  ASSERT_EQ(loads.size(), 1u);
  EXPECT_EQ(loads[0].scorer.options().at("layout"), "word");
  EXPECT_EQ(second.ToJsonLines(), first.ToJsonLines());
}

}  // namespace
}  // namespace flowawr
