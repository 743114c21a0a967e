// One learner's services and the fetching of many actors, in this process and over real gRPC: how often the learner
// sends a version, and that every actor has it whatever its peers do.
#include <gtest/gtest.h>
#include <prometheus/text_serializer.h>

#include <atomic>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "actor/learner_client.h"
#include "actor/peer_client.h"
#include "actor/peer_server.h"
#include "actor/policy_fetcher.h"
#include "common/base/sha256.h"
#include "common/rpc/server.h"
#include "learner/policy_service.h"
#include "learner/rollout_service.h"
#include "tests/learner/small_run.h"
#include "tests/testing/bad_peer.h"
#include "tests/testing/certificate.h"
#include "tests/testing/temp_folder.h"

namespace flowawr {
namespace {

constexpr uint64_t kMaxBytes = uint64_t{64} << 20;
constexpr int kActors = 30;
const ComponentFingerprints kModel = {{"transformer", "0123456789abcdef"}};

// An actor as far as it fetches. `peer_endpoint`: where it says that it serves; empty: where it does.
class FetchingActor {
 public:
  FetchingActor(const std::string& learner, const std::string& name, const std::string& peer_endpoint = "",
                const v1::NetworkConfig& network = PeerNetwork())
      : network_(network),
        learner_(LearnerClient::Create(learner, network_, name,
                                       peer_endpoint.empty() ? server_->endpoint() : peer_endpoint)
                     .value()),
        fetcher_({.learner = [this](uint64_t version, uint64_t max,
                                    const auto& failed) { return learner_->FetchPolicy(version, max, failed); },
                  .find = [this](uint64_t version, uint64_t max,
                                 const auto& failed) { return learner_->FindPolicy(version, max, failed); },
                  .peer = [this](const std::string& endpoint, const v1::PolicyVersion& policy, absl::Time give_up) {
                    return peers_.Fetch(endpoint, policy, learner_->fetch_key(), give_up);
                  }},
                 &server_->held(), &metrics_, /*patience=*/absl::Seconds(10)) {
    EXPECT_TRUE(learner_->Register(kModel, "cpu").ok());
    EXPECT_FALSE(learner_->fetch_key().empty());
    server_->held().SetFetchKey(learner_->fetch_key());
  }

  // Whether it then has the right bytes.
  bool Adopt(const v1::PolicyVersion& policy) {
    fetcher_.Announced(policy);
    const absl::StatusOr<FetchedPolicy> fetched = fetcher_.Fetch(policy.version(), kMaxBytes);
    EXPECT_TRUE(fetched.ok()) << fetched.status();
    return fetched.ok() && Sha256(*fetched->bytes) == policy.sha256() && Report(policy).ok();
  }
  absl::Status Report(const v1::PolicyVersion& policy) { return learner_->ReportAdoption(policy, policy.modules()); }
  std::string Page() const { return prometheus::TextSerializer().Serialize(registry_.Collect()); }

 private:
  const v1::NetworkConfig network_;
  prometheus::Registry registry_;
  ActorMetrics metrics_{registry_};
  const std::unique_ptr<PeerServer> server_ = PeerServer::Start("127.0.0.1:0", network_).value();
  const std::unique_ptr<LearnerClient> learner_;
  PeerClient peers_{network_, /*longest_silence=*/absl::Seconds(1)};
  PolicyFetcher fetcher_;
};

class FanOutFleetTest : public testing::Test {
 protected:
  // `network`: the learner's.
  explicit FanOutFleetTest(const v1::NetworkConfig& network = PeerNetwork())
      : server_(RpcServer::Start({.listen = "127.0.0.1:0", .network = network}, {&rollout_, &policies_}).value()),
        policy_(desk_.policies.Publish(LoraAdapter::Initialise(Layout(), 1), v1::BEHAVIOUR_POLICY, 0)
                    .value()
                    ->header.policy()) {}
  ~FanOutFleetTest() override {
    actors_.clear();
    desk_.Stop();
    server_->Shutdown(absl::ZeroDuration());
  }

