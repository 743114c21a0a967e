#include "common/process/start_metrics.h"

#include "common/rpc/endpoint_file.h"
#include "gtest/gtest.h"
#include "tests/testing/temp_folder.h"

namespace flowawr {
namespace {

TEST(StartMetrics, TellsItsAddressInTheFile) {
  const TempFolder folder;
  const auto server = StartMetrics({.metrics = "127.0.0.1:0", .metrics_endpoint_file = folder / "m"}, "test", false);
  ASSERT_TRUE(server.ok()) << server.status();
  EXPECT_EQ(ReadEndpointFile(folder / "m").value_or(""), (*server)->endpoint());
}

TEST(StartMetrics, ListensOutsideLoopbackOnlyWhenTold) {
  EXPECT_EQ(StartMetrics({.metrics = "0.0.0.0:0"}, "test", false).status().code(), absl::StatusCode::kPermissionDenied);
  EXPECT_TRUE(StartMetrics({.metrics = "0.0.0.0:0"}, "test", true).ok());
}

}  // namespace
}  // namespace flowawr
