// PeerServer and PeerClient over real gRPC, and peers that do not do what they should.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <memory>
#include <string>
#include <thread>

#include "absl/synchronization/notification.h"
#include "absl/time/clock.h"
#include "actor/peer_client.h"
#include "actor/peer_server.h"
#include "common/base/clock.h"
#include "common/base/listen.h"
#include "common/rpc/channel.h"
#include "common/rpc/fetch_ticket.h"
#include "tests/testing/bad_peer.h"
#include "tests/testing/certificate.h"
#include "tests/testing/temp_folder.h"

namespace flowawr {
namespace {

using ::testing::HasSubstr;

// Of three messages.
std::string LargeBytes(char last) {
  std::string bytes(2'500'000, 'x');
  bytes.back() = last;
  return bytes;
}

FetchedPolicy MakePolicy(const std::string& bytes) {
  FetchedPolicy policy;
  policy.bytes = std::make_shared<const std::string>(bytes);
  *policy.header.mutable_blob() = MakeBlobHeader(bytes);
  policy.header.mutable_policy()->set_version(7);
  policy.header.mutable_policy()->set_role(v1::BEHAVIOUR_POLICY);
  policy.header.mutable_policy()->set_sha256(policy.header.blob().sha256());
  policy.header.mutable_policy()->set_size(bytes.size());
  policy.header.set_rank(16);
  policy.header.set_alpha(32);
  return policy;
}

class PeerTest : public ::testing::Test {
 protected:
  PeerTest() { server_->held().SetFetchKey(kKey); }

  static constexpr char kKey[] = "the learner's";
  absl::Status Fetch(const std::string& endpoint, const std::string& key = kKey) {
    return client_.Fetch(endpoint, policy_.header.policy(), key).status();
  }

  static v1::FetchPolicyResponse Header(const FetchedPolicy& policy) {
    v1::FetchPolicyResponse part;
    *part.mutable_header() = policy.header;
    return part;
  }
  static v1::FetchPolicyResponse Chunk(const std::string& bytes, uint64_t offset) {
    v1::FetchPolicyResponse part;
    *part.mutable_chunk() = ChunkAt(bytes, offset);
    return part;
  }

  // Of an actor with this certificate that trusts `authority` and shows who it is.
  static v1::NetworkConfig TlsNetwork(const Certificate& certificate, const Certificate& authority,
                                      const std::string& peer_tls_name) {
    v1::NetworkConfig network = PeerNetwork();
    network.set_tls_cert(certificate.cert);
    network.set_tls_key(certificate.key);
    network.set_tls_ca(authority.cert);
    network.set_mutual_tls(true);
    network.set_peer_tls_name(peer_tls_name);
    return network;
  }

