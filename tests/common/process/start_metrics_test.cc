#include "common/process/start_metrics.h"

#include "absl/time/clock.h"
#include "common/process/standard_metrics.h"
#include "common/rpc/endpoint_file.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/testing/certificate.h"
#include "tests/testing/http_get.h"
#include "tests/testing/temp_folder.h"

namespace flowawr {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

TEST(StartMetrics, TellsItsAddressInTheFile) {
  const TempFolder folder;
  const auto server = StartMetrics({.metrics = "127.0.0.1:0", .metrics_endpoint_file = folder / "m"}, "test", {});
  ASSERT_TRUE(server.ok()) << server.status();
  EXPECT_EQ(ReadEndpointFile(folder / "m").value_or(""), (*server)->endpoint());
}

// What every process shows is read as Prometheus reads it, in tests/deploy/monitoring_live_test.py.
TEST(StartMetrics, ShowsTheProcessAndWhenItsCertificateExpires) {
  const TempFolder folder;
  v1::NetworkConfig network;
  const auto page = [&network] {
    std::string text;
    for (const auto& family : MakeStandardMetrics(network)->Collect()) text += family.name + "\n";
    return text;
  };
  EXPECT_THAT(page(), HasSubstr("process_resident_memory_bytes"));
  EXPECT_THAT(page(), HasSubstr("flowawr_rpc_rejected_calls_total"));
  EXPECT_THAT(page(), Not(HasSubstr("flowawr_tls_certificate_expiry")));
  network.set_tls_cert(MakeCertificate(folder, "server").cert);
  const auto families = MakeStandardMetrics(network)->Collect();
  ASSERT_EQ(families.back().name, "flowawr_tls_certificate_expiry_timestamp_seconds");
  EXPECT_GT(families.back().metric[0].gauge.value, absl::ToDoubleSeconds(absl::Now() - absl::UnixEpoch()));
}

TEST(StartMetrics, ListensOutsideLoopbackOnlyWhenTold) {
  EXPECT_EQ(StartMetrics({.metrics = "0.0.0.0:0"}, "test", {}).status().code(), absl::StatusCode::kPermissionDenied);
  v1::NetworkConfig network;
  network.set_insecure(true);
  EXPECT_TRUE(StartMetrics({.metrics = "0.0.0.0:0"}, "test", network).ok());
}

TEST(StartMetrics, WantsATokenOutsideLoopbackWhereOneMayDoAnything) {
  const TempFolder folder;
  folder.Write("token", "a-token-with-all-rights\n");
  const auto code = [&](const char* listen, const v1::NetworkConfig& network) {
    const auto server = StartMetrics({.metrics = listen}, "test", network);
    EXPECT_TRUE(server.ok()) << server.status();
    return HttpGet((*server)->endpoint(), "/metrics").code;
  };
  v1::NetworkConfig all, actors, nobody;
  for (v1::NetworkConfig* network : {&all, &actors, &nobody}) network->set_insecure(true);
  all.set_token_file(folder / "token");
  actors.set_actor_token_file(folder / "token");
  EXPECT_EQ(code("0.0.0.0:0", all), 401);
  EXPECT_EQ(code("0.0.0.0:0", actors), 200);  // an actor's own, which probes ask
  EXPECT_EQ(code("0.0.0.0:0", nobody), 200);
  EXPECT_EQ(code("127.0.0.1:0", all), 200);
}

}  // namespace
}  // namespace flowawr
