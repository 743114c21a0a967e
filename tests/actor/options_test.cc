#include "actor/options.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "tests/testing/temp_folder.h"

namespace flowawr {
namespace {

Parsed<ActorOptions> Parse(std::vector<const char*> arguments) {
  arguments.insert(arguments.begin(), "flowawr-actor");
  return ParseActorOptions(static_cast<int>(arguments.size()), arguments.data());
}

TEST(ActorOptions, NeedOnlyTheLearner) {
  const Parsed<ActorOptions> parsed = Parse({"--learner", "127.0.0.1:5"});
  ASSERT_FALSE(parsed.exit_code.has_value());
  EXPECT_EQ(parsed.options.learner, "127.0.0.1:5");
  EXPECT_EQ(parsed.options.threads, 1);
  EXPECT_FALSE(parsed.options.id.empty());
  EXPECT_NE(parsed.options.id, Parse({"--learner", "127.0.0.1:5"}).options.id);
}

TEST(ActorOptions, EndsWithUsageForMistakesAndWithZeroForHelp) {
  EXPECT_EQ(Parse({}).exit_code, 64);
  EXPECT_EQ(Parse({"--learner", "127.0.0.1:5", "--threads", "0"}).exit_code, 64);
  EXPECT_EQ(Parse({"--learner", "127.0.0.1:5", "--colour"}).exit_code, 64);
  EXPECT_FALSE(Parse({"--learner", "127.0.0.1:5", "--id", "caf\xc3\xa9"}).exit_code.has_value());
  EXPECT_EQ(Parse({"--learner", "127.0.0.1:5", "--id", "caf\xe9"}).exit_code, 78);  // no message could carry it
  EXPECT_EQ(Parse({"--help"}).exit_code, 0);
  EXPECT_EQ(Parse({"--version"}).exit_code, 0);
}

TEST(ActorOptions, TakeTheNetworkFromItsFile) {
  const TempFolder folder;
  const std::string file = folder.Write("n.yaml", "network: {tls_ca: ca.pem, max_message_mib: 8}\n");
  const Parsed<ActorOptions> parsed = Parse({"--learner", "127.0.0.1:5", "--network-config", file.c_str()});
  ASSERT_FALSE(parsed.exit_code.has_value());
  EXPECT_EQ(parsed.options.network.tls_ca(), "ca.pem");
  EXPECT_EQ(parsed.options.network.max_message_mib(), 8);
  EXPECT_EQ(Parse({"--learner", "127.0.0.1:5"}).options.network.max_message_mib(), 64);
  EXPECT_EQ(Parse({"--learner", "127.0.0.1:5", "--network-config", "/nonexistent.yaml"}).exit_code, 66);
}

TEST(ActorOptions, ServeOthersOnlyWhenTold) {
  EXPECT_EQ(Parse({"--learner", "127.0.0.1:5"}).options.peer_listen, "");
  EXPECT_EQ(Parse({"--learner", "127.0.0.1:5", "--peer-listen", "0.0.0.0:0"}).options.peer_listen, "0.0.0.0:0");
  EXPECT_EQ(Parse({"--learner", "127.0.0.1:5", "--peer-listen", "7000"}).exit_code, 64);
  EXPECT_EQ(Parse({"--learner", "127.0.0.1:5", "--peer-listen", "[::]:7000", "--peer-address", "a:0"}).exit_code, 64);
  EXPECT_EQ(Parse({"--learner", "127.0.0.1:5", "--peer-address", "a:7000"}).exit_code, 64);  // nothing listens
}

}  // namespace
}  // namespace flowawr
