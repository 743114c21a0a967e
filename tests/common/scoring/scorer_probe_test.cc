#include "common/scoring/scorer_probe.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/common/scoring/scripted_server.h"

namespace flowawr {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

v1::RewardSpecTerm Term(const std::string& scorer, const std::string& endpoint, double weight = 1) {
  v1::RewardSpecTerm term;
  term.set_scorer(scorer);
  term.set_endpoint(endpoint);
  term.set_weight(weight);
  term.set_timeout_s(5);
  term.set_is_required(true);
  return term;
}

v1::RewardSpec Spec(const std::vector<v1::RewardSpecTerm>& terms) {
  v1::RewardSpec spec;
  *spec.mutable_terms() = {terms.begin(), terms.end()};
  return spec;
}

ProbePicture Picture() {
  ProbePicture picture{.height = 4, .width = 6};
  picture.prompt.set_text("a sign");
  (*picture.prompt.mutable_metadata())["target"] = "CAT";
  return picture;
}

absl::Status Probe(const std::string& endpoint, const std::string& scorer = "s") {
  return ProbeScorers(Spec({Term(scorer, endpoint)}), {}, Picture());
}

grpc::Status Answer(v1::ScoreError::Kind kind, v1::ScoreResponse& response) {
  v1::ScoreError& error = *response.add_results()->mutable_error();
  error.set_kind(kind);
  error.set_message("the lamp is out");
  return grpc::Status::OK;
}

TEST(ScorerProbe, AsksEveryServerForTheRewardOfAPictureWithAPromptOfTheRun) {
  v1::ScoreRequest asked;
  ScriptedServer first([&](int call, const v1::ScoreRequest& request, v1::ScoreResponse& response) {
    asked = request;
    return FirstByte(call, request, response);
  });
  ScriptedServer second(FirstByte);
  const absl::Status status = Probe(first.endpoint() + "," + second.endpoint());
  EXPECT_TRUE(status.ok()) << status;
  EXPECT_EQ(second.items_per_call(), std::vector<int>{1});
  EXPECT_EQ(asked.scorer(), "s");
  EXPECT_EQ(asked.items(0).image_rgb().size(), 4u * 6 * 3);
  EXPECT_EQ(asked.items(0).prompt(), "a sign");
  EXPECT_EQ(asked.items(0).metadata().at("target"), "CAT");
}

TEST(ScorerProbe, SaysWhichServerDoesNotAnswer) {
  const std::string dead = ScriptedServer(FirstByte).endpoint();
  ScriptedServer alive(FirstByte);
  const absl::Status status = Probe(alive.endpoint() + "," + dead);
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(status.message()), HasSubstr("no reward server answers at " + dead));
}

TEST(ScorerProbe, SaysWhichScorersAServerHasInstead) {
  ScriptedServer server([](int, const auto&, auto&) { return grpc::Status(grpc::StatusCode::NOT_FOUND, "none"); });
  const absl::Status status = Probe(server.endpoint(), "sise");
  EXPECT_EQ(status.code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(std::string(status.message()),
              AllOf(HasSubstr("has no scorer \"sise\"; there are: s, size; did you mean \"size\"?"),
                    HasSubstr("flowawr reward load sise=KIND --server " + server.endpoint())));
}

TEST(ScorerProbe, TellsErrorsByTheirKind) {
  const struct {
    v1::ScoreError::Kind kind;
    absl::StatusCode code;
  } cases[] = {{v1::ScoreError::BAD_INPUT, absl::StatusCode::kInvalidArgument},
               {v1::ScoreError::BROKEN, absl::StatusCode::kFailedPrecondition},
               {v1::ScoreError::OVERLOADED, absl::StatusCode::kFailedPrecondition}};
  for (const auto& c : cases) {
    ScriptedServer server([&](int, const auto&, auto& response) { return Answer(c.kind, response); });
    const absl::Status status = Probe(server.endpoint());
    EXPECT_EQ(status.code(), c.code) << status;
    EXPECT_THAT(std::string(status.message()),
                AllOf(HasSubstr("scorer s at " + server.endpoint()), HasSubstr("the lamp is out"),
                      HasSubstr(v1::ScoreError::Kind_Name(c.kind))));
  }
  ScriptedServer mute([](int, const auto&, auto&) { return grpc::Status::OK; });
  EXPECT_THAT(std::string(Probe(mute.endpoint()).message()), HasSubstr("0 results for one image"));
}

TEST(ScorerProbe, ARewardThatMayBeMissingNeedNotBeGivenForThePromptThatIsAsked) {
  ScriptedServer server([](int, const auto&, auto& response) { return Answer(v1::ScoreError::BAD_INPUT, response); });
  v1::RewardSpecTerm optional = Term("s", server.endpoint()), shadow = Term("s", server.endpoint(), 0);
  optional.set_is_required(false);
  EXPECT_TRUE(ProbeScorers(Spec({optional, shadow}), {}, Picture()).ok());
}

TEST(ScorerProbe, AsksAnOverloadedServerAgain) {
  ScriptedServer server([](int call, const v1::ScoreRequest& request, v1::ScoreResponse& response) {
    return call == 0 ? Answer(v1::ScoreError::OVERLOADED, response) : FirstByte(call, request, response);
  });
  EXPECT_TRUE(Probe(server.endpoint()).ok());
}

TEST(TermsToProbe, AreThoseThatTheSpecBeforeDoesNotVouchFor) {
  const v1::RewardSpec now = Spec({Term("ocr", "a:1"), Term("shadow", "a:1", 0)});
  const auto probed = [&](const std::vector<v1::RewardSpecTerm>& next) {
    std::string names;
    const v1::RewardSpec probed = TermsToProbe(now, Spec(next));
    for (const v1::RewardSpecTerm& term : probed.terms()) names += term.scorer() + " ";
    return names;
  };
  EXPECT_EQ(probed({Term("ocr", "a:1", 0.5)}), "") << "another weight";
  EXPECT_EQ(probed({Term("ocr", "b:1"), Term("shadow", "a:1", 0)}), "ocr ") << "another server";
  EXPECT_EQ(probed({Term("ocr", "a:1"), Term("new", "a:1")}), "new ");
  EXPECT_EQ(probed({Term("ocr", "a:1"), Term("shadow", "a:1", 1)}), "shadow ") << "required from now on";
}

}  // namespace
}  // namespace flowawr