  // Some megabytes, so that a transfer is several messages.
  static std::shared_ptr<const LoraLayout> Layout() {
    return std::make_shared<const LoraLayout>(LoraLayout{
        16, 32, {{"transformer_blocks.0.attn.to_q", 8192, 8192}, {"transformer_blocks.0.attn.to_k", 8192, 8192}}});
  }

  // Actors whose peers are bad: they have the version, as they say, and serve at these addresses.
  void JoinBad(const std::vector<std::string>& endpoints) {
    for (const std::string& endpoint : endpoints) {
      bad_.push_back(std::make_unique<FetchingActor>(server_->endpoint(), absl::StrCat("bad-", bad_.size()), endpoint));
      EXPECT_TRUE(bad_.back()->Report(policy_).ok());
    }
  }

  // All at once; returns how many had the right bytes in the end.
  int AdoptAll(const v1::NetworkConfig& network = PeerNetwork()) {
    for (int i = 0; i < kActors; ++i)
      actors_.push_back(std::make_unique<FetchingActor>(server_->endpoint(), absl::StrCat("a", i), "", network));
    std::atomic<int> adopted = 0;
    std::vector<std::thread> threads;
    for (const auto& actor : actors_) threads.emplace_back([&] { adopted += actor->Adopt(policy_); });
    for (std::thread& thread : threads) thread.join();
    return adopted;
  }

  // By the learner's own count.
  int Copies() const {
    for (const auto& family : desk_.registry.Collect())
      if (family.name == "flowawr_learner_policy_fetches_total")
        for (const auto& metric : family.metric)
          if (metric.label.front().value == "learner") return static_cast<int>(metric.counter.value);
    return -1;
  }
  double Failures(const std::string& cause) const {
    double failures = 0;
    for (const auto& actor : actors_) {
      const std::string page = actor->Page(), line = absl::StrCat("peer_failures_total{cause=\"", cause, "\"} ");
      const size_t at = page.find(line);
      if (at != std::string::npos) failures += std::stod(page.substr(at + line.size()));
    }
    return failures;
  }