  const FetchedPolicy policy_ = MakePolicy(LargeBytes('z'));
  const std::unique_ptr<PeerServer> server_ = PeerServer::Start("127.0.0.1:0", PeerNetwork()).value();
  PeerClient client_{PeerNetwork(), /*longest_silence=*/absl::Seconds(1)};
};

TEST_F(PeerTest, GivesWhatItHolds) {
  server_->held().Add(policy_);
  FetchedPolicy told = policy_;
  told.header.mutable_policy()->set_version(8);  // the same bytes may be published again
  const auto fetched = client_.Fetch(server_->endpoint(), told.header.policy(), kKey);
  ASSERT_TRUE(fetched.ok()) << fetched.status();
  EXPECT_EQ(*fetched->bytes, *policy_.bytes);
  EXPECT_EQ(fetched->header.policy().version(), 8u);
  EXPECT_EQ(fetched->header.rank(), 16);
  EXPECT_EQ(fetched->header.alpha(), 32);
}

TEST_F(PeerTest, HoldsTheNewestTwo) {
  server_->held().Add(policy_);
  server_->held().Add(MakePolicy("second"));
  EXPECT_TRUE(Fetch(server_->endpoint()).ok());
  server_->held().Add(MakePolicy("second"));
  EXPECT_TRUE(Fetch(server_->endpoint()).ok());
  server_->held().Add(MakePolicy("third"));
  const absl::Status gone = Fetch(server_->endpoint());
  EXPECT_EQ(gone.code(), absl::StatusCode::kNotFound);
  EXPECT_STREQ(PeerFailure(gone), "not_held");
}

TEST_F(PeerTest, GivesNothingWithoutATicketByTheLearnersKey) {
  server_->held().Add(policy_);
  for (const char* key : {"", "another's"}) {
    const absl::Status refused = Fetch(server_->endpoint(), key);
    EXPECT_EQ(refused.code(), absl::StatusCode::kPermissionDenied) << key;
    EXPECT_STREQ(PeerFailure(refused), "refused");
  }
  EXPECT_TRUE(Fetch(server_->endpoint()).ok());
  // The ticket for one adapter is none for another.
  const FetchedPolicy other = MakePolicy("second");
  server_->held().Add(other);
  const auto stub = v1::PolicyPeer::NewStub(MakeChannel(server_->endpoint(), PeerNetwork()).value());
  const auto context = MakeContext(absl::Minutes(1), PeerNetwork());
  ShowTicket(kKey, policy_.header.blob().sha256(), context.get());
  v1::FetchAdapterRequest request;
  request.set_sha256(other.header.blob().sha256());
  const auto stream = stub->FetchAdapter(context.get(), request);
  v1::FetchPolicyResponse part;
  EXPECT_FALSE(stream->Read(&part));
  EXPECT_EQ(stream->Finish().error_code(), grpc::StatusCode::PERMISSION_DENIED);
  server_->held().SetFetchKey("");  // of a learner that gives none
  EXPECT_EQ(Fetch(server_->endpoint(), "").code(), absl::StatusCode::kPermissionDenied);
}

TEST_F(PeerTest, ShowsATicketAndNoToken) {
  const TempFolder folder;
  v1::NetworkConfig network = PeerNetwork();
  network.set_token_file(folder.Write("token", "a token of all rights\n"));
  network.set_actor_token_file(folder.Write("actor-token", "an actor's own token\n"));
  const BadPeer peer([](auto&, auto&) { return grpc::Status(grpc::StatusCode::NOT_FOUND, "it only listens"); });
  PeerClient client(network);
  EXPECT_EQ(client.Fetch(peer.endpoint(), policy_.header.policy(), kKey).status().code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(peer.shown(), testing::Contains("flowawr-fetch-ticket-bin"));
  EXPECT_THAT(peer.shown(), testing::Not(testing::Contains("authorization")));
  // Nor does it ask for one.
  const auto server = PeerServer::Start("127.0.0.1:0", network).value();
  server->held().SetFetchKey(kKey);
  server->held().Add(policy_);
  EXPECT_TRUE(client.Fetch(server->endpoint(), policy_.header.policy(), kKey).ok());
}

TEST_F(PeerTest, TakesNoLongerThanItMay) {
  const BadPeer drips([this](auto& writer, auto& closed) {
    writer.Write(Header(policy_));
    for (uint64_t at = 0; !closed.HasBeenNotified() && at + 1 < policy_.bytes->size(); ++at) {
      v1::FetchPolicyResponse part;
      part.mutable_chunk()->set_offset(at);
      part.mutable_chunk()->set_data(policy_.bytes->substr(at, 1));
      if (!writer.Write(part)) break;
      absl::SleepFor(absl::Milliseconds(20));
    }
    return grpc::Status::CANCELLED;
  });
  const absl::Status late =
      client_.Fetch(drips.endpoint(), policy_.header.policy(), kKey, MonotonicNow() + absl::Milliseconds(200)).status();
  EXPECT_STREQ(PeerFailure(late), "silent") << late;
}

TEST_F(PeerTest, NamesTheFailure) {
  const std::string other = LargeBytes('y');
  struct Row {
    const char* what;
    const char* failure;
    BadPeer::Act act;
  };
  const Row rows[] = {
      {"another adapter", "wrong_bytes",
       [&](auto& writer, auto&) {
         writer.Write(Header(MakePolicy(other)));
         return grpc::Status::OK;
       }},
      {"other bytes under the right digest", "wrong_bytes",
       [&](auto& writer, auto&) {
         writer.Write(Header(policy_));
         for (uint64_t at = 0; at < other.size(); at += kMaxChunkBytes) writer.Write(Chunk(other, at));
         return grpc::Status::OK;
       }},
      {"too much", "wrong_bytes",
       [&](auto& writer, auto& closed) {
         FetchedPolicy large = policy_;
         large.header.mutable_blob()->set_size(uint64_t{1} << 40);
         writer.Write(Header(large));
         return BadPeer::Hang(closed);
       }},
      {"half of it", "wrong_bytes",
       [&](auto& writer, auto&) {
         writer.Write(Header(policy_));
         writer.Write(Chunk(*policy_.bytes, 0));
         return grpc::Status::OK;
       }},
      {"nothing", "silent", [](auto&, auto& closed) { return BadPeer::Hang(closed); }},
      {"half of it, and then nothing", "silent",
       [&](auto& writer, auto& closed) {
         writer.Write(Header(policy_));
         writer.Write(Chunk(*policy_.bytes, 0));
         return BadPeer::Hang(closed);
       }},
      {"a refusal", "refused",
       [](auto&, auto&) { return grpc::Status(grpc::StatusCode::RESOURCE_EXHAUSTED, "busy"); }},
  };
  for (const Row& row : rows) {
    const BadPeer peer(row.act);
    const absl::Status status = Fetch(peer.endpoint());
    EXPECT_FALSE(status.ok()) << row.what;
    EXPECT_STREQ(PeerFailure(status), row.failure) << row.what << ": " << status;
  }
  const std::string nobody = BadPeer([](auto&, auto&) { return grpc::Status::OK; }).endpoint();
  EXPECT_STREQ(PeerFailure(Fetch(nobody)), "unreachable");
}

TEST_F(PeerTest, ServesOnlyWithEncryptionOutsideLoopback) {
  EXPECT_EQ(PeerServer::Start("0.0.0.0:0", v1::NetworkConfig()).status().code(), absl::StatusCode::kPermissionDenied);
  v1::NetworkConfig insecure;
  insecure.set_insecure(true);
  const auto open = PeerServer::Start("0.0.0.0:0", insecure);
  ASSERT_TRUE(open.ok()) << open.status();
  EXPECT_THAT((*open)->endpoint(), HasSubstr("0.0.0.0:"));  // the learner puts in from where the actor calls
}

TEST_F(PeerTest, WithTlsAPeersCertificateCarriesTheNameThatIsSetOrItsAddress) {
  const TempFolder folder;
  const Certificate authority = MakeAuthority(folder, "authority");
  const auto sign = [&](const std::string& name, const std::string& names) {
    return SignCertificate(folder, authority, name, "serverAuth,clientAuth", names);
  };
  const Certificate shared = sign("shared", "DNS:actors.flowawr"), other = sign("other", "DNS:rewards.flowawr"),
                    of_address = sign("of-address", "IP:127.0.0.1"),
                    strange = MakeCertificate(folder, "strange", "DNS:actors.flowawr");
  const auto fetch = [&](const Certificate& peers, const std::string& peer_tls_name) {
    const auto server = PeerServer::Start("127.0.0.1:0", TlsNetwork(peers, authority, "")).value();
    server->held().SetFetchKey(kKey);
    server->held().Add(policy_);
    PeerClient client(TlsNetwork(shared, authority, peer_tls_name));
    return client.Fetch(server->endpoint(), policy_.header.policy(), kKey).status();
  };
  EXPECT_EQ(fetch(shared, "actors.flowawr"), absl::OkStatus());
  EXPECT_EQ(fetch(of_address, ""), absl::OkStatus());
  const struct {
    const char* what;
    absl::Status status;
    const char* why;
  } refused[] = {
      {"no name set", fetch(shared, ""), "does not name 127.0.0.1; use a name that it has (network.peer_tls_name)"},
      {"another's certificate", fetch(other, "actors.flowawr"), "does not name actors.flowawr"},
      {"the address alone", fetch(of_address, "actors.flowawr"), "does not name actors.flowawr"},
      {"another authority", fetch(strange, "actors.flowawr"), "its certificate is not trusted"},
  };
  for (const auto& row : refused) {
    EXPECT_EQ(row.status.code(), absl::StatusCode::kPermissionDenied) << row.what << ": " << row.status;
    EXPECT_STREQ(PeerFailure(row.status), "refused") << row.what;
    EXPECT_THAT(std::string(row.status.message()), HasSubstr(row.why)) << row.what;
  }
}

TEST_F(PeerTest, OfAPeerThatWasReachedBeforeTlsIsNotWhatIsWrong) {
  const TempFolder folder;
  std::unique_ptr<PeerServer> server = PeerServer::Start("127.0.0.1:0", PeerNetwork()).value();
  const std::string endpoint = server->endpoint();
  EXPECT_STREQ(PeerFailure(Fetch(endpoint)), "refused") << "it has answered, with what it has not got";
  server.reset();
  const Certificate own = MakeCertificate(folder, "own", "IP:127.0.0.1");
  server = PeerServer::Start(endpoint, TlsNetwork(own, own, "")).value();
  EXPECT_STREQ(PeerFailure(Fetch(endpoint)), "unreachable");
  PeerClient another(PeerNetwork());
  const absl::Status first = another.Fetch(endpoint, policy_.header.policy(), kKey).status();
  EXPECT_THAT(std::string(first.message()), HasSubstr("it speaks TLS, and this client does not")) << first;
}

// Hangs up on the first to call, and says nothing to others.
TEST_F(PeerTest, ItsTlsIsNotAskedForLong) {
  const int listening_fd = Listen({"127.0.0.1", 0}, /*backlog=*/8).value();
  const std::string endpoint = BoundTo(listening_fd).ToString();
  std::thread hangs_up([listening_fd] { close(accept(listening_fd, nullptr, nullptr)); });
  PeerClient client(PeerNetwork(), /*longest_silence=*/absl::Minutes(1));
  const absl::Time since = MonotonicNow();
  const absl::Status gone = client.Fetch(endpoint, policy_.header.policy(), kKey).status();
  EXPECT_STREQ(PeerFailure(gone), "unreachable") << gone;
  EXPECT_LT(MonotonicNow() - since, absl::Seconds(50)) << "it had the patience of a fetch";
  hangs_up.join();
  close(listening_fd);
}

TEST_F(PeerTest, AnActorWhoseCertificateNobodyWouldTakeDoesNotServe) {
  const TempFolder folder;
  const Certificate certificate = MakeCertificate(folder, "own", "DNS:rewards.flowawr");
  const absl::Status status =
      PeerServer::Start("127.0.0.1:0", TlsNetwork(certificate, certificate, "actors.flowawr")).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << status;
  EXPECT_THAT(std::string(status.message()),
              HasSubstr("network.tls_cert: " + certificate.cert + " does not name actors.flowawr"));
}

TEST_F(PeerTest, EndsAFetchThatIsNotWantedAnyMore) {
  absl::Notification called;
  const BadPeer peer([&](auto&, auto& closed) {
    called.Notify();
    return BadPeer::Hang(closed);
  });
  PeerClient client{PeerNetwork(), /*longest_silence=*/absl::Hours(1)};
  std::thread stopper([&] {
    called.WaitForNotification();
    client.Cancel();
  });
  EXPECT_EQ(client.Fetch(peer.endpoint(), policy_.header.policy(), kKey).status().code(), absl::StatusCode::kCancelled);
  stopper.join();
}

}  // namespace
}  // namespace flowawr
