#include "reward_server/scorers/geneval_scorer.h"

#include <ATen/Parallel.h>
#include <torch/types.h>

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "common/base/sha256.h"
#include "common/base/status.h"
#include "common/tensor/devices.h"
#include "common/tensor/image.h"
#include "common/tensor/placement.h"
#include "reward_server/detection/instances.h"

namespace flowawr {
namespace {

constexpr int kMostEdge = 8192;

// What the folder says, but for edges that the options give.
absl::StatusOr<DetectionPreprocess> PreprocessOf(const std::string& folder, int short_edge, int long_edge) {
  FLOWAWR_ASSIGN_OR_RETURN(DetectionPreprocess preprocess, LoadDetectionPreprocess(folder));
  if (short_edge == 0 && long_edge == 0) return preprocess;
  preprocess.do_resize = true;
  if (short_edge > 0) preprocess.short_edge = short_edge;
  if (long_edge > 0) preprocess.long_edge = long_edge;
  preprocess.long_edge = std::max(preprocess.long_edge, preprocess.short_edge);
  return preprocess;
}

std::map<std::string, std::string> AsMap(const PromptMetadata& metadata) { return {metadata.begin(), metadata.end()}; }

}  // namespace

absl::StatusOr<std::shared_ptr<Scorer>> GenevalScorer::Load(ScorerOptions& options, const ScorerContext& context) {
  const std::string detector = options.Text("detector", "");
  const std::string clip = options.Text("clip", "");
  const bool uses_clip = options.Choice("colours", "clip", {"clip", "pixels"}) == "clip";
  const std::string kind = options.Choice("reward", "strict", {"strict", "graded", "official"});
  GenevalThresholds thresholds;
  thresholds.confidence = options.Number("confidence", thresholds.confidence, 0, 1);
  thresholds.counting_confidence = options.Number("counting_confidence", thresholds.counting_confidence, 0, 1);
  thresholds.position = options.Number("position", thresholds.position, 0, 10);
  const int short_edge = options.Integer("short_edge", 0, 0, kMostEdge);
  const int long_edge = options.Integer("long_edge", 0, 0, kMostEdge);
  const at::ScalarType dtype = DTypeNamed(options.Choice("dtype", "float32", {"float32", "bfloat16"}));
  FLOWAWR_RETURN_IF_ERROR(options.Finish());
  if (detector.empty())
    return absl::InvalidArgumentError("option detector=FOLDER is missing: a Mask2Former with a Swin backbone, e.g. a "
                                      "copy of facebook/mask2former-swin-small-coco-instance");
  if (uses_clip == clip.empty())
    return absl::InvalidArgumentError(uses_clip
                                          ? "option clip=FOLDER is missing: a CLIP that names colours, e.g. a copy of "
                                            "openai/clip-vit-large-patch14; or colours=pixels for flat drawings"
                                          : "option clip is of no use with colours=pixels");
  FLOWAWR_ASSIGN_OR_RETURN(const at::Device device, FindDevice(context.device));
  const Placement placement(dtype, device);
  at::set_num_threads(context.threads);
  Parts parts;
  FLOWAWR_ASSIGN_OR_RETURN(parts.preprocess, PreprocessOf(detector, short_edge, long_edge));
  FLOWAWR_ASSIGN_OR_RETURN(parts.detector, Mask2Former::Load(detector, placement));
  if (uses_clip) {
    FLOWAWR_ASSIGN_OR_RETURN(parts.colours, LoadClipColours(clip, device));
  } else {
    parts.colours = MakePixelColours();
  }
  const Reward reward = kind == "strict" ? Reward::kStrict : kind == "graded" ? Reward::kGraded : Reward::kOfficial;
  std::shared_ptr<GenevalScorer> scorer(
      new GenevalScorer(std::move(parts), reward, thresholds, context.threads, device));
  scorer->version_ = absl::StrCat("geneval ", kind, ", mask2former of ", scorer->detector_->config().class_names.size(),
                                  " classes, colours by ", scorer->colours_->version());
  return scorer;
}

GenevalScorer::GenevalScorer(Parts parts, Reward reward, const GenevalThresholds& thresholds, int threads,
                             at::Device device)
    : detector_(std::move(parts.detector)),
      preprocess_(parts.preprocess),
      colours_(std::move(parts.colours)),
      reward_(reward),
      thresholds_(thresholds),
      threads_(threads),
      classes_(detector_->config().class_names),
      stream_(device) {
  const std::string colours = colours_->weights_sha256();
  weights_sha256_ = colours.empty() ? detector_->weights_sha256()
                                    : HexSha256(absl::StrCat(detector_->weights_sha256(), "\n", colours, "\n"));
}

std::vector<v1::ScoreResult> GenevalScorer::Score(absl::Span<const v1::ScoreItem* const> items,
                                                  StillWanted still_wanted) {
  at::set_num_threads(threads_);
  std::vector<v1::ScoreResult> results;
  stream_.Run([&] {
    for (size_t i = 0; i < items.size(); ++i)
      results.push_back(ResultOf(*items[i], [&still_wanted, i] { return still_wanted(i); }));
  });
  return results;
}

v1::ScoreResult GenevalScorer::ResultOf(const v1::ScoreItem& item, KeepGoing keep_going) {
  const auto task = ParseGenevalTask(AsMap(item.metadata()), classes_);
  if (!task.ok()) return ErrorResult(v1::ScoreError::BAD_INPUT, std::string(task.status().message()));
  const auto verdict = Judge(item, *task, keep_going);
  if (!verdict.ok()) return ErrorResult(v1::ScoreError::BROKEN, std::string(verdict.status().message()));
  v1::ScoreResult result = RewardResult(RewardOf(*verdict));
  auto& details = *result.mutable_details();
  details["exact"] = verdict->is_exact ? "true" : "false";
  details["correct"] = verdict->is_correct ? "true" : "false";
  details["graded"] = absl::StrFormat("%.3f", verdict->graded);
  details["found"] = verdict->found;
  if (!verdict->reason.empty()) details["reason"] = verdict->reason;
  return result;
}

absl::Status GenevalScorer::CheckPrompt(const std::string& /*prompt*/, const PromptMetadata& metadata) const {
  return ParseGenevalTask(AsMap(metadata), classes_).status();
}

v1::ScoreItem GenevalScorer::ProbeItem() const {
  v1::ScoreItem item = Scorer::ProbeItem();
  (*item.mutable_metadata())["tag"] = "single_object";
  const nlohmann::json clause = {{"class", classes_.NameOf(0)}, {"count", 1}};
  (*item.mutable_metadata())["include"] = nlohmann::json::array({clause}).dump(-1, ' ', true);
  return item;
}

absl::StatusOr<GenevalVerdict> GenevalScorer::Judge(const v1::ScoreItem& item, const GenevalTask& task,
                                                    KeepGoing keep_going) {
  const Image image{static_cast<int>(item.height()), static_cast<int>(item.width()), item.image_rgb()};
  const DetectionPixels pixels = PrepareForDetection(image, preprocess_);
  FLOWAWR_ASSIGN_OR_RETURN(const MaskQueries queries, detector_->Forward(pixels.pixels, keep_going));
  if (!queries.class_logits.isfinite().all().item<bool>() || !queries.mask_logits.isfinite().all().item<bool>())
    return absl::InternalError("the detector's results are not finite numbers: its weights are damaged");
  const auto objects =
      ByLabel(FindInstances(queries.class_logits[0], queries.mask_logits[0], pixels, image.height, image.width,
                            {.min_score = thresholds_.ConfidenceFor(task)}));
  return Decide(
      task, classes_, objects,
      [&](const std::string& name, absl::Span<const Instance> of_class) {
        return colours_->Classify(image, name, of_class, keep_going);
      },
      thresholds_);
}

double GenevalScorer::RewardOf(const GenevalVerdict& verdict) const {
  if (reward_ == Reward::kGraded) return verdict.graded;
  return (reward_ == Reward::kStrict ? verdict.is_exact : verdict.is_correct) ? 1 : 0;
}

}  // namespace flowawr
