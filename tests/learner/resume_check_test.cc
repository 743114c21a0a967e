#include "learner/resume_check.h"

#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace flowawr {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

v1::RunConfig Saved() {
  v1::RunConfig config;
  config.set_name("saved");
  config.set_seed(1);
  config.mutable_lora()->set_rank(4);
  config.mutable_optimizer()->set_learning_rate(0.5);
  config.mutable_train()->set_updates(10);
  config.mutable_rewards()->add_terms()->set_endpoint("127.0.0.1:1");
  return config;
}

TEST(CheckResumable, AllowsWhatDoesNotChangeTheRun) {
  v1::RunConfig now = Saved();
  now.set_name("other");
  now.set_run_dir("elsewhere");
  now.mutable_model()->set_path("moved");
  now.mutable_lora()->set_init_from("an adapter that counted once");
  now.mutable_train()->set_updates(20);
  now.mutable_train()->set_threads(3);
  now.mutable_rollout()->set_max_attempts(7);
  now.mutable_checkpoint()->set_keep_best(2);
  now.mutable_telemetry()->set_trace_mib(32);  // which older checkpoints do not know
  now.mutable_rewards()->mutable_terms(0)->set_endpoint("127.0.0.1:2");
  EXPECT_TRUE(CheckResumable(Saved(), now).ok()) << CheckResumable(Saved(), now);
}

TEST(CheckResumable, TakesAModelOfAScorerFromElsewhereButNoOther) {
  v1::RunConfig saved = Saved();
  saved.mutable_rewards()->mutable_terms(0)->set_scorer("geneval");
  v1::RunConfig now = saved;
  (*saved.mutable_rewards()->mutable_terms(0)->mutable_options())["detector"] = "/a/models/swin";
  std::string& detector = (*now.mutable_rewards()->mutable_terms(0)->mutable_options())["detector"];
  for (const char* elsewhere : {"/b/swin", "models/swin/", "swin"}) {
    detector = elsewhere;
    EXPECT_TRUE(CheckResumable(saved, now).ok()) << elsewhere;
  }
  detector = "/a/models/resnet";
  EXPECT_THAT(std::string(CheckResumable(saved, now).message()), HasSubstr("swin"));
}

TEST(CheckUpdatesAhead, RefusesFewerUpdatesThanAreDone) {
  v1::RunConfig now = Saved();  // 10 updates
  EXPECT_TRUE(CheckUpdatesAhead(9, now).ok());
  EXPECT_TRUE(CheckUpdatesAhead(10, now).ok());
  const absl::Status status = CheckUpdatesAhead(95, now);
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(status.message()), HasSubstr("train.updates: 10, but 95 updates are done"));
}

TEST(CheckResumable, ListsEveryFieldThatDiffersAndNoOther) {
  v1::RunConfig now = Saved();
  now.set_name("other");
  now.set_seed(2);
  now.mutable_lora()->set_rank(8);
  now.mutable_train()->set_updates(20);
  now.mutable_rewards()->add_terms();
  const absl::Status status = CheckResumable(Saved(), now);
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(status.message()),
              AllOf(HasSubstr("seed: 1 -> 2"), HasSubstr("lora.rank: 4 -> 8"), HasSubstr("rewards.terms[1]"),
                    Not(HasSubstr("name")), Not(HasSubstr("updates")), Not(HasSubstr("learning_rate"))));
}

TEST(WarningOfOtherInstructions, NamesBothWhenTheyDiffer) {
  EXPECT_THAT(WarningOfOtherInstructions("avx512", "avx2"),
              AllOf(HasSubstr("made with the instruction set avx512"), HasSubstr("goes on with avx2")));
  EXPECT_EQ(WarningOfOtherInstructions("avx2", "avx2"), "");
  EXPECT_EQ(WarningOfOtherInstructions("", "avx2"), "") << "a checkpoint of an older version does not say";
}

}  // namespace
}  // namespace flowawr
