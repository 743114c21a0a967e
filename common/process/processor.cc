#include "common/process/processor.h"

#include <cstdlib>

#include "absl/strings/str_cat.h"
#include "common/base/status.h"
#include "common/base/usable_cores.h"
#include "common/nn/bf16.h"

namespace flowawr {
namespace {

using kernels::InstructionSet;

constexpr char kVariable[] = "FLOWAWR_CPU";

bool IsRestricted() {
  const char* name = std::getenv(kVariable);
  return name != nullptr && *name != '\0';
}

}  // namespace

std::vector<std::pair<std::string, std::string>> RestrictionsOf(InstructionSet set) {
  constexpr char kLibTorch[] = "ATEN_CPU_CAPABILITY", kOneDnn[] = "ONEDNN_MAX_CPU_ISA", kMkl[] = "MKL_ENABLE_INSTRUCTIONS";
  switch (set) {
    case InstructionSet::kBaseline:
    case InstructionSet::kSse4:
      return {{kLibTorch, "default"}, {kOneDnn, "SSE41"}, {kMkl, "SSE4_2"}};
    case InstructionSet::kAvx2:
      return {{kLibTorch, "avx2"}, {kOneDnn, "AVX2"}, {kMkl, "AVX2"}};
    case InstructionSet::kAvx512:
      return {{kLibTorch, "avx512"}, {kOneDnn, "AVX512_CORE"}, {kMkl, "AVX512"}};
    case InstructionSet::kAvx512Bf16:  // not the matrix tiles (AMX) of processors that have those too
      return {{kLibTorch, "avx512"}, {kOneDnn, "AVX512_CORE_BF16"}, {kMkl, "AVX512"}};
    case InstructionSet::kNeon:
      return {};
  }
  return {};
}

absl::Status RestrictProcessor() {
  if (!IsRestricted()) return absl::OkStatus();
  FLOWAWR_RETURN_IF_ERROR(kernels::CheckInstructionSetChoice());
  for (const auto& [name, value] : RestrictionsOf(kernels::ActiveInstructionSet()))
    setenv(name.c_str(), value.c_str(), /*overwrite=*/1);
  return absl::OkStatus();
}

std::string SlowBfloat16() {
  if (kernels::HasBf16Instructions()) return "";
  return absl::StrCat("bfloat16 saves memory but no time here: instruction set ",
                      kernels::NameOf(kernels::ActiveInstructionSet()),
                      " has no instructions for it. float32 gives the result sooner, where there is memory for it");
}

std::string DescribeProcessor() {
  return absl::StrCat("instruction set ", kernels::NameOf(kernels::ActiveInstructionSet()),
                      IsRestricted() ? " (FLOWAWR_CPU), " : ", ", UsableCoresHere().Describe());
}

}  // namespace flowawr
