#include "learner/update_record.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

namespace flowawr {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Pair;

UpdateRecord Record() {
  UpdateRecord record;
  record.update = 4, record.updates_total = 10;
  record.samples_trained = 96, record.groups_accepted = 20;
  record.behaviour_version = 6, record.spec_version = 2;
  record.learning_rate = .001, record.elapsed_s = 40;
  record.trained = UpdateRecord::Trained{.5, 2, {{"kl", .01}, {"ratio_mean", 1.1}}};
  record.rewards.mean = .75;
  record.seconds = {{"train", 3}};
  return record;
}

TEST(UpdateRecordTest, ShowsWhatTheUpdateGaveAndWhatIsLeft) {
  v1::Status status;
  ShowUpdate(Record(), status);
  EXPECT_EQ(status.update(), 4u);
  EXPECT_EQ(status.loss(), .5);
  EXPECT_EQ(status.kl(), .01);
  EXPECT_EQ(status.grad_norm(), 2);
  EXPECT_EQ(status.reward_mean(), .75);
  EXPECT_EQ(status.figures().at("ratio_mean"), 1.1);
  EXPECT_EQ(status.remaining_s(), 60);
  EXPECT_EQ(status.groups_per_s(), .5);
}

TEST(UpdateRecordTest, ASkippedUpdateLeavesTheFiguresOfTheLastThatTrained) {
  v1::Status status;
  ShowUpdate(Record(), status);
  UpdateRecord skipped = Record();
  skipped.update = 5, skipped.updates_skipped = 1;
  skipped.trained.reset();
  skipped.rewards.mean.reset();
  ShowUpdate(skipped, status);
  EXPECT_EQ(status.update(), 5u);
  EXPECT_EQ(status.updates_skipped(), 1u);
  EXPECT_EQ(status.loss(), .5);
  EXPECT_FALSE(status.has_reward_mean());
  const nlohmann::json line = UpdateLine(skipped);
  EXPECT_EQ(line["skipped"], true);
  for (const char* key : {"loss", "kl", "grad_norm", "reward_mean"}) EXPECT_TRUE(line[key].is_null()) << key;
  EXPECT_TRUE(UpdateScalars(skipped).empty());
  EXPECT_THAT(UpdateSentence(skipped), HasSubstr("update 5 of 10: reward missing, skipped"));
}

TEST(UpdateRecordTest, AMethodWithoutKlHasNone) {
  UpdateRecord record = Record();
  record.trained->figures.erase("kl");
  v1::Status status;
  ShowUpdate(record, status);
  EXPECT_FALSE(status.has_kl());
  EXPECT_TRUE(UpdateLine(record)["kl"].is_null());
  EXPECT_EQ(UpdateSentence(record), "update 4 of 10: reward 0.7500, loss 0.5000, gradient norm 2.000");
}

TEST(UpdateRecordTest, WritesEveryFigureOfTheMethod) {
  EXPECT_EQ(UpdateLine(Record())["figures"]["ratio_mean"], 1.1);
  EXPECT_THAT(UpdateScalars(Record()),
              ElementsAre(Pair("train/reward", .75), Pair("train/loss", .5), Pair("train/kl", .01),
                          Pair("train/ratio_mean", 1.1), Pair("train/learning_rate", .001),
                          Pair("train/grad_norm", 2)));
}

}  // namespace
}  // namespace flowawr
