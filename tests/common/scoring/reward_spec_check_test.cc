#include "common/scoring/reward_spec_check.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/scoring/reward_terms.h"

namespace flowawr {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

using Terms = google::protobuf::RepeatedPtrField<v1::RewardSpecTerm>;

v1::RewardSpecTerm Term(const std::string& scorer, double weight = 1, const std::string& endpoint = "") {
  v1::RewardSpecTerm term;
  term.set_scorer(scorer);
  term.set_weight(weight);
  term.set_endpoint(endpoint);
  term.set_timeout_s(60);
  return term;
}

Terms Of(const std::vector<v1::RewardSpecTerm>& terms) { return {terms.begin(), terms.end()}; }

std::string Long(size_t bytes) { return std::string(bytes, 'x'); }

TEST(RewardSpecCheck, TakesWhatCanBeTrainedOn) {
  for (const Terms& terms :
       {Of({Term("ocr")}), Of({Term("ocr", -1000), Term("size", 1000)}), Of({Term("ocr"), Term("new", 0)}),
        Of({Term("ocr", 1, "a:1,b:2"), Term("size", -0.1, "a:1")}), Of({Term(Long(kMaxScorerBytes))})}) {
    const absl::Status status = CheckRewardSpec(terms, v1::AVERAGE);
    EXPECT_TRUE(status.ok()) << status;
  }
  EXPECT_TRUE(CheckRewardSpec(Of({Term("ocr"), Term("shadow", 0)}), v1::DECOUPLED).ok());
}

TEST(RewardSpecCheck, NamesTheTermTheFieldAndTheFix) {
  constexpr double kInfinity = std::numeric_limits<double>::infinity(), kNan = std::numeric_limits<double>::quiet_NaN();
  struct Case {
    v1::RewardSpecTerm term;
    std::string field, problem;
  };
  std::string many;
  for (size_t i = 0; i <= kMaxEndpointsOfATerm; ++i) absl::StrAppend(&many, i == 0 ? "" : ",", "a:", i + 1);
  std::vector<Case> cases = {{Term(""), "scorer", "names no scorer"},
                             {Term(Long(kMaxScorerBytes + 1)), "scorer", "129 bytes, at most 128"},
                             {Term("ocr", 1, "here"), "endpoint", "\"here\" is not an address"},
                             {Term("ocr", 1, "a:1,"), "endpoint", "\"\" is not an address"},
                             {Term("ocr", 1, "a:0"), "endpoint", "port 0"},
                             {Term("ocr", 1, "a:1, a:1"), "endpoint", "a:1 is named twice"},
                             {Term("ocr", 1, many), "endpoint", "17 servers, at most 16"},
                             {Term("ocr", 1, Long(kMaxEndpointBytes + 1)), "endpoint", "1025 bytes"}};
  for (const double weight : {kInfinity, -kInfinity, kNan, 1000.5, -1e4})
    cases.push_back({Term("ocr", weight), "weight", "a number from -1000 to 1000"});
  for (const double timeout : {kInfinity, kNan, 0.0, -1.0, 1e9}) {
    cases.push_back({Term("ocr"), "timeout_s", "a number from 0.1 to 3600"});
    cases.back().term.set_timeout_s(timeout);
  }
  for (const Case& c : cases) {
    const auto faults = FindRewardSpecFaults(Of({Term("first"), c.term}), v1::AVERAGE);
    ASSERT_EQ(faults.size(), 1u) << c.problem;
    EXPECT_EQ(faults[0].term, 1);
    EXPECT_EQ(faults[0].field, c.field);
    EXPECT_THAT(faults[0].problem, HasSubstr(c.problem));
    EXPECT_EQ(FindRewardTermFaults(c.term).size(), 1u);
  }
}

TEST(RewardSpecCheck, RefusesTermsThatDoNotGoTogether) {
  const auto problems = [](const Terms& terms, v1::Combination combination) {
    return absl::StrJoin(FindRewardSpecFaults(terms, combination), "|", [](std::string* out, const auto& fault) {
      absl::StrAppend(out, fault.term, " ", fault.field, " ", fault.problem);
    });
  };
  EXPECT_THAT(problems({}, v1::AVERAGE), HasSubstr("-1  there is no term"));
  EXPECT_THAT(problems(Of(std::vector<v1::RewardSpecTerm>(kMaxRewardTerms + 1, Term("ocr"))), v1::AVERAGE),
              HasSubstr("65 terms, at most 64"));
  EXPECT_THAT(problems(Of({Term("ocr", 0), Term("size", -0.0)}), v1::AVERAGE), HasSubstr("-1  every weight is 0"));
  EXPECT_THAT(problems(Of({Term("ocr", 0)}), v1::DECOUPLED), HasSubstr("every weight is 0"));
  // At other servers, too: figures go by the scorer's name.
  EXPECT_THAT(problems(Of({Term("ocr", 1, "a:1"), Term("size"), Term("ocr", 1, "a:2")}), v1::AVERAGE),
              HasSubstr("2  scorer ocr is term 0 already; add the weights up"));
  EXPECT_THAT(problems(Of({Term("ocr"), Term("size", -1)}), v1::DECOUPLED),
              HasSubstr("1 weight must not be negative with rewards.combination: decoupled"));
}

TEST(RewardSpecCheck, TellsAllFaultsAtOnce) {
  const absl::Status status = CheckRewardSpec(Of({Term("ocr", 2000), Term("", 0, "x")}), v1::AVERAGE);
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(status.message()),
              AllOf(HasSubstr("reward term 0 (ocr): weight: 2000"), HasSubstr("\nreward term 1: scorer: names no"),
                    HasSubstr("\nreward term 1: endpoint: \"x\"")));
  EXPECT_THAT(std::string(CheckRewardSpec(Of({Term("a", 0)}), v1::AVERAGE).message()),
              HasSubstr("the rewards: every weight is 0"));
}

TEST(RewardTerms, SplitSeveralServers) {
  EXPECT_THAT(EndpointsOf(""), IsEmpty());
  EXPECT_THAT(EndpointsOf("a:1"), ElementsAre("a:1"));
  EXPECT_THAT(EndpointsOf("a:1, [::1]:2 ,b:3"), ElementsAre("a:1", "[::1]:2", "b:3"));
}

TEST(RewardTerms, AShadowIsNeverRequiredNorTheFirstThatIsTrainedOn) {
  v1::RewardSpec spec;
  *spec.mutable_terms() = Of({Term("shadow", 0), Term("ocr", -1)});
  for (v1::RewardSpecTerm& term : *spec.mutable_terms()) term.set_is_required(true);
  EXPECT_FALSE(IsRequired(spec.terms(0)));
  EXPECT_TRUE(IsRequired(spec.terms(1)));
  EXPECT_EQ(FirstTrainedTerm(spec), 1);
  EXPECT_EQ(FirstTrainedTerm({}), 0);
}

}  // namespace
}  // namespace flowawr
