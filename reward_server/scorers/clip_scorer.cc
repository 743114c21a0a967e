#include "reward_server/scorers/clip_scorer.h"

#include <ATen/Parallel.h>
#include <torch/types.h>

#include <exception>
#include <iterator>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/base/last_name.h"
#include "common/base/sha256.h"
#include "common/base/status.h"
#include "common/base/utf8.h"
#include "common/clip/clip_preprocess.h"
#include "common/clip/shared_clip.h"
#include "common/nn/parallel.h"
#include "common/tensor/devices.h"
#include "reward_server/scorers/aesthetic_head.h"
#include "reward_server/scorers/mended_text.h"

namespace flowawr {

struct ClipScorerKind {
  const char* name;
  ClipPreprocess preprocess;  // kClipProcessor: or kStretched, as the model's folder says
  bool reads_prompt;          // else the reward is the head's
  bool has_logit_scale;       // as a factor of the cosine
  bool mends_prompt;          // see mended_text.h
  double divisor;
  const char* fetch;  // how to get the weights, for errors
};

namespace {

constexpr ClipScorerKind kPickScore = {.name = "pickscore",
                                       .preprocess = ClipPreprocess::kClipProcessor,
                                       .reads_prompt = true,
                                       .has_logit_scale = true,
                                       .mends_prompt = false,
                                       .divisor = 26,
                                       .fetch = "hf download yuvalkirstain/PickScore_v1 --local-dir PickScore_v1"};
constexpr ClipScorerKind kClipScore = {
    .name = "clipscore",
    .preprocess = ClipPreprocess::kTensorShortest,
    .reads_prompt = true,
    .has_logit_scale = true,
    .mends_prompt = false,
    .divisor = 100,
    .fetch = "hf download openai/clip-vit-large-patch14 --local-dir clip-vit-large-patch14"};
constexpr ClipScorerKind kHpsV2 = {.name = "hpsv2",
                                   .preprocess = ClipPreprocess::kTensorLongest,
                                   .reads_prompt = true,
                                   .has_logit_scale = false,
                                   .mends_prompt = true,
                                   .divisor = 1,
                                   .fetch =
                                       "hf download xswu/HPSv2 HPS_v2.1_compressed.pt --local-dir HPSv2, and "
                                       "tools/convert_rewards hpsv2 makes a folder of it"};
constexpr ClipScorerKind kAesthetic = {
    .name = "aesthetic",
    .preprocess = ClipPreprocess::kClipProcessor,
    .reads_prompt = false,
    .has_logit_scale = false,
    .mends_prompt = false,
    .divisor = 1,
    .fetch = "hf download openai/clip-vit-large-patch14 --local-dir clip-vit-large-patch14"};

absl::Status CheckText(const ClipScorerKind& kind, absl::string_view prompt) {
  if (!kind.reads_prompt) return absl::OkStatus();
  if (!IsValidUtf8(prompt)) return absl::InvalidArgumentError("the prompt is not valid UTF-8");
  if (!absl::StripAsciiWhitespace(prompt).empty()) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("the prompt is empty: ", kind.name, " tells how well a picture fits its prompt"));
}

v1::ScoreResult ErrorOf(const absl::Status& status) {
  return ErrorResult(absl::IsInvalidArgument(status) ? v1::ScoreError::BAD_INPUT : v1::ScoreError::BROKEN,
                     std::string(status.message()));
}

}  // namespace

absl::StatusOr<std::shared_ptr<Scorer>> ClipScorer::LoadPickScore(ScorerOptions& options,
                                                                  const ScorerContext& context) {
  return Load(kPickScore, options, context);
}
absl::StatusOr<std::shared_ptr<Scorer>> ClipScorer::LoadClipScore(ScorerOptions& options,
                                                                  const ScorerContext& context) {
  return Load(kClipScore, options, context);
}
absl::StatusOr<std::shared_ptr<Scorer>> ClipScorer::LoadHpsV2(ScorerOptions& options, const ScorerContext& context) {
  return Load(kHpsV2, options, context);
}
absl::StatusOr<std::shared_ptr<Scorer>> ClipScorer::LoadAesthetic(ScorerOptions& options,
                                                                  const ScorerContext& context) {
  return Load(kAesthetic, options, context);
}

