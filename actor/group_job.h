// One group on its way through the actor's stages. Each stage fills in its part and hands the job on; one owner a time.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "actor/policy_buffer.h"
#include "common/diffusion/sampler.h"
#include "common/sd3/pipeline.h"
#include "common/tensor/image.h"
#include "flowawr/v1/rollout.pb.h"

namespace flowawr {

struct GroupJob {
  v1::Lease lease;
  uint64_t ticket = 0;                          // in the HeldLeases
  PromptEmbeds embeds;                          // encode: [1, T, D] and [1, P]
  PromptEmbeds negative;                        // encode: the empty prompt's, undefined without guidance
  at::Tensor noise;                             // encode: [K, C, h, w] f32, what its samples start from
  std::shared_ptr<const AdoptedPolicy> policy;  // encode: the one version that this whole group is sampled with
  at::Tensor x0;                                // sample: [K, C, h, w] f32
  std::optional<Trajectory> trajectory;         // sample: of the K, where the lease has stochastic steps
  std::vector<Image> images;                    // decode: K
  std::vector<v1::SampleScores> scores;         // score: K
  std::vector<v1::StageSpan> spans;             // by every stage that ended; of a merged batch the whole
  std::map<std::string, double> stage_seconds;  // by every stage; a merged batch's time is shared out by rows
};

}  // namespace flowawr
