#include "common/rpc/endpoint_file.h"

#include <filesystem>

#include "common/base/file.h"
#include "common/rpc/peer.h"
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

TEST(Endpoint, TellsWhoIsMeantWhereverItsFolderIsMovedButNotInACopy) {
  const TempFolder folder;
  ASSERT_TRUE(MakeDirectories(folder / "a").ok());
  ASSERT_TRUE(WriteEndpointFile(folder / "a/learner", "127.0.0.1:4711", "abc").ok());
  const auto endpoint = ReadEndpoint(folder / "a/learner");
  ASSERT_TRUE(endpoint.ok()) << endpoint.status();
  EXPECT_EQ(endpoint->address, "127.0.0.1:4711");
  EXPECT_EQ(endpoint->identity, InstanceIdentity("abc"));
  std::filesystem::copy(folder / "a", folder / "copy");
  EXPECT_EQ(ReadEndpoint(folder / "copy/learner").status().code(), absl::StatusCode::kNotFound);
  std::filesystem::rename(folder / "a", folder / "moved");
  EXPECT_TRUE(ReadEndpoint(folder / "moved/learner").ok());
}

TEST(Endpoint, IsNotBelievedWithoutTheProcessThatWroteIt) {
  const TempFolder folder;
  ASSERT_TRUE(WriteEndpointFile(folder / "learner", "127.0.0.1:4711").ok());  // as before there was FILE.process
  EXPECT_EQ(ReadEndpoint(folder / "learner").status().code(), absl::StatusCode::kNotFound);
  ASSERT_TRUE(WriteEndpointFile(folder / "learner", "127.0.0.1:4711", "abc").ok());
  folder.Write("learner", "127.0.0.1:4712\n");  // of another
  EXPECT_EQ(ReadEndpoint(folder / "learner").status().code(), absl::StatusCode::kNotFound);
}

TEST(EndpointFile, GoesWithItsProcessButNotWithThatOfTheNext) {
  const TempFolder folder;
  const std::string path = folder / "learner";
  {
    const auto file = EndpointFile::Write(path, "127.0.0.1:4711", "abc");
    ASSERT_TRUE(file.ok()) << file.status();
    EXPECT_TRUE(ReadEndpoint(path).ok());
  }
  EXPECT_TRUE(std::filesystem::is_empty(folder.path()));
  {
    const auto file = EndpointFile::Write(path, "127.0.0.1:4711", "abc");
    ASSERT_TRUE(WriteEndpointFile(path, "127.0.0.1:4712", "next").ok());
  }
  EXPECT_EQ(ReadEndpoint(path)->identity, InstanceIdentity("next"));
  EXPECT_TRUE(EndpointFile::Write("", "127.0.0.1:4711", "abc").ok());
}

}  // namespace
}  // namespace flowawr
