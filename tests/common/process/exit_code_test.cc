#include "common/process/exit_code.h"

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"

namespace flowawr {
namespace {

TEST(ExitCodeOf, FollowsTheTable) {
  const struct {
    absl::StatusCode code;
    int exit_code;
  } cases[] = {
      {absl::StatusCode::kOk, 0},
      {absl::StatusCode::kDataLoss, 65},
      {absl::StatusCode::kNotFound, 66},
      {absl::StatusCode::kUnavailable, 69},
      {absl::StatusCode::kDeadlineExceeded, 69},
      {absl::StatusCode::kInternal, 70},
      {absl::StatusCode::kUnknown, 70},
      {absl::StatusCode::kAlreadyExists, 73},
      {absl::StatusCode::kAborted, 75},
      {absl::StatusCode::kResourceExhausted, 75},
      {absl::StatusCode::kUnauthenticated, 77},
      {absl::StatusCode::kPermissionDenied, 77},
      {absl::StatusCode::kInvalidArgument, 78},
      {absl::StatusCode::kFailedPrecondition, 78},
      {absl::StatusCode::kUnimplemented, 78},
      {absl::StatusCode::kCancelled, 130},
  };
  for (const auto& c : cases) {
    EXPECT_EQ(ExitCodeOf(absl::Status(c.code, "")), c.exit_code) << absl::StatusCodeToString(c.code);
    // A child's code is handed on as it was.
    if (c.exit_code != 130) {
      EXPECT_EQ(ExitCodeOf(absl::Status(CodeOfExit(c.exit_code), "")), c.exit_code);
    }
    EXPECT_TRUE(absl::StrContains(kExitCodesHelp, absl::StrCat(c.exit_code, " "))) << c.exit_code;
  }
}

TEST(ReportAndExitCodeOf, PrintsProgramAndMessageOfAnErrorAndNothingElse) {
  testing::internal::CaptureStderr();
  EXPECT_EQ(ReportAndExitCodeOf(absl::NotFoundError("x.yaml is missing")), 66);
  EXPECT_EQ(testing::internal::GetCapturedStderr(), "process_test: x.yaml is missing\n");
  testing::internal::CaptureStderr();
  EXPECT_EQ(ReportAndExitCodeOf(absl::OkStatus()), 0);
  EXPECT_EQ(testing::internal::GetCapturedStderr(), "");
}

}  // namespace
}  // namespace flowawr
