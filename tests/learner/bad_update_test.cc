#include "learner/bad_update.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/types.h>

#include <cmath>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "common/base/file.h"
#include "common/diffusion/noise.h"
#include "common/tensor/safetensors.h"
#include "tests/testing/temp_folder.h"

namespace flowawr {
namespace {

using ::testing::HasSubstr;

TEST(CheckUpdateTest, DecidesByLossNormAndGroups) {
  const std::vector<Group> batch(2);
  struct Case {
    double loss, norm, max_loss;
    std::vector<size_t> not_finite;
    absl::StatusCode expected;
  };
  const Case cases[] = {
      {1, 1, 0, {}, absl::StatusCode::kOk},
      {1e9, 1, 0, {}, absl::StatusCode::kOk},  // 0: none is too great
      {2, 1, 2, {}, absl::StatusCode::kOk},
      {2.1, 1, 2, {}, absl::StatusCode::kFailedPrecondition},
      {-5, 1, 2, {}, absl::StatusCode::kOk},
      {NAN, 1, 2, {}, absl::StatusCode::kInternal},
      {INFINITY, 1, 0, {}, absl::StatusCode::kInternal},
      {1, NAN, 0, {}, absl::StatusCode::kInternal},
      {1, INFINITY, 0, {}, absl::StatusCode::kInternal},
      {1, 1, 0, {1}, absl::StatusCode::kInternal},
  };
  for (const Case& c : cases) {
    const BatchGradient gradient{.gradient = {}, .loss = c.loss, .not_finite = c.not_finite};
    EXPECT_EQ(CheckUpdate(9, batch, gradient, c.norm, c.max_loss).code(), c.expected)
        << c.loss << " " << c.norm << " " << c.max_loss;
  }
}

TEST(CheckUpdateTest, SaysWhichLossWasTooGreat) {
  const absl::Status status = CheckUpdate(9, std::vector<Group>(1), {.gradient = {}, .loss = 3.5}, 1, 2);
  EXPECT_THAT(std::string(status.message()), HasSubstr("the loss of update 9 is 3.5, above train.max_loss 2"));
}

class WriteBadBatchTest : public testing::Test {
 protected:
  WriteBadBatchTest() : batch_(2) {
    for (size_t i = 0; i < 2; ++i) {
      Group& group = batch_[i];
      group.lease.set_group_id(40 + i);
      group.lease.set_policy_version(7);
      group.lease.mutable_prompt()->set_text(absl::StrCat("sign \xff", i));  // not UTF-8
      group.lease.mutable_reward_spec()->add_terms()->set_scorer("ocr");
      group.header.set_actor_id("a-1");
      group.x0 = InitialNoise(i, 0, 0, {3, 2, 4, 4});
      group.rewards = at::tensor({0.5, 1.0, NAN}, at::kDouble).view({1, 3});
    }
    signals_.values = at::tensor({1.f, -1.f, 0.f, 0.f, 0.f, 0.f}).view({2, 3});
  }

  std::string Write(uint64_t update) {
    const auto path = WriteBadBatch(folder_.path(), update, batch_, signals_,
                                    {.gradient = {}, .loss = NAN, .not_finite = {1}}, absl::InternalError("bad luck"));
    EXPECT_TRUE(path.ok()) << path.status();
    return path.value_or("");
  }

  const TempFolder folder_;
  std::vector<Group> batch_;
  BatchSignals signals_;
};

TEST_F(WriteBadBatchTest, KeepsWhatTheUpdateWasMadeOf) {
  const std::string path = Write(12);
  EXPECT_EQ(path, folder_ / "bad_batches/update-12.json");
  const nlohmann::json json = nlohmann::json::parse(ReadFile(path).value());
  EXPECT_EQ(json["update"], 12);
  EXPECT_EQ(json["why"], "bad luck");
  EXPECT_TRUE(json["loss"].is_null());
  ASSERT_EQ(json["groups"].size(), 2u);
  EXPECT_EQ(json["groups"][0]["group"], 40);
  EXPECT_EQ(json["groups"][0]["actor"], "a-1");
  EXPECT_TRUE(json["groups"][0]["is_finite"]);
  EXPECT_FALSE(json["groups"][1]["is_finite"]);
  EXPECT_EQ(json["groups"][0]["rewards"]["ocr"], nlohmann::json::parse("[0.5, 1.0, null]"));
  EXPECT_EQ(json["groups"][0]["signals"], nlohmann::json::parse("[1.0, -1.0, 0.0]"));
  const auto file = SafetensorsFile::Open(folder_ / "bad_batches/update-12.safetensors");
  ASSERT_TRUE(file.ok()) << file.status();
  EXPECT_TRUE(at::equal(file->tensors().at("group_41.x0"), batch_[1].x0));
  EXPECT_TRUE(at::equal(file->tensors().at("signals"), signals_.values));
}

TEST_F(WriteBadBatchTest, KeepsTheNewestFew) {
  for (const uint64_t update : {8, 9, 10, 11, 12}) Write(update);
  int files = 0;
  for (const auto& entry : std::filesystem::directory_iterator(folder_ / "bad_batches")) {
    EXPECT_THAT(entry.path().string(), testing::Not(testing::AnyOf(HasSubstr("update-8"), HasSubstr("update-9"))));
    ++files;
  }
  EXPECT_EQ(files, 2 * kMostBadBatches);
}

}  // namespace
}  // namespace flowawr
