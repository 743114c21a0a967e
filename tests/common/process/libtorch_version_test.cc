#include "common/process/libtorch_version.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace flowawr {
namespace {

TEST(CheckLibTorchVersion, RefusesAnOlderOne) {
  for (const char* config :
       {"..., TORCH_VERSION=2.11.0, USE_CUDA=0", "TORCH_VERSION=2.12.1+cpu\n", "TORCH_VERSION=1.13.0"}) {
    const absl::Status status = CheckLibTorchVersion("2.13.0", config);
    EXPECT_TRUE(absl::IsFailedPrecondition(status)) << config;
    EXPECT_THAT(std::string(status.message()), testing::HasSubstr("older than 2.13.0"));
  }
  EXPECT_THAT(std::string(CheckLibTorchVersion("2.13.0", "TORCH_VERSION=2.11.0+cu130, USE_CUDA=1").message()),
              testing::HasSubstr("LibTorch 2.11.0+cu130 is older"));
}

TEST(CheckLibTorchVersion, TakesTheSameAndNewerOnesAndThoseThatDoNotSay) {
  for (const char* config : {"TORCH_VERSION=2.13.0, USE_CUDA=0", "TORCH_VERSION=2.13.1", "TORCH_VERSION=2.14.0",
                             "TORCH_VERSION=3.0.0", "PyTorch built with: GCC", "TORCH_VERSION=unknown", ""})
    EXPECT_TRUE(CheckLibTorchVersion("2.13.0", config).ok()) << config;
}

TEST(CheckLibTorch, TakesTheOneThatThisWasBuiltWith) { EXPECT_TRUE(CheckLibTorch().ok()); }

}  // namespace
}  // namespace flowawr
