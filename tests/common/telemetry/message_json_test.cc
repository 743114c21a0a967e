#include "common/telemetry/message_json.h"

#include <gtest/gtest.h>

#include <limits>

#include "flowawr/v1/control.pb.h"

namespace flowawr {
namespace {

using nlohmann::json;

TEST(MessageAsJsonTest, HasNumbersAsNumbersUnderTheProtosNames) {
  v1::Status status;
  status.set_update(9007199254740993);  // more than a double holds
  status.set_phase(v1::RUNNING);
  status.set_reward_mean(0.5);
  status.set_behaviour_sha256("\x01\xff");
  (*status.mutable_dropped())["stale"] = 3;
  status.mutable_latest()->set_images(64);
  status.add_actors()->set_groups(7);
  const json parsed = json::parse(MessageAsJson(status).dump());
  EXPECT_EQ(parsed["update"].dump(), "9007199254740993");
  EXPECT_EQ(parsed["phase"], "RUNNING");
  EXPECT_EQ(parsed["reward_mean"], 0.5);
  EXPECT_EQ(parsed["behaviour_sha256"], "01ff");
  EXPECT_EQ(parsed["dropped"], json({{"stale", 3}}));
  EXPECT_EQ(parsed["latest"]["images"], 64);
  EXPECT_EQ(parsed["actors"][0]["groups"], 7);
  EXPECT_EQ(parsed["samples_trained"], 0);  // counters begin at 0
}

TEST(MessageAsJsonTest, HasNullForWhatWasNotMeasured) {
  v1::Status status;
  status.mutable_latest()->set_update(1);
  status.set_remaining_s(std::numeric_limits<double>::infinity());
  const json parsed = json::parse(MessageAsJson(status).dump());
  for (const char* field : {"reward_mean", "loss", "base", "reward_spec", "remaining_s"}) {
    ASSERT_TRUE(parsed.contains(field)) << field;
    EXPECT_TRUE(parsed[field].is_null()) << field;
  }
  EXPECT_TRUE(parsed["latest"]["exact_share"].is_null());
  EXPECT_EQ(parsed["actors"], json::array());
}

TEST(MessageAsJsonTest, IsReadableWhateverTheTextHolds) {
  v1::Status status;
  status.set_message("a \"quoted\"\n line");
  EXPECT_EQ(json::parse(MessageAsJson(status).dump())["message"], "a \"quoted\"\n line");
}

}  // namespace
}  // namespace flowawr
