#include "common/nn/instruction_set.h"

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <utility>

#include "absl/algorithm/container.h"
#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/nn/highway_targets.h"

namespace flowawr::kernels {
namespace {

struct Name {
  InstructionSet set;
  absl::string_view name;
  int64_t target;  // Highway's; it knows none for the bfloat16 dot product
};

constexpr Name kNames[] = {
    {InstructionSet::kBaseline, "baseline", HWY_SCALAR},    {InstructionSet::kSse4, "sse4", HWY_SSE4},
    {InstructionSet::kAvx2, "avx2", HWY_AVX2},              {InstructionSet::kAvx512, "avx512", HWY_AVX3},
    {InstructionSet::kAvx512Bf16, "avx512_bf16", HWY_AVX3}, {InstructionSet::kNeon, "neon", HWY_NEON},
};

const Name& Of(InstructionSet set) {
  return *absl::c_find_if(kNames, [&](const Name& name) { return name.set == set; });
}

bool ProcessorHasBf16() {
#if defined(__x86_64__)
  return __builtin_cpu_supports("avx512bf16");
#else
  return false;
#endif
}

// Highway dispatches to the best target that is not disabled.
void DisableTargetsAbove(InstructionSet set) {
  int64_t allowed = 0;
  for (const Name& name : kNames)
    if (name.set <= set) allowed |= name.target;
  hwy::DisableTargets(HWY_TARGETS & ~allowed);
}

absl::string_view Wanted() {
  const char* name = std::getenv("FLOWAWR_CPU");
  return name == nullptr ? "" : name;
}

InstructionSet Initial() {
  const std::vector<InstructionSet>& available = AvailableInstructionSets();
  const auto wanted = absl::c_find_if(available, [](InstructionSet set) { return NameOf(set) == Wanted(); });
  const InstructionSet set = wanted == available.end() ? available.back() : *wanted;
  DisableTargetsAbove(set);
  return set;
}

std::atomic<InstructionSet>& Active() {
  static std::atomic<InstructionSet> active{Initial()};
  return active;
}

size_t CommonPrefix(absl::string_view a, absl::string_view b) {
  return std::mismatch(a.begin(), a.begin() + std::min(a.size(), b.size()), b.begin()).first - a.begin();
}

}  // namespace

absl::string_view NameOf(InstructionSet set) { return Of(set).name; }

const std::vector<InstructionSet>& AvailableInstructionSets() {
  static const std::vector<InstructionSet> sets = [] {
    const int64_t targets = (hwy::SupportedTargets() | HWY_STATIC_TARGET) & HWY_TARGETS;
    std::vector<InstructionSet> available;
    for (const Name& name : kNames) {
      if (name.set == InstructionSet::kAvx512Bf16 && !ProcessorHasBf16()) continue;
      if ((targets & name.target) != 0) available.push_back(name.set);
    }
    return available;
  }();
  return sets;
}

InstructionSet ActiveInstructionSet() { return Active().load(std::memory_order_relaxed); }

absl::Status CheckInstructionSetName(absl::string_view name) {
  if (name.empty()) return absl::OkStatus();
  const auto spell = [](std::string* out, InstructionSet set) { absl::StrAppend(out, NameOf(set)); };
  const std::string choices = absl::StrJoin(AvailableInstructionSets(), ", ", spell);
  const auto known = absl::c_find_if(kNames, [&](const Name& one) { return one.name == name; });
  if (known == std::end(kNames)) {
    const std::string lower = absl::AsciiStrToLower(absl::StripAsciiWhitespace(name));
    const Name& nearest = *absl::c_max_element(
        kNames, [&](const Name& a, const Name& b) { return CommonPrefix(lower, a.name) < CommonPrefix(lower, b.name); });
    const std::string hint =
        CommonPrefix(lower, nearest.name) < 2 ? "" : absl::StrCat(" (did you mean ", nearest.name, "?)");
    return absl::InvalidArgumentError(absl::StrCat("FLOWAWR_CPU=", name, " is no instruction set", hint,
                                                   "; this processor can run ", choices,
                                                   "; unset it for the best of them"));
  }
  if (!absl::c_linear_search(AvailableInstructionSets(), known->set)) {
    return absl::FailedPreconditionError(
        absl::StrCat("FLOWAWR_CPU=", name, " is not available: this processor or build can run ", choices,
                     "; unset it for the best of them"));
  }
  return absl::OkStatus();
}

absl::Status CheckInstructionSetChoice() { return CheckInstructionSetName(Wanted()); }

ScopedInstructionSet::ScopedInstructionSet(InstructionSet set) : before_(ActiveInstructionSet()) {
  DisableTargetsAbove(set);
  Active() = set;
}

ScopedInstructionSet::~ScopedInstructionSet() {
  DisableTargetsAbove(before_);
  Active() = before_;
}

}  // namespace flowawr::kernels
