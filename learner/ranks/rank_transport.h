// How adapters and gradients travel between rank 0 and another rank. Pure.
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "flowawr/v1/config.pb.h"
#include "learner/ranks/rank_facts.h"

namespace flowawr {

inline constexpr char kGlooTransport[] = "gloo", kNcclTransport[] = "nccl";

struct ChosenTransport {
  bool is_nccl = false;
  std::string why_not = "";  // NCCL, for people
};

// FailedPrecondition when `wanted` is NCCL and one of them, or both together, cannot.
absl::StatusOr<ChosenTransport> ChooseTransport(v1::RankTransport wanted, const RankFacts& rank0, const RankFacts& theirs);

}  // namespace flowawr
