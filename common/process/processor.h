// Which vector instructions a program uses: all that the processor has, or what FLOWAWR_CPU allows
// (common/nn/instruction_set.h). One switch for the kernels and for the libraries that have switches of their own.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "common/nn/instruction_set.h"

namespace flowawr {

// The environment variables of LibTorch, oneDNN and MKL that keep them to `set`. Pure; empty on arm64, where they have
// none. MKL and oneDNN know nothing below SSE4, so that `baseline` restricts them less than the kernels.
std::vector<std::pair<std::string, std::string>> RestrictionsOf(kernels::InstructionSet set);

// If FLOWAWR_CPU is set, sets those variables too, so that child processes inherit all of them. For the beginning of
// main(): the libraries read them when they are first used, and no other thread may be running. Errors as of
// kernels::CheckInstructionSetChoice(), both a mistake of the caller's.
absl::Status RestrictProcessor();

// What to say where bfloat16 is asked for: "" if the active instruction set has instructions for it, else that it is slow
// and that float32 is the better choice.
std::string SlowBfloat16();

// "instruction set avx512_bf16, 2 of 64 cores: CPU quota of the container", and that FLOWAWR_CPU restricts it.
std::string DescribeProcessor();

}  // namespace flowawr
