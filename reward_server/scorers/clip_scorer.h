// Kinds `pickscore`, `clipscore`, `hpsv2` and `aesthetic`: rewards from CLIP's embeddings of picture and prompt.
//
//   pickscore  exp(logit_scale) cos(picture, prompt) / 26  on CLIP-H trained on people's choices (PickScore_v1)
//   clipscore  exp(logit_scale) cos(picture, prompt) / 100 on any CLIP
//   hpsv2      cos(picture, prompt)                        on OpenCLIP's ViT-H-14 trained on such choices (HPS v2.1)
//   aesthetic  an MLP of linear layers on the picture's embedding of length 1 (ViT-L/14); looks at no prompt
//
// The formulas, and how a picture is made ready (clip_preprocess.h), are those of public trainers: Flow-GRPO's
// pickscore_scorer.py and aesthetic_scorer.py, DiffusionNFT's clip_scorer.py and hpsv2_scorer.py.
//
// `pickscore` and `aesthetic` see all of a picture, proportions lost, where the model's preprocessor_config.json turns
// the crop off; published models crop.
//
// Options:
//   model=FOLDER   the CLIP model, see clip_model.h; must be given
//   head=FOLDER    `aesthetic` alone: the MLP, see aesthetic_head.h; must be given
//   dtype=float32  or bfloat16: what the towers compute in
//
// Details of a result: `cosine` (not for `aesthetic`), and `cut_off`: the end of a prompt that is longer than the model
// takes (77 tokens as published).
//
// Scorers whose model is the same folder in the same dtype on one device share its weights, and the embeddings of the
// last pictures and prompts (shared_clip.h).
//
// On the CPU pictures are embedded one by one, on a device in batches of context.batch rows, or ClipBatch::kUsual: see
// clip_batch.h. Each is made ready, fails and is given up by itself; a batch stops when nobody waits for any of it.
#pragma once

#include <ATen/core/Tensor.h>

#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/base/keep_going.h"
#include "common/clip/clip_batch.h"
#include "reward_server/scorer.h"
#include "reward_server/scorer_options.h"
#include "reward_server/scorers/scorer_stream.h"

namespace flowawr {

class AestheticHead;
class SharedClip;
enum class ClipPreprocess;
struct ClipScorerKind;  // what the kinds differ in: a row of the table in clip_scorer.cc

class ClipScorer : public Scorer {
 public:
  static absl::StatusOr<std::shared_ptr<Scorer>> LoadPickScore(ScorerOptions& options, const ScorerContext& context);
  static absl::StatusOr<std::shared_ptr<Scorer>> LoadClipScore(ScorerOptions& options, const ScorerContext& context);
  static absl::StatusOr<std::shared_ptr<Scorer>> LoadHpsV2(ScorerOptions& options, const ScorerContext& context);
  static absl::StatusOr<std::shared_ptr<Scorer>> LoadAesthetic(ScorerOptions& options, const ScorerContext& context);
  ~ClipScorer() override;

  // An empty prompt, where it is read, or a picture of extreme proportions: BAD_INPUT.
  std::vector<v1::ScoreResult> Score(absl::Span<const v1::ScoreItem* const> items, StillWanted still_wanted) override;
  absl::Status CheckPrompt(const std::string& prompt, const PromptMetadata& metadata) const override;
  const std::string& version() const override { return version_; }
  std::string weights_sha256() const override { return weights_sha256_; }
  size_t memory_bytes() const override;
  // Where they are embedded one by one, more than one only gives several requests a turn.
  int recommended_batch() const override { return ClipBatch::kUsual; }
  int parallel_calls() const override { return 1; }  // the products run on all its threads

  const SharedClip& clip() const { return *clip_; }

 private:
  static absl::StatusOr<std::shared_ptr<Scorer>> Load(const ClipScorerKind& kind, ScorerOptions& options,
                                                      const ScorerContext& context);
  ClipScorer(const ClipScorerKind& kind, ClipPreprocess preprocess, std::shared_ptr<SharedClip> clip,
             std::unique_ptr<const AestheticHead> head, const ScorerContext& context, std::string version,
             at::Device device);

  // An item that its model can embed.
  struct Ready {
    at::Tensor pixels;   // [3, size, size]
    std::string prompt;  // as the model reads it; empty where it reads none
  };
  absl::StatusOr<Ready> MakeReady(const v1::ScoreItem& item) const;
  std::vector<absl::StatusOr<Ready>> MakeAllReady(absl::Span<const v1::ScoreItem* const> items,
                                                  StillWanted still_wanted) const;
  std::vector<v1::ScoreResult> ScoreTogether(absl::Span<const v1::ScoreItem* const> items, StillWanted still_wanted);

  struct Embeds {
    at::Tensor pictures, prompts;  // a row an item; prompts are undefined where none is read
  };
  absl::StatusOr<Embeds> Embed(absl::Span<const Ready> ready, KeepGoing keep_going);
  // Of one row each.
  v1::ScoreResult ResultOf(const std::string& prompt, const Embeds& embeds) const;

  const ClipScorerKind& kind_;
  const ClipPreprocess preprocess_;
  const std::shared_ptr<SharedClip> clip_;
  const std::unique_ptr<const AestheticHead> head_;  // null for kinds that read the prompt
  const int threads_;
  const std::string version_;
  const std::string weights_sha256_;
  const ScorerStream stream_;
  ClipBatch batch_;
};

}  // namespace flowawr
