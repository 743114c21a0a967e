#include "common/process/start_metrics.h"

#include <map>
#include <string>

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

TEST(CardMetrics, AreThoseThatTheCardsTell) {
  const CardState whole{.utilization = 0.5,
                        .power_watts = 350,
                        .temperature_celsius = 61,
                        .memory_bytes = int64_t{80} << 30,
                        .used_memory_bytes = int64_t{70} << 30,
                        .throttling = Throttling{.hardware_thermal = true},
                        .received_bytes = 7,
                        .sent_bytes = 8};
  std::map<std::string, std::string> page;
  for (const auto& family : CardMetrics({{"cuda:0", whole}, {"cuda:1", {.power_watts = 90}}}))
    for (const auto& metric : family.metric) {
      std::string labels;
      for (const auto& label : metric.label) labels += label.value + " ";
      page[family.name] +=
          labels + std::to_string(static_cast<int64_t>((metric.gauge.value + metric.counter.value) * 10)) + "; ";
    }
  EXPECT_EQ(page["flowawr_device_utilization_ratio"], "cuda:0 5; ");
  EXPECT_EQ(page["flowawr_device_power_watts"], "cuda:0 3500; cuda:1 900; ");
  EXPECT_EQ(page["flowawr_device_bus_bytes_total"], "cuda:0 up 70; cuda:0 down 80; ");
  EXPECT_EQ(page["flowawr_device_throttled"],
            "cuda:0 power_cap 0; cuda:0 software_thermal 0; cuda:0 hardware_thermal 10; cuda:0 power_brake 0; cuda:0 "
            "hardware 0; ");
  EXPECT_EQ(page.size(), 7);
  EXPECT_TRUE(CardMetrics({}).empty());
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
