#include "actor/reward_reach.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <string>

#include "absl/strings/str_cat.h"
#include "common/base/host_port.h"
#include "common/rpc/server.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace flowawr {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

// As other machines call it.
std::string ThisHost() {
  char name[256] = {};
  EXPECT_EQ(gethostname(name, sizeof(name) - 1), 0);
  return name;
}

v1::RewardSpec Spec(const std::string& endpoint) {
  v1::RewardSpec spec;
  spec.add_terms()->set_scorer("ocr");
  spec.mutable_terms(0)->set_endpoint(endpoint);
  spec.mutable_terms(0)->set_weight(1);
  spec.mutable_terms(0)->set_is_required(true);
  return spec;
}

TEST(RewardAddressFor, LooksForTheLearnersOwnServerOnTheLearnersMachine) {
  EXPECT_EQ(RewardAddressFor("127.0.0.1:7000", "trainer.example:50051"), "trainer.example:7000");
  EXPECT_EQ(RewardAddressFor("[::1]:7000", "10.0.0.1:50051"), "10.0.0.1:7000");
  EXPECT_EQ(RewardAddressFor("localhost:7000", "[fe80::1]:50051"), "[fe80::1]:7000");
  EXPECT_EQ(RewardAddressFor("127.0.0.1:7000", "127.0.0.1:50051"), "127.0.0.1:7000");
  EXPECT_EQ(RewardAddressFor("rewards.example:7000", "trainer.example:50051"), "rewards.example:7000");
}

TEST(RewardReachTest, FindsTheServerBesideTheLearnerFromAnotherMachine) {
  v1::NetworkConfig network;
  network.set_insecure(true);
  const auto server = RpcServer::Start({.listen = "0.0.0.0:0", .network = network}, {});
  ASSERT_TRUE(server.ok()) << server.status();
  v1::RewardSpec spec = Spec((*server)->endpoint());  // on loopback, as the learner knows it
  RewardReach reach(ThisHost() + ":50051", network);
  EXPECT_EQ(reach.Resolve(spec), absl::OkStatus());
  EXPECT_EQ(spec.terms(0).endpoint(), absl::StrCat(ThisHost(), ":", ParseHostPort((*server)->endpoint())->port));
}

TEST(RewardReachTest, IsContentWithOneOfSeveralServers) {
  v1::NetworkConfig network;
  network.set_insecure(true);
  const auto server = RpcServer::Start({.listen = "0.0.0.0:0", .network = network}, {});
  ASSERT_TRUE(server.ok()) << server.status();
  v1::RewardSpec spec = Spec(absl::StrCat("127.0.0.1:1, ", (*server)->endpoint()));
  RewardReach reach(ThisHost() + ":50051", network);
  EXPECT_EQ(reach.Resolve(spec), absl::OkStatus());
  EXPECT_EQ(spec.terms(0).endpoint(),
            absl::StrCat(ThisHost(), ":1,", ThisHost(), ":", ParseHostPort((*server)->endpoint())->port));
  v1::RewardSpec shadow = Spec("127.0.0.1:1");
  shadow.mutable_terms(0)->set_weight(0);
  EXPECT_EQ(reach.Resolve(shadow), absl::OkStatus()) << "a shadow is never required";
}

TEST(RewardReachTest, SaysWhichServerItCannotReachAndWhatToSet) {
  const auto server = RpcServer::Start({.listen = "127.0.0.1:0"}, {});  // for its own machine only
  ASSERT_TRUE(server.ok()) << server.status();
  const std::string endpoint = (*server)->endpoint();
  server.value()->Shutdown(absl::ZeroDuration());
  v1::RewardSpec spec = Spec(endpoint);
  const absl::Status status = RewardReach(ThisHost() + ":50051", {}).Resolve(spec);
  EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(std::string(status.message()),
              AllOf(HasSubstr(absl::StrCat(ThisHost(), ":", ParseHostPort(endpoint)->port)), HasSubstr(endpoint),
                    HasSubstr("network.reward_listen")));
}

// Connections are taken and nothing is ever said: neither refused nor made.
TEST(RewardReachTest, GivesUpOnASilentHostAfterItsPatienceAndSaysSo) {
  const int listener = socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address = {
      .sin_family = AF_INET, .sin_port = 0, .sin_addr = {.s_addr = htonl(INADDR_ANY)}, .sin_zero = {}};
  socklen_t size = sizeof(address);
  ASSERT_EQ(bind(listener, reinterpret_cast<sockaddr*>(&address), size), 0);
  ASSERT_EQ(listen(listener, 8), 0);
  ASSERT_EQ(getsockname(listener, reinterpret_cast<sockaddr*>(&address), &size), 0);
  v1::NetworkConfig network;
  network.set_insecure(true);
  v1::RewardSpec spec = Spec(absl::StrCat("127.0.0.1:", ntohs(address.sin_port)));
  const absl::Status status = RewardReach(ThisHost() + ":50051", network, absl::Milliseconds(200)).Resolve(spec);
  EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(std::string(status.message()), HasSubstr("no connection within 200ms"));
  close(listener);
}

TEST(RewardReachTest, LeavesAnActorOnTheLearnersMachineAlone) {
  v1::RewardSpec spec = Spec("127.0.0.1:1");
  EXPECT_EQ(RewardReach("127.0.0.1:50051", {}).Resolve(spec), absl::OkStatus());
  EXPECT_EQ(spec.terms(0).endpoint(), "127.0.0.1:1");
}

}  // namespace
}  // namespace flowawr
