#include "common/rpc/endpoint_file.h"

#include "gtest/gtest.h"
#include "tests/testing/temp_folder.h"

namespace flowawr {
namespace {

TEST(EndpointFile, GivesBackWhatWasWritten) {
  const TempFolder folder;
  ASSERT_TRUE(WriteEndpointFile(folder / "endpoint", "127.0.0.1:4711").ok());
  EXPECT_EQ(ReadEndpointFile(folder / "endpoint").value(), "127.0.0.1:4711");
}

TEST(EndpointFile, IsNotFoundBeforeTheServerListens) {
  const TempFolder folder;
  EXPECT_EQ(ReadEndpointFile(folder / "endpoint").status().code(), absl::StatusCode::kNotFound);
}

TEST(EndpointFile, RefusesWhatIsNoAddress) {
  const TempFolder folder;
  const auto read = ReadEndpointFile(folder.Write("endpoint", "hello\n"));
  EXPECT_EQ(read.status().code(), absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace flowawr
