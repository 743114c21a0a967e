#include "actor/group_sampler.h"

#include <ATen/ops/cat.h>
#include <ATen/ops/full.h>
#include <ATen/ops/isfinite.h>
#include <ATen/ops/stack.h>

#include <algorithm>
#include <iterator>

#include "absl/strings/str_cat.h"
#include "common/diffusion/noise.h"
#include "common/diffusion/sigmas.h"
#include "common/diffusion/solver.h"
#include "common/tensor/image_tensor.h"

namespace flowawr {
namespace {

// Pixels decoded at a time: what the decoder's widest feature map may cost. A constant, so that bits do not vary.
constexpr int64_t kDecodePixels = int64_t{1} << 20;

absl::Status CheckLease(const v1::Lease& lease) {
  if (lease.samples() < 1) return absl::InvalidArgumentError("the lease asks for no sample");
  if (lease.sampler().steps() < 1 || lease.sampler().steps() > 1000)
    return absl::InvalidArgumentError(absl::StrCat("the lease asks for ", lease.sampler().steps(), " solver steps"));
  if (lease.sampler().solver() != v1::EULER && lease.sampler().solver() != v1::DPM_SOLVER_PP_2M)
    return absl::InvalidArgumentError(
        absl::StrCat("the lease asks for solver ", lease.sampler().solver(), ", which this actor does not know"));
  return absl::OkStatus();
}

at::Tensor NoiseOf(absl::Span<GroupJob* const> jobs, const LatentShape& shape) {
  std::vector<at::Tensor> rows;
  for (const GroupJob* job : jobs) {
    for (uint32_t sample = 0; sample < job->lease.samples(); ++sample)
      rows.push_back(InitialNoise(job->lease.noise_seed(), job->lease.group_id(), sample,
                                  {shape.channels, shape.height, shape.width}));
  }
  return at::stack(rows);
}

// One prompt: a leading dimension of 1, which the transformer computes once. Several: one row a sample.
TransformerInput PromptInput(absl::Span<GroupJob* const> jobs) {
  TransformerInput input;
  if (jobs.size() == 1) {
    input.prompt_embeds = jobs[0]->embeds.prompt_embeds;
    input.pooled_prompt_embeds = jobs[0]->embeds.pooled;
    return input;
  }
  std::vector<at::Tensor> prompts, pooled;
  for (const GroupJob* job : jobs) {
    prompts.push_back(job->embeds.prompt_embeds.expand({job->lease.samples(), -1, -1}));
    pooled.push_back(job->embeds.pooled.expand({job->lease.samples(), -1}));
  }
  input.prompt_embeds = at::cat(prompts);
  input.pooled_prompt_embeds = at::cat(pooled);
  return input;
}

}  // namespace

absl::Status SampleGroups(const Pipeline& pipeline, const LatentShape& shape, absl::Span<GroupJob* const> jobs,
                          absl::FunctionRef<bool()> is_wanted) {
  for (const GroupJob* job : jobs) {
    if (absl::Status status = CheckLease(job->lease); !status.ok()) return status;
  }
  const v1::SamplerConfig& sampler = jobs[0]->lease.sampler();
  const std::vector<float> sigmas =
      FlowMatchSigmas(sampler.steps(), pipeline.scheduler_shift(), pipeline.num_train_timesteps());
  const auto solver = MakeSolver(sampler.solver(), sigmas);
  TransformerInput input = PromptInput(jobs);
  input.latents = NoiseOf(jobs, shape);
  for (int step = 0; step < sampler.steps(); ++step) {
    if (!is_wanted()) return absl::CancelledError("no longer wanted");
    input.sigma = at::full({1}, sigmas[step]);
    const at::Tensor velocity = pipeline.transformer().Forward(input, &jobs[0]->policy->adapter);
    input.latents = solver->Step(step, velocity, input.latents);
  }
  if (!at::isfinite(input.latents).all().item<bool>())
    return absl::InternalError(absl::StrCat("sampling group ", jobs[0]->lease.group_id(), " by policy version ",
                                            jobs[0]->lease.policy_version(), " gave latents that are not finite"));
  int64_t row = 0;
  for (GroupJob* job : jobs) {
    job->x0 = input.latents.narrow(0, row, job->lease.samples()).contiguous();
    row += job->lease.samples();
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
