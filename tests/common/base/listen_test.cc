#include "common/base/listen.h"

#include <unistd.h>

#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace flowawr {
namespace {

using ::testing::HasSubstr;

TEST(Listen, TakesAPortThatNobodyElseThenGets) {
  const absl::StatusOr<int> first = Listen({"127.0.0.1", 0}, 1);
  ASSERT_TRUE(first.ok()) << first.status();
  const HostPort bound = BoundTo(*first);
  EXPECT_EQ(bound.host, "127.0.0.1");
  EXPECT_NE(bound.port, 0);
  const absl::Status second = Listen(bound, 1).status();
  EXPECT_EQ(second.code(), absl::StatusCode::kAlreadyExists);
  EXPECT_THAT(std::string(second.message()), HasSubstr("choose another port"));
  close(*first);
}

TEST(Listen, SaysWhenTheHostIsNotThisMachines) {
  const absl::Status other = Listen({"192.0.2.1", 0}, 1).status();  // TEST-NET-1: nobody's
  EXPECT_EQ(other.code(), absl::StatusCode::kInvalidArgument) << other;
  EXPECT_THAT(std::string(other.message()), HasSubstr("must be this machine's"));
  EXPECT_EQ(Listen({"no such host", 0}, 1).status().code(), absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace flowawr
