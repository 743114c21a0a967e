#include "common/nn/instruction_set.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "common/nn/bf16.h"

namespace flowawr::kernels {
namespace {

using testing::HasSubstr;

TEST(InstructionSetTest, AcceptsTheNamesOfWhatIsAvailable) {
  ASSERT_FALSE(AvailableInstructionSets().empty());
  EXPECT_TRUE(CheckInstructionSetName("").ok());
  for (const InstructionSet set : AvailableInstructionSets()) {
    EXPECT_TRUE(CheckInstructionSetName(NameOf(set)).ok()) << NameOf(set);
  }
}

TEST(InstructionSetTest, NamesTheNearestWordForAMisspelling) {
  const absl::Status status = CheckInstructionSetName("avx-2");
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(status.message()), HasSubstr("FLOWAWR_CPU=avx-2"));
  EXPECT_THAT(std::string(status.message()), HasSubstr("did you mean avx2?"));
  EXPECT_THAT(std::string(status.message()), HasSubstr(std::string(NameOf(AvailableInstructionSets().front()))));
}

TEST(InstructionSetTest, NamesTheRightSpellingOfCapitals) {
  for (const char* name : {"AVX2", " avx2"})
    EXPECT_THAT(std::string(CheckInstructionSetName(name).message()), HasSubstr("did you mean avx2?")) << name;
}

TEST(InstructionSetTest, RefusesWhatTheProcessorDoesNotHave) {
#if defined(__x86_64__)
  constexpr absl::string_view kForeign = "neon";
#else
  constexpr absl::string_view kForeign = "avx2";
#endif
  EXPECT_EQ(CheckInstructionSetName(kForeign).code(), absl::StatusCode::kFailedPrecondition);
}

TEST(InstructionSetTest, ARestrictionHoldsForKernelsWhileItLives) {
  const InstructionSet before = ActiveInstructionSet();
  for (const InstructionSet set : AvailableInstructionSets()) {
    const ScopedInstructionSet restricted(set);
    EXPECT_EQ(ActiveInstructionSet(), set);
    EXPECT_EQ(HasBf16Instructions(), set == InstructionSet::kAvx512Bf16);
  }
  EXPECT_EQ(ActiveInstructionSet(), before);
}

}  // namespace
}  // namespace flowawr::kernels