absl::StatusOr<std::shared_ptr<Scorer>> ClipScorer::Load(const ClipScorerKind& kind, ScorerOptions& options,
                                                         const ScorerContext& context) {
  const std::string model = options.Text("model", "");
  const std::string head_folder = kind.reads_prompt ? "" : options.Text("head", "");
  const std::string dtype_name = options.Choice("dtype", "float32", {"float32", "bfloat16"});
  FLOWAWR_RETURN_IF_ERROR(options.Finish());
  if (model.empty())
    return absl::InvalidArgumentError(
        absl::StrCat("the option model=FOLDER must name the CLIP model; to fetch it: ", kind.fetch));
  if (!kind.reads_prompt && head_folder.empty())
    return absl::InvalidArgumentError(
        "the option head=FOLDER must name the MLP; tools/convert_rewards aesthetic makes it of "
        "sac+logos+ava1-l14-linearMSE.pth");
  FLOWAWR_ASSIGN_OR_RETURN(const at::Device device, FindDevice(context.device));
  at::set_num_threads(context.threads);
  absl::StatusOr<std::shared_ptr<SharedClip>> clip = SharedClip::Open(model, {DTypeNamed(dtype_name), device});
  if (absl::IsNotFound(clip.status()) && !absl::StrContains(clip.status().message(), kind.fetch))
    return absl::NotFoundError(absl::StrCat(clip.status().message(), ". For ", kind.name, ": ", kind.fetch));
  FLOWAWR_RETURN_IF_ERROR(clip.status());
  ClipPreprocess preprocess = kind.preprocess;
  if (preprocess == ClipPreprocess::kClipProcessor) {
    FLOWAWR_ASSIGN_OR_RETURN(preprocess, ClipProcessorOf(model));
  }
  std::unique_ptr<const AestheticHead> head;
  if (!kind.reads_prompt) {
    FLOWAWR_ASSIGN_OR_RETURN(head, AestheticHead::Load(head_folder, (*clip)->model().projection_dim()));
  }
  std::string version = absl::StrCat(LastName(model), " ", dtype_name);
  if (head) version = absl::StrCat(LastName(head_folder), " on ", version);
  return std::shared_ptr<Scorer>(new ClipScorer(kind, preprocess, *std::move(clip), std::move(head), context,
                                                std::move(version), device));
}

ClipScorer::ClipScorer(const ClipScorerKind& kind, ClipPreprocess preprocess, std::shared_ptr<SharedClip> clip,
                       std::unique_ptr<const AestheticHead> head, const ScorerContext& context, std::string version,
                       at::Device device)
    : kind_(kind),
      preprocess_(preprocess),
      clip_(std::move(clip)),
      head_(std::move(head)),
      threads_(context.threads),
      version_(std::move(version)),
      weights_sha256_(head_ ? HexSha256(absl::StrCat(clip_->model().weights_sha256(), head_->weights_sha256()))
                            : clip_->model().weights_sha256()),
      stream_(device),
      batch_(context.batch, device, kind.name) {}

ClipScorer::~ClipScorer() = default;

size_t ClipScorer::memory_bytes() const { return clip_->model().memory_bytes() + (head_ ? head_->memory_bytes() : 0); }

absl::Status ClipScorer::CheckPrompt(const std::string& prompt, const PromptMetadata& /*metadata*/) const {
  return CheckText(kind_, prompt);
}

std::vector<v1::ScoreResult> ClipScorer::Score(absl::Span<const v1::ScoreItem* const> items, StillWanted still_wanted) {
  at::set_num_threads(threads_);  // of this thread's products
  std::vector<v1::ScoreResult> results;
  stream_.Run([&] {
    while (results.size() < items.size()) {
      const size_t first = results.size();
      std::vector<v1::ScoreResult> some = ScoreTogether(items.subspan(first, static_cast<size_t>(batch_.size())),
                                                        [&](size_t i) { return still_wanted(first + i); });
      results.insert(results.end(), std::make_move_iterator(some.begin()), std::make_move_iterator(some.end()));
    }
  });
  return results;
}

