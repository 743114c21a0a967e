#include "common/rpc/status.h"

#include <string>

#include "common/base/utf8.h"
#include "gtest/gtest.h"

namespace flowawr {
namespace {

TEST(Status, KeepsEveryCodeAndMessageBothWays) {
  for (int code = 0; code <= 16; ++code) {
    const absl::Status status(static_cast<absl::StatusCode>(code), code == 0 ? "" : "what went wrong");
    EXPECT_EQ(static_cast<int>(ToGrpc(status).error_code()), code);
    EXPECT_EQ(FromGrpc(ToGrpc(status)), status);
  }
}

TEST(Status, CutsAMessageThatHeadersCannotCarry) {
  const grpc::Status status = ToGrpc(absl::InternalError(std::string(100'000, 'x')));
  EXPECT_LT(status.error_message().size(), 5000);
  EXPECT_GT(status.error_message().size(), 4000);
}

TEST(Status, KeepsMessagesUtf8BothWaysAndWhereTheyAreCut) {
  std::string accents;
  while (accents.size() < 5000) accents += "\xC3\xA9";
  EXPECT_TRUE(IsValidUtf8(ToGrpc(absl::InternalError(accents)).error_message()));
  EXPECT_TRUE(IsValidUtf8(ToGrpc(absl::InternalError("x" + accents)).error_message()));
  EXPECT_EQ(ToGrpc(absl::InternalError("caf\xE9")).error_message(), "caf\xEF\xBF\xBD");
  EXPECT_EQ(FromGrpc(grpc::Status(grpc::INTERNAL, "caf\xE9")).message(), "caf\xEF\xBF\xBD");
}

}  // namespace
}  // namespace flowawr
