// Kind `geneval`: does the image show the objects that its prompt asks for, in their number, colours and positions?
//
// A Mask2Former finds the objects, a CLIP names their colours, and GenEval's rules decide: geneval_decision.h. The
// prompt's metadata says what is asked for: geneval_task.h.
//
// Options:
//   detector=FOLDER    a Mask2Former as published; facebook/mask2former-swin-small-coco-instance for GenEval
//   clip=FOLDER        a CLIP as published; openai/clip-vit-large-patch14 for GenEval. Not with colours=pixels
//   colours=clip       clip or pixels: see geneval_colours.h
//   reward=strict      strict: 1 or 0; graded: the mean mark; official: 1 or 0 by the benchmark's own rule
//   confidence=0.3     what an object's score must exceed; counting_confidence=0.9 in prompts of the tag `counting`
//   position=0.1       how far, in shares of their sides, objects must be apart to be left of each other, and so on
//   short_edge=0, long_edge=0   the edges that images are resized to; 0: as the detector's folder says, else 800 and
//                      1333
//   dtype=float32      or bfloat16: of the detector
//
// Details of a result: `exact` (strict) and `correct` (official), true or false, `graded`, `found` ("1 red circle,
// 2 squares") and `reason`, why it is not exact, if so.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "reward_server/detection/detection_preprocess.h"
#include "reward_server/detection/mask2former.h"
#include "reward_server/scorer.h"
#include "reward_server/scorer_options.h"
#include "reward_server/scorers/geneval_colours.h"
#include "reward_server/scorers/geneval_decision.h"
#include "reward_server/scorers/geneval_task.h"
#include "reward_server/scorers/scorer_stream.h"

namespace flowawr {

class GenevalScorer : public Scorer {
 public:
  static absl::StatusOr<std::shared_ptr<Scorer>> Load(ScorerOptions& options, const ScorerContext& context);

  // Metadata that does not fit: BAD_INPUT. Numbers of a model that are not finite: BROKEN. Images are worked on one by
  // one: a result's bits are those of the image alone.
  std::vector<v1::ScoreResult> Score(absl::Span<const v1::ScoreItem* const> items, StillWanted still_wanted) override;
  absl::Status CheckPrompt(const std::string& prompt, const PromptMetadata& metadata) const override;
  const std::string& version() const override { return version_; }
  // Of the detector's; with a CLIP, of both digests, a line each.
  std::string weights_sha256() const override { return weights_sha256_; }
  size_t memory_bytes() const override { return detector_->memory_bytes() + colours_->memory_bytes(); }
  v1::ScoreItem ProbeItem() const override;  // asks for the detector's first class
  int parallel_calls() const override { return 1; }

 private:
  enum class Reward { kStrict, kGraded, kOfficial };
  struct Parts {
    std::unique_ptr<const Mask2Former> detector;
    DetectionPreprocess preprocess;
    std::unique_ptr<GenevalColours> colours;
  };

  GenevalScorer(Parts parts, Reward reward, const GenevalThresholds& thresholds, int threads, at::Device device);

  v1::ScoreResult ResultOf(const v1::ScoreItem& item, KeepGoing keep_going);
  absl::StatusOr<GenevalVerdict> Judge(const v1::ScoreItem& item, const GenevalTask& task, KeepGoing keep_going);
  double RewardOf(const GenevalVerdict& verdict) const;

  const std::unique_ptr<const Mask2Former> detector_;
  const DetectionPreprocess preprocess_;
  const std::unique_ptr<GenevalColours> colours_;
  const Reward reward_;
  const GenevalThresholds thresholds_;
  const int threads_;
  const GenevalClasses classes_;
  const ScorerStream stream_;
  std::string version_, weights_sha256_;  // set once, when it is loaded
};

}  // namespace flowawr
