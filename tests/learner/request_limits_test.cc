#include "learner/request_limits.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>

#include "common/base/utf8.h"

namespace flowawr {
namespace {

using ::testing::HasSubstr;

std::string Long(size_t bytes) { return std::string(bytes, 'x'); }

void ExpectRefused(const absl::Status& status, const char* field) {
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr(field));
}

TEST(RequestLimitsTest, BoundNamesOfActors) {
  EXPECT_TRUE(CheckActor(Long(kMaxActorIdBytes), Long(kMaxSessionBytes)).ok());
  ExpectRefused(CheckActor("", ""), "actor_id is empty");
  for (const char* id : {"a\nb", "\x1b[2J", "a\x7f"})
    ExpectRefused(CheckActor(id, ""), "actor_id holds a control character");
  EXPECT_TRUE(CheckActor("caf\u00e9 2", "").ok());
  ExpectRefused(CheckActor(Long(kMaxActorIdBytes + 1), ""), "actor_id has 129 bytes, at most 128");
  ExpectRefused(CheckActor("a", Long(kMaxSessionBytes + 1)), "session");
}

TEST(RequestLimitsTest, BoundWhatAnActorTellsOfItsModel) {
  v1::RegisterRequest request;
  request.set_actor_id("a");
  (*request.mutable_model_parts())[Long(kMaxPartNameBytes)] = Long(kMaxPartBytes);
  EXPECT_TRUE(CheckRequest(request).ok());
  (*request.mutable_model_parts())["vae"] = Long(kMaxPartBytes + 1);
  ExpectRefused(CheckRequest(request), "a value in model_parts has 129 bytes");
  request.clear_model_parts();
  (*request.mutable_model_parts())[Long(kMaxPartNameBytes + 1)] = "";
  ExpectRefused(CheckRequest(request), "a name in model_parts");
  request.clear_model_parts();
  for (int i = 0; i <= kMaxModelParts; ++i) (*request.mutable_model_parts())[std::to_string(i)] = "";
  ExpectRefused(CheckRequest(request), "65 entries");
}

TEST(RequestLimitsTest, TakeAnAddressForOthersThatTheyCanReach) {
  v1::RegisterRequest request;
  request.set_actor_id("a");
  for (const char* good : {"", "10.0.0.7:7000", "[::]:7000", "actor-3.actors:7000"}) {
    request.set_peer_endpoint(good);
    EXPECT_TRUE(CheckRequest(request).ok()) << good;
  }
  request.set_peer_endpoint("actor-3");
  ExpectRefused(CheckRequest(request), "peer_endpoint: \"actor-3\" is not an address");
  request.set_peer_endpoint("10.0.0.7:0");
  ExpectRefused(CheckRequest(request), "peer_endpoint names no port");
  request.set_peer_endpoint(Long(kMaxEndpointBytes) + ":1");
  ExpectRefused(CheckRequest(request), "peer_endpoint has 258 bytes, at most 256");
}

TEST(RequestLimitsTest, BoundHeartbeats) {
  v1::RenewLeasesRequest request;
  request.set_actor_id("a");
  (*request.mutable_stage_seconds())["sample"] = 3;
  EXPECT_TRUE(CheckRequest(request).ok());
  (*request.mutable_stage_seconds())["sample"] = std::numeric_limits<double>::infinity();
  ExpectRefused(CheckRequest(request), "stage_seconds of sample");
  request.clear_stage_seconds();
  (*request.mutable_stage_seconds())[Long(kMaxStageNameBytes + 1)] = 3;
  ExpectRefused(CheckRequest(request), "stage_seconds");
  request.clear_stage_seconds();
  for (int i = 0; i <= kMaxStages; ++i) (*request.mutable_stage_seconds())[std::to_string(i)] = 3;
  ExpectRefused(CheckRequest(request), "33 entries");
}

TEST(RequestLimitsTest, BoundWhatAGroupsHeaderTells) {
  v1::GroupHeader header;
  header.set_actor_id("a");
  v1::TermScore& score = *header.add_samples()->add_terms();
  score.mutable_error()->set_message(Long(kMaxScoreTextBytes));
  EXPECT_TRUE(CheckRequest(header).ok());
  score.mutable_error()->set_message(Long(kMaxScoreTextBytes + 1));
  ExpectRefused(CheckRequest(header), "a score's error");
  score.set_reward(1);
  (*score.mutable_details())["text"] = Long(kMaxScoreTextBytes);
  ExpectRefused(CheckRequest(header), "a score's detail");
  header.clear_samples();
  header.set_policy_sha256(Long(33));
  ExpectRefused(CheckRequest(header), "policy_sha256");
}

TEST(RequestLimitsTest, CountFailuresUnderAFixedSetOfLabels) {
  EXPECT_EQ(FailureLabel("reward_failed"), "reward_failed");
  EXPECT_EQ(FailureLabel(""), "other");
  EXPECT_EQ(FailureLabel(Long(60'000'000)), "other");
  const std::string text = FailureText(Long(kMaxFailureBytes - 2) + "\u00e9\u00e9\u00e9");
  EXPECT_LE(text.size(), kMaxFailureBytes);
  EXPECT_TRUE(IsValidUtf8(text));
}

TEST(RequestLimitsTest, BoundTheTimelineOfAGroup) {
  v1::GroupHeader header;
  header.set_actor_id("a");
  for (int i = 0; i < kMaxSpans; ++i) header.add_spans()->set_stage(Long(kMaxStageNameBytes));
  EXPECT_TRUE(CheckRequest(header).ok());
  header.mutable_spans(0)->set_stage(Long(kMaxStageNameBytes + 1));
  ExpectRefused(CheckRequest(header), "a stage in spans has 33 bytes");
  header.mutable_spans(0)->clear_stage();
  header.add_spans();
  ExpectRefused(CheckRequest(header), "spans has 65 entries");
}

}  // namespace
}  // namespace flowawr
