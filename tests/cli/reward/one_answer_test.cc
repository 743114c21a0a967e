// What the rewards of a run may be: a configuration, the terms of a command and a call get one answer.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "cli/reward/term_text.h"
#include "common/config/run_config.h"
#include "common/scoring/reward_spec_check.h"

namespace flowawr {
namespace {

struct Term {
  std::string scorer, weight, endpoint = "", timeout = "60";
};

struct Case {
  std::string combination;
  std::vector<Term> terms;
  bool is_valid;
};

absl::Status AsConfiguration(const Case& c) {
  const std::string terms = absl::StrJoin(c.terms, ", ", [](std::string* out, const Term& term) {
    absl::StrAppend(out, "{scorer: \"", term.scorer, "\", weight: ", term.weight, ", endpoint: \"", term.endpoint,
                    "\", timeout_s: ", term.timeout, "}");
  });
  return ParseRunConfig(
             absl::StrCat("run_dir: x\nmodel: {path: x}\nprompts: {train: t, heldout: h}\nrewards: {combination: ",
                          c.combination, ", terms: [", terms, "]}\n"),
             "run.yaml")
      .status();
}

// `flowawr reward swap --term` reads them so; the learner judges what they are together, as of every call.
absl::Status AsCommand(const Case& c) {
  v1::RewardSpec spec;
  for (const Term& term : c.terms) {
    std::string text = absl::StrCat(term.scorer, ",weight=", term.weight, ",timeout=", term.timeout);
    if (!term.endpoint.empty())
      for (absl::string_view endpoint : absl::StrSplit(term.endpoint, ','))
        absl::StrAppend(&text, ",endpoint=", endpoint);
    const auto parsed = ParseTerm(text);
    if (!parsed.ok()) return parsed.status();
    *spec.add_terms() = *parsed;
  }
  return CheckRewardSpec(spec.terms(), c.combination == "average" ? v1::AVERAGE : v1::DECOUPLED);
}

absl::Status AsCall(const Case& c) {
  v1::RewardSpec spec;
  for (const Term& term : c.terms) {
    v1::RewardSpecTerm& sent = *spec.add_terms();
    sent.set_scorer(term.scorer);
    sent.set_weight(std::stod(term.weight));
    sent.set_endpoint(term.endpoint);
    sent.set_timeout_s(std::stod(term.timeout));
  }
  return CheckRewardSpec(spec.terms(), c.combination == "average" ? v1::AVERAGE : v1::DECOUPLED);
}

TEST(WhatRewardsMayBe, IsTheSameForAConfigurationACommandAndACall) {
  const std::vector<Case> cases = {
      {"average", {{"ocr", "1"}}, true},
      {"average", {{"ocr", "-1"}}, true},
      {"average", {{"ocr", "1"}, {"size", "-1"}}, true},  // they sum to 0, and yet one is wanted and one is not
      {"average", {{"ocr", "1"}, {"shadow", "0"}}, true},
      {"average", {{"ocr", "1", "a:1,b:2"}, {"size", "1", "a:1"}}, true},
      {"decoupled", {{"ocr", "1"}, {"size", "0.5"}, {"shadow", "0"}}, true},
      {"average", {}, false},
      {"average", {{"ocr", "0"}}, false},
      {"decoupled", {{"ocr", "0"}, {"size", "-0.0"}}, false},
      {"decoupled", {{"ocr", "1"}, {"size", "-0.5"}}, false},
      {"average", {{"ocr", "1"}, {"ocr", "2"}}, false},
      {"average", {{"ocr", "1", "a:1"}, {"ocr", "2", "a:2"}}, false},
      {"average", {{"", "1"}}, false},
      {"average", {{std::string(kMaxScorerBytes + 1, 'x'), "1"}}, false},
      {"average", {{"ocr", "1001"}}, false},
      {"average", {{"ocr", "nan"}}, false},
      {"average", {{"ocr", "inf"}}, false},
      {"average", {{"ocr", "1", "here"}}, false},
      {"average", {{"ocr", "1", "a:0"}}, false},
      {"average", {{"ocr", "1", "a:1,a:1"}}, false},
      {"average", {{"ocr", "1", "", "0"}}, false},
      {"average", {{"ocr", "1", "", "3601"}}, false},
  };
  for (const Case& c : cases) {
    SCOPED_TRACE(absl::StrCat(c.combination, ": ", absl::StrJoin(c.terms, "; ", [](std::string* out, const Term& term) {
      absl::StrAppend(out, term.scorer, " ", term.weight, " ", term.endpoint, " ", term.timeout);
    })));
    EXPECT_EQ(AsConfiguration(c).ok(), c.is_valid) << AsConfiguration(c);
    EXPECT_EQ(AsCommand(c).ok(), c.is_valid) << AsCommand(c);
    EXPECT_EQ(AsCall(c).ok(), c.is_valid) << AsCall(c);
  }
}

}  // namespace
}  // namespace flowawr
