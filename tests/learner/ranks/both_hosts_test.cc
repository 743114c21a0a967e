#include "learner/ranks/both_hosts.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "learner/ranks/meeting_point.h"

namespace flowawr {
namespace {

// Where a name has ::1 as well, rank 0 listens at its other address alone.
TEST(HostsTowards, FindsWhoListensAtOneOfANamesAddresses) {
  const auto meeting_point = MeetingPoint::Serve({"127.0.0.1", 0}, [] { return std::vector<std::string>{""}; }).value();
  const auto hosts = HostsTowards({"localhost", meeting_point->address().port}, absl::Minutes(1));
  ASSERT_TRUE(hosts.ok()) << hosts.status();
  EXPECT_EQ(hosts->own, "127.0.0.1");
  EXPECT_EQ(hosts->other, "127.0.0.1");
}

TEST(HostsTowards, TellsThatNobodyListens) {
  int port = 0;
  {
    const auto meeting_point = MeetingPoint::Serve({"127.0.0.1", 0}, [] { return std::vector<std::string>{""}; }).value();
    port = meeting_point->address().port;
  }
  EXPECT_TRUE(absl::IsUnavailable(HostsTowards({"127.0.0.1", port}, absl::Minutes(1)).status()));
}

}  // namespace
}  // namespace flowawr
