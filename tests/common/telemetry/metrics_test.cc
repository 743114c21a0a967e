#include "common/telemetry/metrics.h"

#include <string>
#include <vector>

#include "absl/cleanup/cleanup.h"
#include "common/base/version.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "prometheus/counter.h"
#include "tests/testing/loopback_socket.h"

namespace flowawr {
namespace {

using ::testing::HasSubstr;

// GET /metrics as Prometheus does it.
std::string Scrape(int port) {
  const int fd = ConnectTo(port);
  absl::Cleanup close_fd = [fd] { close(fd); };
  const std::string request = "GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
  if (write(fd, request.data(), request.size()) != static_cast<ssize_t>(request.size())) return "";
  std::string response;
  char buffer[4096];
  for (ssize_t got; (got = read(fd, buffer, sizeof(buffer))) > 0;) response.append(buffer, got);
  return response;
}

TEST(MetricsServer, ShowsWhatItsRegistryHolds) {
  const auto server = MetricsServer::Start("127.0.0.1:0", "learner");
  ASSERT_TRUE(server.ok()) << server.status();
  prometheus::BuildCounter().Name("flowawr_groups_total").Register((*server)->registry()).Add({}).Increment(3);
  EXPECT_EQ((*server)->endpoint(), "127.0.0.1:" + std::to_string((*server)->port()));
  const std::string page = Scrape((*server)->port());
  EXPECT_THAT(page, HasSubstr("flowawr_groups_total 3"));
  EXPECT_THAT(page, HasSubstr("flowawr_build_info{process=\"learner\",version=\"" + std::string(Version()) + "\"} 1"));
}

TEST(MetricsServer, SaysThatThePortIsTaken) {
  const auto first = MetricsServer::Start("127.0.0.1:0", "a");
  ASSERT_TRUE(first.ok()) << first.status();
  const absl::Status second = MetricsServer::Start((*first)->endpoint(), "b").status();
  EXPECT_EQ(second.code(), absl::StatusCode::kAlreadyExists) << second;
  EXPECT_THAT(std::string(second.message()), HasSubstr((*first)->endpoint()));
}

TEST(MetricsServer, RefusesToListenOutsideLoopbackUnlessTold) {
  const absl::Status status = MetricsServer::Start("0.0.0.0:0", "a").status();
  EXPECT_EQ(status.code(), absl::StatusCode::kPermissionDenied) << status;
  EXPECT_EQ(MetricsServer::Start("localhost", "a").status().code(), absl::StatusCode::kInvalidArgument);
}

// Clients that connect and then send nothing, or one byte of a request, for as long as this lives.
class SlowClients {
 public:
  SlowClients(int port, int count) {
    for (int i = 0; i < count; ++i) {
      sockets_.push_back(ConnectTo(port));
      EXPECT_GE(sockets_.back(), 0) << "client " << i;
      if (i % 2 == 1) {
        EXPECT_EQ(write(sockets_.back(), "G", 1), 1);
      }
    }
  }
  ~SlowClients() {
    for (const int fd : sockets_) close(fd);
  }

 private:
  std::vector<int> sockets_;
};

TEST(MetricsServer, ServesOthersBesideSlowClients) {
  const auto server = MetricsServer::Start("127.0.0.1:0", "a");
  ASSERT_TRUE(server.ok()) << server.status();
  const SlowClients few((*server)->port(), 3);
  EXPECT_THAT(Scrape((*server)->port()), HasSubstr("flowawr_build_info"));
}

TEST(MetricsServer, EndsManySlowClients) {
  const auto server = MetricsServer::Start("127.0.0.1:0", "a");
  ASSERT_TRUE(server.ok()) << server.status();
  const SlowClients many((*server)->port(), 24);
  EXPECT_THAT(Scrape((*server)->port()), HasSubstr("flowawr_build_info"));  // after them, not never
}

}  // namespace
}  // namespace flowawr
