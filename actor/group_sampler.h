// From leases to latents to pictures: the arithmetic of the sample and decode stages. No thread, no network.
#pragma once

#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/types/span.h"
#include "actor/group_job.h"
#include "common/sd3/pipeline.h"
#include "common/sd3/step_graphs.h"

namespace flowawr {

// Fills in what the job's samples start from, each keyed by (noise_seed, group_id, sample), on `device`. The host draws
// thousands of numbers a sample: done before the sampler's turn, it need not wait for them. InvalidArgument for a lease
// whose samples or steps are not usable.
absl::Status DrawNoise(const LatentShape& shape, at::Device device, GroupJob& job);

// Draws x0, and the trajectory where steps are stochastic, of every job by one batch of all their rows, each from its
// own noise (DrawNoise() before) and, of stochastic steps, noise that is keyed by the step besides. All jobs share
// policy version, sampler settings and stochastic steps (GroupsToMerge); a single job is the usual case. Guidance leads
// away from `negative` of the jobs, and costs nothing at scale 1. `graphs` are of the pipeline's transformer.
//
// `is_wanted` is asked before every step; Cancelled once it says no. InvalidArgument for a lease whose sampler settings
// are not usable, Internal for a result that is not finite.
absl::Status SampleGroups(const Pipeline& pipeline, StepGraphs& graphs, absl::Span<GroupJob* const> jobs,
                          absl::FunctionRef<bool()> is_wanted);

// Fills in the images of every job from its x0, a bounded number of pixels at a time. Waits for the stream once.
void DecodeGroups(const Vae& vae, absl::Span<GroupJob* const> jobs);

}  // namespace flowawr
