// Held-out evaluations of a run: before the first update, in between, after the last.
#include <spdlog/spdlog.h>

#include <cstring>
#include <nlohmann/json.hpp>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "common/base/status.h"
#include "common/config/run_status.h"
#include "common/telemetry/log.h"
#include "common/telemetry/metrics_line.h"
#include "common/tensor/image.h"
#include "learner/evaluation.h"
#include "learner/picture_history.h"
#include "learner/run_loop.h"

namespace flowawr {
namespace {

namespace key = metrics_line;

Image ImageOf(const Group& group, int64_t sample) {
  const at::Tensor pixels = group.images[sample].contiguous();
  Image image{static_cast<int>(pixels.size(0)), static_cast<int>(pixels.size(1)), std::string(pixels.numel(), '\0')};
  std::memcpy(image.rgb.data(), pixels.const_data_ptr<uint8_t>(), image.rgb.size());
  return image;
}

nlohmann::json OrNull(bool is_there, double value) { return is_there ? nlohmann::json(value) : nlohmann::json(); }

}  // namespace

absl::Status RunLoop::Evaluate(const std::string& set, v1::RunPhase phase) {
  const LogFields fields({{"update", updates()}});
  const StageTimer timer = Time("evaluate");
  SetPhase(phase, absl::StrCat("evaluating on held-out prompts (", set, ")"));
  const v1::EvaluationConfig& evaluation = config_.evaluation();
  const bool is_periodic = set == "latest";
  // Without the lock: it takes its time.
  FLOWAWR_ASSIGN_OR_RETURN(const auto stored,
                           policies_.Publish(Policy(&PolicyRoles::average), v1::AVERAGE_POLICY, updates()));
  size_t count;
  {
    absl::MutexLock lock(&mutex_);
    manifest_.set_next_version(policies_.next_version());
    std::vector<v1::Lease> leases = EvaluationLeases(
        config_, heldout_prompts_, is_periodic ? evaluation.prompts() : evaluation.final_prompts(),
        is_periodic ? evaluation.latest_pictures() : evaluation.pictures(), stored->header.policy().version(),
        manifest_.reward_spec());
    count = leases.size();
    spdlog::info("evaluating after update {}: {} held-out prompts, {} images ({})", manifest_.update(), count,
                 count * evaluation.samples_per_prompt(), set);
    // Under the lock: a swap that came between would not find them.
    leases_.Offer(std::move(leases));
  }
  std::optional<std::vector<Group>> groups;
  while (!(groups = leases_.WaitForEvaluation(count))) {
    if (const std::optional<std::string> why = leases_.exhausted()) hold_.Hold(*why, "attempts");
    hold_.WaitWhilePaused();
    if (hold_.is_stopping()) return absl::CancelledError("stopped");
  }
  trace_.Groups(*groups);
  const v1::EvaluationSummary summary = Summarise(*groups, updates());
  RewardsByPrompt by_prompt = MeasureByPrompt(*groups);
  fall_warnings_.clear();  // of the evaluation before
  Warn(MissingRewardWarnings(MeasureRewards(*groups), absl::StrCat("the evaluation after update ", summary.update())));
  {
    absl::MutexLock lock(&mutex_);
    if (set == "base") *manifest_.mutable_base() = summary;
    *manifest_.mutable_latest() = summary;
    watch_.Add(manifest_.reward_spec(), std::move(by_prompt));
    is_changed_ = true;
    manifest_.set_elapsed_s(figures_.elapsed_s());
  }
  board_.Update([&](v1::Status& status) {
    if (set == "base") *status.mutable_base() = summary;
    *status.mutable_latest() = summary;
    status.clear_message();
  });
  FLOWAWR_RETURN_IF_ERROR(SavePictures(set, summary.update(), *groups));
  return RecordEvaluation(set, summary, groups->empty() ? 0 : groups->front().lease.reward_spec().version());
}

absl::StatusOr<bool> RunLoop::EndsWithEvaluation() {
  const std::vector<RewardFall> falls = FindFalls();
  if (!falls.empty()) {
    switch (config_.evaluation().on_drop()) {
      case v1::WARN:
        WarnOfFalls();
        break;
      case v1::FINISH:
        SetEndReason(absl::StrJoin(fall_warnings_, "; "));
        return true;
      default:
        FLOWAWR_RETURN_IF_ERROR(HoldForFalls(falls));
        if (hold_.is_stopping()) return false;
    }
  }
  v1::EvaluationSummary latest;
  {
    absl::MutexLock lock(&mutex_);
    latest = manifest_.latest();
  }
  if (!ReachesTarget(config_, latest)) return false;
  SetEndReason(absl::StrFormat("the held-out reward was %.4g at update %d, and train.target_reward is %g",
                               latest.reward_mean(), latest.update(), config_.train().target_reward()));
  return true;
}

std::vector<RewardFall> RunLoop::FindFalls() {
  absl::MutexLock lock(&mutex_);
  std::vector<RewardFall> falls = watch_.Judge(manifest_.reward_spec());
  fall_warnings_ = FallWarnings(falls, manifest_.latest().update());
  return falls;
}

absl::Status RunLoop::HoldForFalls(const std::vector<RewardFall>& falls) {
  const std::string fell = absl::StrJoin(fall_warnings_, "; ");
  SetEndReason(absl::StrCat("it was paused, as ", fell));  // of a process that is killed meanwhile
  FLOWAWR_RETURN_IF_ERROR(CheckpointWhenWritable());       // people take their time
  hold_.Hold(absl::StrCat(fell, ". Look at the pictures in images/latest. `flowawr resume` goes on, and pauses again if it "
                                "falls as far once more; a new run with a lower learning rate or a greater kl_beta stays "
                                "nearer to the base model"),
             "reward");
  if (leases_.is_paused()) return absl::OkStatus();  // it is to stop, and nobody has accepted anything
  {
    absl::MutexLock lock(&mutex_);
    watch_.Accept(falls);
  }
  fall_warnings_.clear();
  SetEndReason("");
  return CheckpointWhenWritable();
}

void RunLoop::WarnOfFalls() {
  for (const std::string& warning : fall_warnings_) spdlog::warn("{}", warning);
  board_.Update([&](v1::Status& status) { status.mutable_warnings()->Add(fall_warnings_.begin(), fall_warnings_.end()); });
}

void RunLoop::SetEndReason(const std::string& reason) {
  absl::MutexLock lock(&mutex_);
  manifest_.set_end_reason(reason);
  is_changed_ = true;
}

absl::Status RunLoop::RecordEnd() {
  nlohmann::json line = {{key::kKind, key::kKindEnd}};
  {
    absl::MutexLock lock(&mutex_);
    if (manifest_.end_reason().empty() && fall_warnings_.empty()) return absl::OkStatus();
    line[key::kUpdate] = manifest_.update();
    line[key::kReason] = manifest_.end_reason();
  }
  line[key::kWarnings] = fall_warnings_;
  return record_.Write(line.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace), updates(), {});
}

