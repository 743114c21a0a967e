#include "common/base/host_port.h"

#include "gtest/gtest.h"

namespace flowawr {
namespace {

TEST(ParseHostPort, ReadsNamesAndBothKindsOfAddress) {
  EXPECT_EQ(ParseHostPort("127.0.0.1:0").value().host, "127.0.0.1");
  EXPECT_EQ(ParseHostPort("learner.lan:50051").value().port, 50051);
  EXPECT_EQ(ParseHostPort("[::1]:7").value().host, "::1");
  for (const char* text : {"127.0.0.1:0", "learner.lan:50051", "[::1]:7"})
    EXPECT_EQ(ParseHostPort(text).value().ToString(), text);
}

TEST(ParseHostPort, RefusesEverythingElse) {
  for (const char* text :
       {"", ":", "host", "host:", ":1", "host:x", "host:-1", "host:65536", "::1:7", "[]:1", "a b:1", "http://host:1"})
    EXPECT_EQ(ParseHostPort(text).status().code(), absl::StatusCode::kInvalidArgument) << text;
}

TEST(HostPort, KnowsWhoIsThisMachineAlone) {
  for (const char* host : {"127.0.0.1", "127.1.2.3", "localhost", "::1"})
    EXPECT_TRUE((HostPort{host, 1}.is_loopback())) << host;
  for (const char* host : {"0.0.0.0", "::", "10.0.0.1", "128.0.0.1", "localhost.evil.org", "127.0.0.1.evil.org", ""})
    EXPECT_FALSE((HostPort{host, 1}.is_loopback())) << host;
}

}  // namespace
}  // namespace flowawr
