#include "learner/update_result.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

namespace flowawr {
namespace {

using ::testing::AllOf;
using ::testing::AnyOf;
using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::Pair;

UpdateResult Record() {
  UpdateResult record;
  record.update = 4, record.updates_total = 10;
  record.samples_trained = 96, record.groups_accepted = 20;
  record.behaviour_version = 6, record.spec_version = 2;
  record.learning_rate = .001, record.elapsed_s = 40;
  record.trained = UpdateResult::Trained{.5, 2, {{"kl", .01}, {"ratio_mean", 1.1}}};
  record.rewards.mean = .75;
  record.seconds = {{"train", 3}};
  return record;
}

TEST(UpdateResultTest, ShowsWhatTheUpdateGaveAndWhatIsLeft) {
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

TEST(UpdateResultTest, ASkippedUpdateLeavesTheFiguresOfTheLastThatTrained) {
  v1::Status status;
  ShowUpdate(Record(), status);
  UpdateResult skipped = Record();
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
  for (const auto& [tag, value] : UpdateScalars(skipped))
    EXPECT_THAT(tag, Not(AnyOf("train/loss", "train/kl"))) << value;
  EXPECT_THAT(UpdateSentence(skipped), HasSubstr("update 5 of 10: reward missing, skipped"));
}

TEST(UpdateResultTest, AMethodWithoutKlHasNone) {
  UpdateResult record = Record();
  record.trained->figures.erase("kl");
  v1::Status status;
  ShowUpdate(record, status);
  EXPECT_FALSE(status.has_kl());
  EXPECT_TRUE(UpdateLine(record)["kl"].is_null());
  EXPECT_EQ(UpdateSentence(record), "update 4 of 10: reward 0.7500, loss 0.5000, gradient norm 2.000");
}

TEST(UpdateResultTest, WritesEveryFigureOfTheMethod) {
  EXPECT_EQ(UpdateLine(Record())["figures"]["ratio_mean"], 1.1);
  for (const auto& [tag, value] :
       {std::pair("train/reward", .75), std::pair("train/loss", .5), std::pair("train/kl", .01),
        std::pair("train/ratio_mean", 1.1), std::pair("train/learning_rate", .001), std::pair("train/grad_norm", 2.0)})
    EXPECT_THAT(UpdateScalars(Record()), Contains(Pair(tag, value)));
}

TEST(UpdateResultTest, WritesWhatTheBatchSaysOfItself) {
  UpdateResult record = Record();
  record.batch.diversity = .8;
  record.batch.signal = {{"clipped_share", .25}};
  record.batch.signal_histogram = {.5, .5};
  record.log_prob_drift = Drift{.001, .002};
  const nlohmann::json line = UpdateLine(record);
  EXPECT_EQ(line["figures"]["diversity"], .8);
  EXPECT_EQ(line["figures"]["log_prob_drift_greatest"], .002);
  EXPECT_EQ(line["figures"]["ratio_mean"], 1.1);
  EXPECT_EQ(line["signal"]["clipped_share"], .25);
  EXPECT_EQ(line["signal_histogram"].size(), 2u);
  EXPECT_THAT(UpdateScalars(record),
              AllOf(Contains(Pair("train/diversity", .8)), Contains(Pair("signal/clipped_share", .25))));
  v1::Status status;
  ShowUpdate(record, status);
  EXPECT_EQ(status.figures().at("log_prob_drift_mean"), .001);
}

TEST(UpdateResultTest, SaysWhyAnUpdateWasRefused) {
  UpdateResult record = Record();
  record.trained.reset();
  record.refused = "bad luck";
  EXPECT_THAT(UpdateSentence(record), HasSubstr("refused: bad luck"));
  EXPECT_EQ(UpdateLine(record)["refused"], "bad luck");
  EXPECT_FALSE(UpdateLine(Record()).contains("refused"));
}

}  // namespace
}  // namespace flowawr