absl::Status RunLoop::SavePictures(const std::string& set, uint64_t update, const std::vector<Group>& groups) {
  const bool is_periodic = set == "latest";
  int picture = 0;
  for (const Group& group : groups) {
    if (!group.images.defined()) continue;
    const Image image = ImageOf(group, 0);
    // Those of the evaluations in between are kept beside, as the next one writes over them.
    std::vector<std::string> places = {set};
    if (is_periodic && picture < kHistoryPictures) places.push_back(PictureHistoryFolder(update));
    for (const std::string& place : places)
      FLOWAWR_RETURN_IF_ERROR(hold_.Persist("a held-out picture", [&] {
        return directory_.SavePicture(place, picture, image, PictureJson(group, 0, update),
                                      PictureText(config_, group, 0, update));
      }));
    ++picture;
    FLOWAWR_RETURN_IF_ERROR(record_.WriteImage(absl::StrCat("heldout/", picture), update, image));
  }
  if (is_periodic) directory_.ThinPictureHistory();
  return absl::OkStatus();
}

absl::Status RunLoop::RecordEvaluation(const std::string& set, const v1::EvaluationSummary& summary,
                                       uint64_t spec_version) {
  if (summary.has_reward_mean()) {
    absl::MutexLock lock(&mutex_);
    heldout_.push_back({summary.update(), summary.reward_mean(), spec_version});
  }
  const std::map<std::string, double> by_scorer(summary.by_scorer().begin(), summary.by_scorer().end());
  const std::map<std::string, uint64_t> missing(summary.missing().begin(), summary.missing().end());
  const nlohmann::json line = {{key::kKind, key::kKindEvaluation},
                               {key::kSet, set},
                               {key::kUpdate, summary.update()},
                               {key::kRewardMean, OrNull(summary.has_reward_mean(), summary.reward_mean())},
                               {key::kRewardStderr, OrNull(summary.has_reward_stderr(), summary.reward_stderr())},
                               {key::kExactShare, OrNull(summary.has_exact_share(), summary.exact_share())},
                               {key::kImages, summary.images()},
                               {key::kElapsed, figures_.elapsed_s()},
                               {key::kByScorer, by_scorer},
                               {key::kMissing, missing},
                               {key::kRewardSpec, spec_version}};
  spdlog::info("held-out after update {}: reward {}, {} images", summary.update(),
               summary.has_reward_mean() ? absl::StrFormat("%.4f", summary.reward_mean()) : "missing",
               summary.images());
  Scalars scalars;
  if (summary.has_reward_mean()) scalars.emplace_back("heldout/reward", summary.reward_mean());
  if (summary.has_exact_share()) scalars.emplace_back("heldout/exact_share", summary.exact_share());
  return record_.Write(line.dump(), summary.update(), scalars);
}

}  // namespace flowawr
