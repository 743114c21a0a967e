#include "actor/group_sampler.h"

#include <ATen/ops/cat.h>
#include <ATen/ops/isfinite.h>
#include <ATen/ops/stack.h>

#include <algorithm>
#include <iterator>
#include <memory>

#include "absl/strings/str_cat.h"
#include "common/base/status.h"
#include "common/diffusion/noise.h"
#include "common/diffusion/sampler.h"
#include "common/diffusion/sigmas.h"
#include "common/rollout/actor_sizes.h"
#include "common/rollout/group_schema.h"
#include "common/tensor/device_stream.h"
#include "common/tensor/image_tensor.h"
#include "common/tensor/transfer.h"

namespace flowawr {
namespace {

absl::Status CheckLease(const v1::Lease& lease) {
  if (lease.samples() < 1) return absl::InvalidArgumentError("the lease asks for no sample");
  if (lease.sampler().steps() < 1 || lease.sampler().steps() > 1000)
    return absl::InvalidArgumentError(absl::StrCat("the lease asks for ", lease.sampler().steps(), " solver steps"));
  return absl::OkStatus();
}

// A row for each sample of the lease. Drawn on the host whatever the device, as all who sample it must draw the same.
at::Tensor DrawRows(const v1::Lease& lease, at::Device device, absl::FunctionRef<at::Tensor(uint32_t sample)> row) {
  std::vector<at::Tensor> rows;
  for (uint32_t sample = 0; sample < lease.samples(); ++sample) rows.push_back(row(sample));
  return MovedTo(at::stack(rows), device);
}

// Of every job, in order.
at::Tensor Rows(absl::Span<GroupJob* const> jobs, absl::FunctionRef<at::Tensor(const GroupJob& job)> rows_of) {
  std::vector<at::Tensor> rows;
  for (const GroupJob* job : jobs) rows.push_back(rows_of(*job));
  return rows.size() == 1 ? rows[0] : at::cat(rows);
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

absl::StatusOr<Sampled> SampleRows(const Pipeline& pipeline, StepGraphs& graphs,
                                   absl::Span<GroupJob* const> jobs, absl::FunctionRef<bool()> is_wanted) {
  const GroupJob& any = *jobs[0];
  const at::Tensor noise = Rows(jobs, [](const GroupJob& job) { return job.noise; });
  const auto velocity = graphs.VelocityOf(std::shared_ptr<const BoundAdapter>(any.policy, &any.policy->adapter),
                                          PromptOf(jobs), {GuidanceScale(any.lease.sampler()), any.negative},
                                          noise.sizes());
  const auto step_noise = [&](int step) {
    return Rows(jobs, [&](const GroupJob& job) {
      const v1::Lease& lease = job.lease;
      return DrawRows(lease, noise.device(), [&](uint32_t sample) {
        return StepNoise(lease.noise_seed(), lease.group_id(), sample, step, noise.sizes().slice(1));
      });
    });
  };
  return Sample(PlanOf(pipeline, any.lease), noise, velocity, step_noise, [&](int) { return is_wanted(); });
}

}  // namespace

absl::Status DrawNoise(const LatentShape& shape, at::Device device, GroupJob& job) {
  FLOWAWR_RETURN_IF_ERROR(CheckLease(job.lease));
  job.noise = DrawRows(job.lease, device, [&](uint32_t sample) {
    return InitialNoise(job.lease.noise_seed(), job.lease.group_id(), sample,
                        {shape.channels, shape.height, shape.width});
  });
  return absl::OkStatus();
}

absl::Status SampleGroups(const Pipeline& pipeline, StepGraphs& graphs, absl::Span<GroupJob* const> jobs,
                          absl::FunctionRef<bool()> is_wanted) {
  FLOWAWR_ASSIGN_OR_RETURN(const Sampled sampled, SampleRows(pipeline, graphs, jobs, is_wanted));
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
  std::vector<at::Tensor> levels;  // each comes down while the next is decoded
  for (int64_t row = 0; row < all.size(0); row += rows_at_once) {
    const int64_t rows = std::min(rows_at_once, all.size(0) - row);
    levels.push_back(ToHostSoon(LevelsOf(vae.Decode(all.narrow(0, row, rows)))));
  }
  AwaitStream(all.device());
  std::vector<Image> images;
  for (const at::Tensor& some : levels) {
    std::vector<Image> decoded = ImagesFromLevels(some);
    std::move(decoded.begin(), decoded.end(), std::back_inserter(images));
  }
  auto next = std::make_move_iterator(images.begin());
  for (GroupJob* job : jobs) {
    job->images.assign(next, next + job->lease.samples());
    next += job->lease.samples();
  }
}

}  // namespace flowawr