  SmallDesk desk_;
  IdleWatch idle_{absl::Seconds(30)};
  RunModel model_{kModel};
  RolloutService rollout_{{"run-1", v1::RunConfig(), "", absl::Seconds(2)}, &model_, &desk_.leases, &desk_.fan_out,
                          &idle_};
  PolicyService policies_{&desk_.policies, &desk_.leases, &desk_.fan_out, &idle_};
  std::unique_ptr<RpcServer> server_;
  const v1::PolicyVersion policy_;
  std::vector<std::unique_ptr<FetchingActor>> bad_, actors_;
};

TEST_F(FanOutFleetTest, ThirtyActorsGetAVersionOfWhichTheLearnerSendsTenCopiesAtMost) {
  EXPECT_EQ(AdoptAll(), kActors);
  EXPECT_LE(Copies(), kCopies);
  EXPECT_GT(Copies(), 0);
}

TEST_F(FanOutFleetTest, DeadPeersKeepNobodyFromIt) {
  BadPeer dead([](auto&, auto&) { return grpc::Status::OK; });
  const std::string endpoint = dead.endpoint();
  dead.Close();
  JoinBad({endpoint, endpoint});
  EXPECT_EQ(AdoptAll(), kActors);
  EXPECT_LE(Copies(), kCopies);
  EXPECT_GT(Failures("unreachable"), 0);
}

TEST_F(FanOutFleetTest, WrongBytesAreFoundOutAndCounted) {
  const std::string other = LoraAdapter::Initialise(Layout(), 2).SerializePeft().value();
  BadPeer liar([&](auto& writer, auto&) {
    v1::FetchPolicyResponse part;
    *part.mutable_header() = desk_.policies.Find(1)->header;
    writer.Write(part);
    for (uint64_t offset = 0; offset < other.size(); offset += kMaxChunkBytes) {
      *part.mutable_chunk() = ChunkAt(other, offset);
      writer.Write(part);
    }
    return grpc::Status::OK;
  });
  JoinBad({liar.endpoint()});
  EXPECT_EQ(AdoptAll(), kActors);
  EXPECT_EQ(Failures("wrong_bytes"), liar.asked());
  EXPECT_GT(liar.asked(), 0);
  EXPECT_LE(Copies(), kCopies);
}

TEST_F(FanOutFleetTest, APeerThatHangsIsGivenUp) {
  BadPeer hanging([](auto&, auto& closed) { return BadPeer::Hang(closed); });
  JoinBad({hanging.endpoint()});
  EXPECT_EQ(AdoptAll(), kActors);
  EXPECT_GT(Failures("silent"), 0);
  EXPECT_LE(Copies(), kCopies);
}

TEST_F(FanOutFleetTest, APeerThatForgotTheVersionSaysSo) {
  JoinBad({"", ""});  // theirs serve, and hold nothing
  EXPECT_EQ(AdoptAll(), kActors);
  EXPECT_GT(Failures("not_held"), 0);
  EXPECT_LE(Copies(), kCopies);
}

TEST_F(FanOutFleetTest, WithNothingButBadPeersTheLearnerSendsTheCopies) {
  BadPeer liar([](auto&, auto&) { return grpc::Status(grpc::StatusCode::INTERNAL, "broken"); });
  JoinBad(std::vector<std::string>(4, liar.endpoint()));
  for (int i = 0; i < kCopies; ++i) {
    FetchingActor gone(server_->endpoint(), absl::StrCat("gone-", i), liar.endpoint());
    EXPECT_TRUE(gone.Adopt(policy_));
  }
  FetchingActor last(server_->endpoint(), "last", liar.endpoint());
  EXPECT_TRUE(last.Adopt(policy_));
  EXPECT_GT(Copies(), kCopies);
}

// Of a fleet with one authority. The certificate that all actors share names none of their addresses.
struct FleetFiles {
  TempFolder folder;
  Certificate authority = MakeAuthority(folder, "authority");
  Certificate learner = SignCertificate(folder, authority, "learner", "serverAuth", "IP:127.0.0.1");
  Certificate actors = SignCertificate(folder, authority, "actors", "serverAuth,clientAuth", "DNS:actors.flowawr");

  v1::NetworkConfig NetworkWith(const Certificate& certificate) const {
    v1::NetworkConfig network = PeerNetwork();
    network.set_tls_cert(certificate.cert);
    network.set_tls_key(certificate.key);
    network.set_tls_ca(authority.cert);
    network.set_mutual_tls(true);
    return network;
  }
};

class FanOutFleetWithTlsTest : protected FleetFiles, public FanOutFleetTest {
 protected:
  FanOutFleetWithTlsTest() : FanOutFleetTest(NetworkWith(learner)) {}
};

TEST_F(FanOutFleetWithTlsTest, ActorsThatShareACertificateFetchFromEachOtherByItsName) {
  v1::NetworkConfig network = NetworkWith(actors);
  network.set_peer_tls_name("actors.flowawr");
  EXPECT_EQ(AdoptAll(network), kActors);
  EXPECT_LE(Copies(), kCopies);
  EXPECT_EQ(Failures("refused") + Failures("unreachable"), 0);
}

TEST_F(FanOutFleetWithTlsTest, WithoutTheNameEveryActorGetsTheLearnersCopy) {
  EXPECT_EQ(AdoptAll(NetworkWith(actors)), kActors);
  EXPECT_EQ(Copies(), kActors);
  EXPECT_GT(Failures("refused"), 0);
}

}  // namespace
}  // namespace flowawr
