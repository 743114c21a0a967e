#include "common/base/status.h"

#include "absl/strings/cord.h"
#include "gtest/gtest.h"

namespace flowawr {
namespace {

absl::StatusOr<int> Half(int value) {
  if (value % 2 != 0) return absl::InvalidArgumentError("odd");
  return value / 2;
}

absl::StatusOr<int> Quarter(int value) {
  FLOWAWR_ASSIGN_OR_RETURN(const int half, Half(value));
  FLOWAWR_RETURN_IF_ERROR(Half(half).status());
  return half / 2;
}

TEST(Status, MacrosPassErrorsUpAndValuesOn) {
  EXPECT_EQ(Quarter(8).value(), 2);
  EXPECT_EQ(Quarter(3).status(), absl::InvalidArgumentError("odd"));
  EXPECT_EQ(Quarter(6).status(), absl::InvalidArgumentError("odd"));
}

TEST(Annotate, PutsContextBeforeAnErrorAndLeavesSuccessAlone) {
  EXPECT_EQ(Annotate(absl::NotFoundError("x"), "reading y"), absl::NotFoundError("reading y: x"));
  EXPECT_EQ(Annotate(absl::OkStatus(), "reading y"), absl::OkStatus());
}

TEST(Annotate, KeepsWhatMarksAnError) {
  absl::Status marked = absl::AbortedError("lost");
  marked.SetPayload("flowawr/mark", absl::Cord("yes"));
  EXPECT_EQ(Annotate(marked, "cuda:1").GetPayload("flowawr/mark"), absl::Cord("yes"));
}

TEST(AllComplaints, StandOnALineEachUnlessThereIsOneAlone) {
  EXPECT_TRUE(AllComplaints("x", {}).ok());
  EXPECT_EQ(AllComplaints("x", {"a"}), absl::InvalidArgumentError("x: a"));
  EXPECT_EQ(AllComplaints("x", {"a", "b:\n  c"}), absl::InvalidArgumentError("x:\n  a\n  b:\n    c"));
  const std::string many(AllComplaints("x", std::vector<std::string>(45, "a")).message());
  EXPECT_EQ(many.substr(many.size() - 12), "  and 5 more");
}

}  // namespace
}  // namespace flowawr
