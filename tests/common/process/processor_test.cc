#include "common/process/processor.h"

#include <ATen/Version.h>
#include <ATen/ops/conv2d.h>
#include <ATen/ops/ones.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <cstdlib>
#include <string>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "common/base/usable_cores.h"
#include "common/process/command_line.h"
#include "common/process/exit_code.h"

namespace flowawr {
namespace {

using kernels::InstructionSet;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

// In a process of its own, as it can be done once only.
[[noreturn]] void SayWhatLibTorchUses(const std::string& name) {
  setenv("FLOWAWR_CPU", name.c_str(), 1);
  setenv("ATEN_CPU_CAPABILITY", "avx512", 1);  // one switch: it wins over what was there
  setenv("ONEDNN_VERBOSE", "1", 1);
  const absl::Status status = RestrictProcessor();
  std::fprintf(stderr, "status %s, capability %s, kernels %s, %s\n", std::string(status.message()).c_str(),
               at::get_cpu_capability().c_str(), std::string(kernels::NameOf(kernels::ActiveInstructionSet())).c_str(),
               DescribeProcessor().c_str());
  dup2(STDERR_FILENO, STDOUT_FILENO);  // where oneDNN says what it uses
  at::conv2d(at::ones({4, 64, 32, 32}), at::ones({64, 64, 3, 3}));  // LibTorch gives it to oneDNN
  std::fflush(stdout);
  std::exit(0);
}

TEST(RestrictProcessorTest, KeepsLibTorchToWhatTheKernelsUse) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  for (const InstructionSet set : kernels::AvailableInstructionSets()) {
    if (RestrictionsOf(set).empty()) continue;
    const std::string name(kernels::NameOf(set)), capability = absl::AsciiStrToUpper(RestrictionsOf(set)[0].second);
    EXPECT_EXIT(SayWhatLibTorchUses(name), ::testing::ExitedWithCode(0),
                absl::StrCat("status , capability ", capability, ", kernels ", name, ", instruction set ", name,
                             " \\(FLOWAWR_CPU\\), "));
  }
}

TEST(RestrictProcessorTest, KeepsOneDnnToIt) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  for (const InstructionSet set : kernels::AvailableInstructionSets()) {
    const std::string name(kernels::NameOf(set));
    if (set == InstructionSet::kAvx2) {
      EXPECT_EXIT(SayWhatLibTorchUses(name), ::testing::ExitedWithCode(0), "isa:Intel AVX2\n");
    }
    if (set == InstructionSet::kAvx512) {
      EXPECT_EXIT(SayWhatLibTorchUses(name), ::testing::ExitedWithCode(0), "isa:Intel AVX-512 with.*AVX512BW");
    }
  }
}

TEST(RestrictProcessorTest, SaysThatAMisspellingIsWrongUsage) {
  setenv("FLOWAWR_CPU", "avx-2", 1);
  CLI::App app("Does nothing", "program");
  const char* const arguments[] = {"program"};
  testing::internal::CaptureStderr();
  const auto exit_code = ParseCommandLine(app, 1, arguments);
  EXPECT_THAT(testing::internal::GetCapturedStderr(), HasSubstr("did you mean avx2?"));
  unsetenv("FLOWAWR_CPU");
  EXPECT_EQ(exit_code, kUsageExitCode);
  EXPECT_FALSE(ParseCommandLine(app, 1, arguments).has_value());
}

TEST(DescribeProcessorTest, NamesInstructionsAndCores) {
  EXPECT_THAT(DescribeProcessor(), HasSubstr(absl::StrCat(kernels::NameOf(kernels::ActiveInstructionSet()), ", ",
                                                          UsableCoresHere().Describe())));
}

TEST(SlowBfloat16Test, IsSaidWhereThereAreNoInstructionsForIt) {
  for (const InstructionSet set : kernels::AvailableInstructionSets()) {
    const kernels::ScopedInstructionSet restricted(set);
    if (set == InstructionSet::kAvx512Bf16) {
      EXPECT_THAT(SlowBfloat16(), IsEmpty());
    } else {
      EXPECT_THAT(SlowBfloat16(), HasSubstr(absl::StrCat("instruction set ", kernels::NameOf(set))));
    }
  }
}

}  // namespace
}  // namespace flowawr
