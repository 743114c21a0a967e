// What a rank says of itself when it joins, and whether it may. Pure.
#pragma once

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/base/host_port.h"
#include "common/sd3/component_fingerprints.h"
#include "flowawr/v1/config.pb.h"

namespace flowawr {

struct RankFacts {
  int rank = 0;
  std::string session = "";     // of this attempt to join
  std::string host = "";        // where the rank is, as rank 0 reaches it
  std::string rank0_host = "";  // where rank 0 is, as the rank reached it
  std::vector<std::string> devices = {};
  std::string nccl_device = "", no_nccl = "";  // as of NcclSight, of the first device
  // Which must be rank 0's.
  std::string version = "", instruction_set = "";
  v1::RunConfig config;         // as of GradientConfig()
  ComponentFingerprints model;  // the parts that both have
};

// Of a configuration, what decides the bits of a gradient, and the number of ranks.
v1::RunConfig GradientConfig(const v1::RunConfig& config);

std::string SerializeFacts(const RankFacts& facts);
// InvalidArgument when the text is not one of SerializeFacts(), or holds what is no name.
absl::StatusOr<RankFacts> ParseFacts(const std::string& text);

// FailedPrecondition that names every difference from `rank0`; InvalidArgument when the run has no such rank.
absl::Status CheckFacts(const RankFacts& rank0, const RankFacts& theirs);

}  // namespace flowawr