std::vector<v1::ScoreResult> ClipScorer::ScoreTogether(absl::Span<const v1::ScoreItem* const> items,
                                                       StillWanted still_wanted) {
  std::vector<v1::ScoreResult> results(items.size());
  std::vector<absl::StatusOr<Ready>> made = MakeAllReady(items, still_wanted);
  std::vector<size_t> indices;  // of what is embedded
  std::vector<Ready> ready;
  for (size_t i = 0; i < items.size(); ++i) {
    if (made[i].ok()) {
      indices.push_back(i);
      ready.push_back(*std::move(made[i]));
    } else {
      results[i] = ErrorOf(made[i].status());
    }
  }
  if (ready.empty()) return results;
  const auto keep_going = [&] {
    absl::Status status;
    for (const size_t i : indices)
      if (status = still_wanted(i); status.ok()) break;
    return status;
  };
  const absl::StatusOr<Embeds> embeds = Embed(ready, keep_going);
  for (size_t row = 0; row < ready.size(); ++row) {
    const auto of_row = [row](const at::Tensor& rows) {
      return rows.defined() ? rows.narrow(0, static_cast<int64_t>(row), 1) : rows;
    };
    if (embeds.ok()) {
      results[indices[row]] = ResultOf(ready[row].prompt, {of_row(embeds->pictures), of_row(embeds->prompts)});
    } else {
      const absl::Status wanted = still_wanted(indices[row]);
      results[indices[row]] = ErrorOf(wanted.ok() ? embeds.status() : wanted);
    }
  }
  return results;
}

std::vector<absl::StatusOr<ClipScorer::Ready>> ClipScorer::MakeAllReady(absl::Span<const v1::ScoreItem* const> items,
                                                                        StillWanted still_wanted) const {
  std::vector<absl::StatusOr<Ready>> made(items.size());
  const auto make = [&](int64_t begin, int64_t end) {
    for (auto i = static_cast<size_t>(begin); i < static_cast<size_t>(end); ++i) {
      const absl::Status wanted = still_wanted(i);
      if (!wanted.ok()) {
        made[i] = wanted;
        continue;
      }
      try {
        made[i] = MakeReady(*items[i]);
      } catch (const std::exception& error) {
        made[i] = absl::InternalError(error.what());
      }
    }
  };
  // A picture alone is resized by all threads; of several each has one.
  if (items.size() == 1) {
    make(0, 1);
  } else {
    ParallelFor(0, static_cast<int64_t>(items.size()), /*grain=*/1, make);
  }
  return made;
}

absl::StatusOr<ClipScorer::Ready> ClipScorer::MakeReady(const v1::ScoreItem& item) const {
  FLOWAWR_RETURN_IF_ERROR(CheckText(kind_, item.prompt()));
  const Image image{static_cast<int>(item.height()), static_cast<int>(item.width()), item.image_rgb()};
  Ready ready;
  FLOWAWR_ASSIGN_OR_RETURN(ready.pixels, ClipPixels(image, preprocess_, clip_->model().image_size()));
  if (kind_.reads_prompt) ready.prompt = kind_.mends_prompt ? MendedText(item.prompt()) : item.prompt();
  return ready;
}

absl::StatusOr<ClipScorer::Embeds> ClipScorer::Embed(absl::Span<const Ready> ready, KeepGoing keep_going) {
  std::vector<at::Tensor> pixels;
  std::vector<std::string> prompts;
  for (const Ready& item : ready) {
    pixels.push_back(item.pixels);
    prompts.push_back(item.prompt);
  }
  Embeds embeds;
  FLOWAWR_ASSIGN_OR_RETURN(embeds.pictures, batch_.WithinMemory([&](int size) {
    return clip_->ImageEmbeds(pixels, keep_going, size);
  }));
  if (!kind_.reads_prompt) return embeds;
  FLOWAWR_ASSIGN_OR_RETURN(embeds.prompts, batch_.WithinMemory([&](int size) {
    return clip_->TextEmbeds(prompts, keep_going, size);
  }));
  return embeds;
}

v1::ScoreResult ClipScorer::ResultOf(const std::string& prompt, const Embeds& embeds) const {
  if (head_) return RewardResult(head_->Forward(Normalised(embeds.pictures)).item<double>());
  const ClipModel& model = clip_->model();
  const double cosine = (Normalised(embeds.pictures) * Normalised(embeds.prompts)).sum().item<double>();
  v1::ScoreResult result = RewardResult((kind_.has_logit_scale ? model.logit_scale() : 1) * cosine / kind_.divisor);
  auto& details = *result.mutable_details();
  details["cosine"] = absl::StrCat(cosine);
  if (std::string cut_off = model.CutOff(prompt); !cut_off.empty()) details["cut_off"] = std::move(cut_off);
  return result;
}

}  // namespace flowawr
