#include "actor/recovery.h"

#include <gtest/gtest.h>

namespace flowawr {
namespace {

TEST(AfterRegister, GivesUpOnlyWhenTheLearnerWillNeverTakeThisActor) {
  EXPECT_EQ(AfterRegister(absl::OkStatus()), RegisterAction::kProceed);
  EXPECT_EQ(AfterRegister(absl::UnavailableError("")), RegisterAction::kRetry);
  EXPECT_EQ(AfterRegister(absl::DeadlineExceededError("")), RegisterAction::kRetry);
  EXPECT_EQ(AfterRegister(absl::ResourceExhaustedError("")), RegisterAction::kRetry);
  EXPECT_EQ(AfterRegister(absl::InternalError("")), RegisterAction::kRetry);
  EXPECT_EQ(AfterRegister(absl::FailedPreconditionError("model")), RegisterAction::kGiveUp);
  EXPECT_EQ(AfterRegister(absl::UnauthenticatedError("token")), RegisterAction::kGiveUp);
  EXPECT_EQ(AfterRegister(absl::InvalidArgumentError("id")), RegisterAction::kGiveUp);
}

TEST(AfterAcquire, RegistersAgainWhenTheLearnerWentAwayOrForgotThisActor) {
  EXPECT_EQ(AfterAcquire(absl::OkStatus()), LeaseAction::kProceed);
  EXPECT_EQ(AfterAcquire(absl::DeadlineExceededError("")), LeaseAction::kAskAgain);
  EXPECT_EQ(AfterAcquire(absl::UnavailableError("")), LeaseAction::kReregister);
  EXPECT_EQ(AfterAcquire(absl::FailedPreconditionError("register first")), LeaseAction::kReregister);
  EXPECT_EQ(AfterAcquire(absl::NotFoundError("no such actor")), LeaseAction::kReregister);
  EXPECT_EQ(AfterAcquire(absl::PermissionDeniedError("")), LeaseAction::kGiveUp);
}

TEST(IsForgotten, OnlyWhenTheLearnerSaysThatItDoesNotKnowThisActor) {
  EXPECT_TRUE(IsForgotten(absl::FailedPreconditionError("register first")));
  EXPECT_FALSE(IsForgotten(absl::OkStatus()));
  EXPECT_FALSE(IsForgotten(absl::UnavailableError("")));
  EXPECT_FALSE(IsForgotten(absl::DeadlineExceededError("")));
}

TEST(AfterSubmit, TellsLostConnectionsFromLateAndFromRefusedGroups) {
  EXPECT_EQ(AfterSubmit(absl::OkStatus()), SubmitAction::kDone);
  EXPECT_EQ(AfterSubmit(absl::AlreadyExistsError("accepted before")), SubmitAction::kDone);
  EXPECT_EQ(AfterSubmit(absl::UnavailableError("")), SubmitAction::kRetry);
  EXPECT_EQ(AfterSubmit(absl::DataLossError("digest")), SubmitAction::kRetry);
  EXPECT_EQ(AfterSubmit(absl::NotFoundError("lease")), SubmitAction::kForget);
  EXPECT_EQ(AfterSubmit(absl::FailedPreconditionError("version")), SubmitAction::kFail);
  EXPECT_EQ(AfterSubmit(absl::InvalidArgumentError("latents")), SubmitAction::kFail);
}

}  // namespace
}  // namespace flowawr
