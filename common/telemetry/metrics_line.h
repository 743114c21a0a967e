// The words of metrics.jsonl, the history of a run: the learner writes them, and whoever draws or compares runs reads them.
//
// A line is one JSON object of a kind, about one update; a figure that nobody measured is null or left out. Readers must
// take a line without any of these keys but the first two.
#pragma once

namespace flowawr::metrics_line {

inline constexpr char kKind[] = "kind";      // one of those below
inline constexpr char kUpdate[] = "update";  // updates done by then

inline constexpr char kKindUpdate[] = "update";          // an update
inline constexpr char kKindEvaluation[] = "evaluation";  // a held-out evaluation
inline constexpr char kKindRewardSpec[] = "reward_spec";  // rewards were swapped
inline constexpr char kKindEnd[] = "end";                // the run finished, and there is something to say of it

// Of updates and evaluations.
inline constexpr char kRewardMean[] = "reward_mean";  // weighted
inline constexpr char kByScorer[] = "by_scorer";      // means, an object by scorer
inline constexpr char kMissing[] = "missing";         // images without a reward, likewise
inline constexpr char kElapsed[] = "elapsed_s";       // training time over all resumes
inline constexpr char kRewardSpec[] = "reward_spec";  // version of the rewards; of every kind

// Of updates.
inline constexpr char kSkipped[] = "skipped";  // true: the policy did not move, and the next three are null
inline constexpr char kRefused[] = "refused";  // why, of one that was made and not taken
inline constexpr char kLoss[] = "loss";
inline constexpr char kKl[] = "kl";
inline constexpr char kGradNorm[] = "grad_norm";
inline constexpr char kLearningRate[] = "learning_rate";
inline constexpr char kSamplesTrained[] = "samples_trained";  // over the whole run
inline constexpr char kSeconds[] = "seconds";                 // of the run loop since the update before, by stage
inline constexpr char kActorSeconds[] = "actor_seconds";      // of all actors together, likewise
inline constexpr char kFigures[] = "figures";                 // what the method and the batch report, by name
inline constexpr char kSignal[] = "signal";                   // of the batch: mean, least, greatest, clipped_share
inline constexpr char kSignalHistogram[] = "signal_histogram";
inline constexpr char kEqualGroupsShare[] = "equal_groups_share";
inline constexpr char kStalenessMean[] = "staleness_mean";
inline constexpr char kShadows[] = "shadows";  // by scorer: objects of the next three
inline constexpr char kGroups[] = "groups";
inline constexpr char kRankCorrelation[] = "rank_correlation";
inline constexpr char kBestDiffers[] = "best_differs";

// Of evaluations.
inline constexpr char kSet[] = "set";  // base, latest or final
inline constexpr char kRewardStderr[] = "reward_stderr";
inline constexpr char kExactShare[] = "exact_share";
inline constexpr char kImages[] = "images";

// Of swaps.
inline constexpr char kTerms[] = "terms";  // objects of the next six
inline constexpr char kScorer[] = "scorer";
inline constexpr char kEndpoint[] = "endpoint";
inline constexpr char kWeight[] = "weight";
inline constexpr char kIsRequired[] = "is_required";
inline constexpr char kTimeout[] = "timeout_s";
inline constexpr char kMaxDrop[] = "max_drop";

// Of ends.
inline constexpr char kReason[] = "reason";      // why before its last update; empty: it was not
inline constexpr char kWarnings[] = "warnings";  // sentences

}  // namespace flowawr::metrics_line
