#include "cli/time_plan.h"

#include <algorithm>

#include "common/config/algorithm_options.h"
#include "common/config/trained_sigmas.h"
#include "common/rollout/group_schema.h"

namespace flowawr {
namespace {

constexpr double kScoringSeconds = 2e-3, kScoringSecondsPerPixel = 4e-7;

int64_t CeilOfRatio(int64_t a, int64_t b) { return (a + b - 1) / b; }

// How much longer `pieces` equal pieces of work take on `workers` than if they could be cut at will.
double Unevenness(int64_t pieces, int64_t workers) {
  workers = std::max<int64_t>(workers, 1);
  return pieces == 0 ? 1 : static_cast<double>(CeilOfRatio(pieces, workers) * workers) / static_cast<double>(pieces);
}

}  // namespace

double AssumedScoringSeconds(int64_t pixels) {
  return kScoringSeconds + kScoringSecondsPerPixel * static_cast<double>(pixels);
}

TrainingWork TrainingWorkOf(const v1::RunConfig& config) {
  const int64_t of_group = int64_t{config.rollout().samples_per_group()} * RowsPerSample(config);
  const int64_t groups = config.rollout().groups_per_batch();
  return {.rows = groups * of_group,
          .micro_batches = groups * CeilOfRatio(of_group, std::max(1, config.train().micro_batch())),
          .computes_old = ComputesOld(config),
          .computes_reference = ComputesReference(config)};
}

TimePlan PlanTime(const v1::RunConfig& config, const ThreadBudget& budget, int64_t heldout_prompts, int cores,
                  const PassTimes& times) {
  const int64_t pixels = int64_t{config.model().height()} * config.model().width();
  const double scoring = config.rewards().terms_size() * AssumedScoringSeconds(pixels) / std::max(1, cores);
  const int64_t groups = config.rollout().groups_per_batch();
  const double passes = IsGuided(config.sampler()) ? 2 : 1;  // an evaluation is guided as training is
  const auto images = static_cast<double>(groups * config.rollout().samples_per_group());
  const double uneven = Unevenness(groups, budget.actors);

  TimePlan plan;
  plan.updates = config.train().updates();
  plan.sampling = images * config.sampler().steps() * passes * times.sample_row * uneven;
  plan.decoding = images * times.decode_row * uneven;
  plan.scoring = images * scoring;
  const TrainingWork work = TrainingWorkOf(config);
  const double row =
      times.train_row + (work.computes_old ? times.forward_row : 0) + (work.computes_reference ? times.forward_row : 0);
  plan.training = static_cast<double>(work.rows) * passes * row * Unevenness(work.micro_batches, budget.learner_threads);

  if (heldout_prompts == 0) return plan;
  const v1::EvaluationConfig& evaluation = config.evaluation();
  const double image = evaluation.steps() * passes * times.sample_row + times.decode_row + scoring;
  const auto seconds = [&](int64_t prompts) {
    return static_cast<double>((prompts == 0 ? heldout_prompts : std::min(prompts, heldout_prompts)) *
                               evaluation.samples_per_prompt()) *
           image;
  };
  plan.evaluation = seconds(evaluation.prompts());
  plan.first_evaluation = seconds(evaluation.final_prompts());
  plan.first_evaluations = 2;
  if (evaluation.every_updates() > 0) plan.evaluations = (plan.updates - 1) / evaluation.every_updates();
  return plan;
}

}  // namespace flowawr
