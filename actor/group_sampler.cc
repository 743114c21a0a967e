#include "actor/group_sampler.h"

#include <ATen/ops/cat.h>
#include <ATen/ops/isfinite.h>
#include <ATen/ops/stack.h>

#include <algorithm>
#include <iterator>

#include "absl/strings/str_cat.h"
#include "common/base/status.h"
#include "common/diffusion/noise.h"
#include "common/diffusion/sampler.h"
#include "common/diffusion/sigmas.h"
#include "common/rollout/actor_sizes.h"
#include "common/rollout/group_schema.h"
#include "common/sd3/guidance.h"
#include "common/tensor/image_tensor.h"

namespace flowawr {
namespace {

absl::Status CheckLease(const v1::Lease& lease) {
  if (lease.samples() < 1) return absl::InvalidArgumentError("the lease asks for no sample");
  if (lease.sampler().steps() < 1 || lease.sampler().steps() > 1000)
    return absl::InvalidArgumentError(absl::StrCat("the lease asks for ", lease.sampler().steps(), " solver steps"));
  return absl::OkStatus();
}

// A row for each sample of each job, in order.
at::Tensor Rows(absl::Span<GroupJob* const> jobs,
                absl::FunctionRef<at::Tensor(const v1::Lease& lease, uint32_t sample)> row) {
  std::vector<at::Tensor> rows;
  for (const GroupJob* job : jobs)
    for (uint32_t sample = 0; sample < job->lease.samples(); ++sample) rows.push_back(row(job->lease, sample));
  return at::stack(rows);
}

// One prompt: a leading dimension of 1, which the transformer computes once. Several: one row a sample.
PromptEmbeds PromptOf(absl::Span<GroupJob* const> jobs) {
  if (jobs.size() == 1) return jobs[0]->embeds;
  std::vector<at::Tensor> prompts, pooled;
  for (const GroupJob* job : jobs) {
    prompts.push_back(job->embeds.prompt_embeds.expand({job->lease.samples(), -1, -1}));
    pooled.push_back(job->embeds.pooled.expand({job->lease.samples(), -1}));
  }
  return {at::cat(prompts), at::cat(pooled)};
}

SamplerPlan PlanOf(const Pipeline& pipeline, const v1::Lease& lease) {
  SamplerPlan plan{.solver = lease.sampler().solver(),
                   .sigmas = FlowMatchSigmas(lease.sampler().steps(), pipeline.scheduler_shift(),
                                             pipeline.num_train_timesteps()),
                   .stochastic = std::nullopt};
  if (lease.has_stochastic()) plan.stochastic = lease.stochastic();
  return plan;
}

absl::StatusOr<Sampled> SampleRows(const Pipeline& pipeline, const LatentShape& shape, absl::Span<GroupJob* const> jobs,
                                   absl::FunctionRef<bool()> is_wanted) {
  const std::vector<int64_t> sizes = {shape.channels, shape.height, shape.width};
  const GroupJob& any = *jobs[0];
  const ConditionedTransformer velocity(pipeline.transformer(), &any.policy->adapter, PromptOf(jobs),
                                        {GuidanceScale(any.lease.sampler()), any.negative});
  // Drawn on the host whatever the device, as all who sample a lease must draw the same.
  const at::Device device = pipeline.transformer().placement().device;
  const at::Tensor noise = Rows(jobs, [&](const v1::Lease& lease, uint32_t sample) {
                             return InitialNoise(lease.noise_seed(), lease.group_id(), sample, sizes);
                           }).to(device);
  const auto step_noise = [&](int step) {
    return Rows(jobs, [&](const v1::Lease& lease, uint32_t sample) {
             return StepNoise(lease.noise_seed(), lease.group_id(), sample, step, sizes);
           }).to(device);
  };
  return Sample(PlanOf(pipeline, any.lease), noise, velocity, step_noise, [&](int) { return is_wanted(); });
}

}  // namespace

absl::Status SampleGroups(const Pipeline& pipeline, const LatentShape& shape, absl::Span<GroupJob* const> jobs,
                          absl::FunctionRef<bool()> is_wanted) {
  for (const GroupJob* job : jobs) {
    if (absl::Status status = CheckLease(job->lease); !status.ok()) return status;
  }
  FLOWAWR_ASSIGN_OR_RETURN(const Sampled sampled, SampleRows(pipeline, shape, jobs, is_wanted));
  if (!at::isfinite(sampled.latents).all().item<bool>())
    return absl::InternalError(absl::StrCat("sampling group ", jobs[0]->lease.group_id(), " by policy version ",
                                            jobs[0]->lease.policy_version(), " gave latents that are not finite"));
  int64_t row = 0;
  for (GroupJob* job : jobs) {
    const int64_t samples = job->lease.samples();
    const auto own = [&](const at::Tensor& all) { return all.narrow(0, row, samples).contiguous(); };
    job->x0 = own(sampled.latents);
    if (const auto& trajectory = sampled.trajectory; trajectory.has_value())
      job->trajectory = {.states = own(trajectory->states), .log_probs = own(trajectory->log_probs)};
    row += samples;
  }
  return absl::OkStatus();
}

void DecodeGroups(const Vae& vae, absl::Span<GroupJob* const> jobs) {
  std::vector<at::Tensor> latents;
  for (const GroupJob* job : jobs) latents.push_back(job->x0);
  const at::Tensor all = at::cat(latents);
  const int64_t pixels = all.size(2) * all.size(3) * vae.downscale() * vae.downscale();
  const int64_t rows_at_once = std::max<int64_t>(1, kDecodePixels / pixels);
  std::vector<Image> images;
  for (int64_t row = 0; row < all.size(0); row += rows_at_once) {
    const int64_t rows = std::min(rows_at_once, all.size(0) - row);
    std::vector<Image> decoded = ImagesFromTensor(vae.Decode(all.narrow(0, row, rows)));
    std::move(decoded.begin(), decoded.end(), std::back_inserter(images));
  }
  auto next = std::make_move_iterator(images.begin());
  for (GroupJob* job : jobs) {
    job->images.assign(next, next + job->lease.samples());
    next += job->lease.samples();
  }
}

}  // namespace flowawr
