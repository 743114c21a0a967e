// Which of the processor's vector instructions the kernels use: what it has, restricted by the environment variable
// FLOWAWR_CPU. Everything here is safe to call from any thread.
//
// The kernels' run-time dispatch (Google Highway's) follows it. LibTorch, oneDNN and MKL have switches of their own.
#pragma once

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace flowawr::kernels {

// In ascending order of an architecture's abilities.
enum class InstructionSet {
  kBaseline,    // what every processor of the architecture has; one float at a time
  kSse4,        // 16 registers of 4 floats, no fused multiply-add
  kAvx2,        // 16 registers of 8 floats, fused multiply-add
  kAvx512,      // 32 registers of 16 floats
  kAvx512Bf16,  // and the bfloat16 dot product
  kNeon,        // arm64: 32 registers of 4 floats, fused multiply-add
};

// As FLOWAWR_CPU spells it: baseline, sse4, avx2, avx512, avx512_bf16, neon.
absl::string_view NameOf(InstructionSet set);

// What this build and this processor can run, ascending; never empty.
const std::vector<InstructionSet>& AvailableInstructionSets();

// The best available one, or the one that FLOWAWR_CPU names. A FLOWAWR_CPU that cannot be followed is ignored here:
// CheckInstructionSetChoice() says so.
InstructionSet ActiveInstructionSet();

// For the start of a program. InvalidArgument if FLOWAWR_CPU is none of the names; FailedPrecondition if this processor
// or build does not have what it names.
absl::Status CheckInstructionSetChoice();

// Of any text in place of FLOWAWR_CPU's.
absl::Status CheckInstructionSetName(absl::string_view name);

// Makes an available instruction set the active one while it lives, for tests. One at a time, while no kernel runs.
class ScopedInstructionSet {
 public:
  explicit ScopedInstructionSet(InstructionSet set);
  ~ScopedInstructionSet();
  ScopedInstructionSet(const ScopedInstructionSet&) = delete;
  ScopedInstructionSet& operator=(const ScopedInstructionSet&) = delete;

 private:
  const InstructionSet before_;
};

}  // namespace flowawr::kernels
