#include "learner/ranks/meeting_store.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "common/base/listen.h"
#include "tests/testing/loopback_socket.h"

namespace flowawr {
namespace {

using ::testing::HasSubstr;

constexpr absl::Duration kLimit = absl::Minutes(1);
constexpr char kOne[] = "a-token-of-sixteen", kOther[] = "another-of-sixteen";

RankTokens Tokens(const std::string& token) {
  return [token] { return std::vector<std::string>{token}; };
}
std::vector<uint8_t> Bytes(const std::string& text) { return {text.begin(), text.end()}; }

class MeetingStoreTest : public testing::Test {
 protected:
  absl::StatusOr<c10::intrusive_ptr<c10d::Store>> Reach(const std::string& token = kOne) const {
    return ReachStore(address_, Tokens(token), kLimit);
  }

  const int listening_fd_ = Listen({"127.0.0.1", 0}, 128).value();
  const HostPort address_ = BoundTo(listening_fd_);
  std::unique_ptr<StoreServer> server_ = std::make_unique<StoreServer>(listening_fd_, Tokens(kOne));
};

TEST_F(MeetingStoreTest, WhatOneSetsTheOtherGets) {
  const auto remote = Reach().value();
  const std::string bytes("\0\n\xff", 3);
  remote->set("a key", Bytes(bytes));
  EXPECT_EQ(server_->store()->get("a key"), Bytes(bytes));
  server_->store()->set("another", Bytes(""));
  EXPECT_EQ(remote->get("another"), Bytes(""));
  EXPECT_TRUE(remote->check({"a key", "another"}));
  EXPECT_FALSE(remote->check({"a key", "none"}));
  EXPECT_TRUE(remote->deleteKey("a key"));
  EXPECT_FALSE(remote->deleteKey("a key"));
  remote->queuePush("queue", Bytes("first"));
  EXPECT_EQ(server_->store()->queuePop("queue", /*block=*/false), Bytes("first"));
}

TEST_F(MeetingStoreTest, AWaitEndsWhenTheKeyIsSetOrItsTimeIsOver) {
  const auto remote = Reach().value();
  EXPECT_THROW(remote->wait({"late"}, std::chrono::milliseconds(1)), c10::Error);
  std::thread setter([&] { server_->store()->set("late", Bytes("x")); });
  EXPECT_EQ(remote->get("late"), Bytes("x"));
  setter.join();
}

TEST_F(MeetingStoreTest, WhoDoesNotKnowTheTokenReachesNothing) {
  const absl::Status refused = Reach(kOther).status();
  EXPECT_TRUE(absl::IsPermissionDenied(refused)) << refused;
  EXPECT_THAT(std::string(refused.message()), HasSubstr("does not know rank 0's token"));
  TextLink stranger(ConnectTo(address_.port));
  ASSERT_TRUE(stranger.Receive(kLimit, {}).ok());  // the question
  ASSERT_TRUE(stranger.Send({.word = RankWord::kStore, .text = std::string("sa key\0x", 8)}, kLimit).ok());
  EXPECT_FALSE(stranger.Receive(kLimit, {}).ok());
  EXPECT_FALSE(server_->store()->check({"a key"}));
}

void WaitForItsEnd(int fd) {
  char byte = 0;
  while (recv(fd, &byte, 1, 0) > 0) {
  }
}

TEST_F(MeetingStoreTest, JunkAndSilenceKeepNobodyOutForLong) {
  const int junk_fd = ConnectTo(address_.port);
  const std::string junk(4096, '\xff');  // also a text of 2^64 - 1 bytes
  EXPECT_EQ(send(junk_fd, junk.data(), junk.size(), MSG_NOSIGNAL), static_cast<ssize_t>(junk.size()));
  WaitForItsEnd(junk_fd);
  // Two more than there are places, as the junk's may just be ending.
  std::vector<int> silent;
  for (int i = 0; i < StoreServer::kMostStrangers + 2; ++i) silent.push_back(ConnectTo(address_.port));
  EXPECT_TRUE(absl::IsUnavailable(Reach().status())) << "closed at once";
  for (const int fd : silent) {  // until it is hung up on
    WaitForItsEnd(fd);
    close(fd);
  }
  close(junk_fd);
  absl::StatusOr<c10::intrusive_ptr<c10d::Store>> reached = Reach();
  while (absl::IsUnavailable(reached.status())) reached = Reach();  // the last ones may just be ending
  EXPECT_TRUE(reached.ok()) << reached.status();
}

TEST_F(MeetingStoreTest, WhenRankZeroEndsEveryCallDoes) {
  const auto remote = Reach().value();
  std::thread waiter([&] { EXPECT_THROW(remote->wait({"never"}, std::chrono::hours(1)), c10::Error); });
  server_.reset();
  waiter.join();
  EXPECT_THROW(remote->set("a key", Bytes("x")), c10::Error);
  const absl::Status gone = Reach().status();
  EXPECT_TRUE(absl::IsUnavailable(gone)) << gone;
}

}  // namespace
}  // namespace flowawr
