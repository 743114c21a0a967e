#include "learner/ranks/rank_transport.h"

#include "absl/strings/str_cat.h"

namespace flowawr {
namespace {

// Empty: they can use NCCL.
std::string WhyNot(const RankFacts& rank0, const RankFacts& theirs) {
  for (const RankFacts* rank : {&rank0, &theirs})
    if (rank->nccl_device.empty()) return absl::StrCat("rank ", rank->rank, ": ", rank->no_nccl);
  if (rank0.nccl_device == theirs.nccl_device)
    return absl::StrCat("rank 0 and rank ", theirs.rank, " compute on the same device, ", rank0.nccl_device);
  return "";
}

}  // namespace

absl::StatusOr<ChosenTransport> ChooseTransport(v1::RankTransport wanted, const RankFacts& rank0, const RankFacts& theirs) {
  if (wanted == v1::GLOO) return ChosenTransport{.why_not = "train.rank_transport: gloo"};
  const std::string why_not = WhyNot(rank0, theirs);
  if (why_not.empty()) return ChosenTransport{.is_nccl = true};
  if (wanted != v1::NCCL) return ChosenTransport{.why_not = why_not};
  return absl::FailedPreconditionError(absl::StrCat("train.rank_transport: nccl: ", why_not,
                                                    "; set auto or gloo, or give each rank a CUDA device of its own"));
}

}  // namespace flowawr
