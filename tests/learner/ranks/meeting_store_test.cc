#include "learner/ranks/meeting_store.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
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

std::string WhyNot(const std::function<void()>& call) {
  try {
    call();
    return "";
  } catch (const c10::Error& error) {
    return error.what_without_backtrace();
  }
}

TEST(BoundedStore, HoldsSoManyKeysAndValuesThatWait) {
  BoundedStore store({.keys = 4});
  store.set("a", Bytes("x"));
  store.queuePush("queue", Bytes("1"));  // two, with the queue's own
  store.set("b", Bytes("x"));
  EXPECT_THAT(WhyNot([&] { store.set("c", Bytes("x")); }), HasSubstr("rank 0's store is full: it would have 5 keys"));
  EXPECT_THAT(WhyNot([&] { store.queuePush("queue", Bytes("2")); }), HasSubstr("full"));
  EXPECT_FALSE(store.check({"c"}));
  EXPECT_EQ(store.queueLen("queue"), 1);
  EXPECT_TRUE(store.deleteKey("a"));
  store.set("c", Bytes("x"));
  EXPECT_EQ(store.get("c"), Bytes("x"));
}

TEST(BoundedStore, HoldsSoManyBytes) {
  BoundedStore store({.bytes = 100});
  store.set("a", Bytes(std::string(60, 'x')));
  EXPECT_THAT(WhyNot([&] { store.set("b", Bytes(std::string(60, 'x'))); }), HasSubstr("122 bytes"));
  EXPECT_THAT(WhyNot([&] { store.set(std::string(60, 'k'), {}); }), HasSubstr("full"));
  store.queuePush("q", Bytes(std::string(30, 'x')));
  EXPECT_THAT(WhyNot([&] { store.queuePush("q", Bytes(std::string(30, 'x'))); }), HasSubstr("full"));
  EXPECT_EQ(store.queuePop("q", /*block=*/false), Bytes(std::string(30, 'x')));
  store.queuePush("q", Bytes(std::string(30, 'x')));
}

TEST_F(MeetingStoreTest, ARankThatFillsTheStoreIsToldAndHarmsNothingThatIsThere) {
  server_.reset();  // and its socket
  const int listening_fd = Listen(address_, 128).value();
  server_ = std::make_unique<StoreServer>(listening_fd, Tokens(kOne), StoreBound{.keys = 2});
  const auto remote = Reach().value();
  remote->set("a", Bytes("x"));
  remote->set("b", Bytes("x"));
  EXPECT_THAT(WhyNot([&] { remote->set("c", Bytes("x")); }), HasSubstr("rank 0's store is full"));
  EXPECT_THAT(WhyNot([&] { remote->queuePush("queue", Bytes("x")); }), HasSubstr("rank 0's store is full"));
  EXPECT_EQ(remote->get("a"), Bytes("x")) << "the connection goes on";
}

TEST_F(MeetingStoreTest, WhatClonesAskAtOnceIsAnsweredToEach) {
  const auto remote = Reach().value();
  remote->setTimeout(std::chrono::milliseconds(1234));
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    const auto own = remote->clone();
    EXPECT_EQ(own->getTimeout(), std::chrono::milliseconds(1234));
    threads.emplace_back([own, i] {
      const std::string key = "key " + std::to_string(i);
      for (int round = 0; round < 100; ++round) {
        const std::vector<uint8_t> value = Bytes(std::to_string(i * 1000 + round));
        own->set(key, value);
        EXPECT_EQ(own->get(key), value);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
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
