#include "learner/not_finite.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"

namespace flowawr {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

std::vector<Group> Batch(size_t groups) {
  std::vector<Group> batch(groups);
  for (size_t i = 0; i < groups; ++i) {
    batch[i].lease.set_group_id(40 + i);
    batch[i].lease.set_policy_version(7);
    batch[i].lease.mutable_prompt()->set_text(absl::StrCat("sign ", i));
    batch[i].header.set_actor_id(absl::StrCat("actor-", i % 2));
    batch[i].header.mutable_lease()->set_attempt(2);
  }
  return batch;
}

TEST(NotFiniteTest, NamesGroupPromptAttemptActorAndVersion) {
  const absl::Status error = NotFiniteError(12, Batch(4), {1, 2});
  EXPECT_EQ(error.code(), absl::StatusCode::kInternal);
  EXPECT_THAT(std::string(error.message()),
              AllOf(HasSubstr("of update 12 is not finite"),
                    HasSubstr("group 41 (prompt \"sign 1\"), attempt 2 of actor actor-1, policy version 7; "
                              "group 42 (prompt \"sign 2\"), attempt 2 of actor actor-0"),
                    HasSubstr("--accept-changed-prompts"), Not(HasSubstr("learning_rate"))));
}

TEST(NotFiniteTest, BlamesThePolicyWhenItIsEveryGroupOrNone) {
  for (const std::vector<size_t>& positions : {std::vector<size_t>{0, 1}, std::vector<size_t>{}})
    EXPECT_THAT(std::string(NotFiniteError(1, Batch(2), positions).message()),
                AllOf(HasSubstr("lower optimizer.learning_rate"), Not(HasSubstr("group 4"))));
}

TEST(NotFiniteTest, NamesAFewOfMany) {
  std::vector<size_t> positions;
  for (size_t i = 0; i < 1000; ++i) positions.push_back(i);
  const std::string text(NotFiniteError(1, Batch(1001), positions).message());
  EXPECT_THAT(text, AllOf(HasSubstr("group 44 "), Not(HasSubstr("group 45 ")), HasSubstr("and 995 more")));
}

}  // namespace
}  // namespace flowawr
