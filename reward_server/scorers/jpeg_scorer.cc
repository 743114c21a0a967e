#include "reward_server/scorers/jpeg_scorer.h"

#include "absl/strings/str_cat.h"
#include "common/base/status.h"
#include "common/tensor/image.h"

namespace flowawr {

absl::StatusOr<std::shared_ptr<Scorer>> JpegScorer::Load(ScorerOptions& options, const ScorerContext& context) {
  const int quality = options.Integer("quality", 95, 1, 100);
  const int scale = options.Integer("scale", 500, 1, 1'000'000);
  const std::string sign = options.Choice("sign", "-1", {"-1", "1"});
  FLOWAWR_RETURN_IF_ERROR(options.Finish());
  return std::shared_ptr<Scorer>(new JpegScorer(quality, scale, sign == "1" ? 1 : -1, context.threads));
}

JpegScorer::JpegScorer(int quality, int scale, int sign, int threads)
    : quality_(quality),
      scale_(scale),
      sign_(sign),
      threads_(threads),
      version_(absl::StrCat("libjpeg quality ", quality, " scale ", scale)) {}

std::vector<v1::ScoreResult> JpegScorer::Score(absl::Span<const v1::ScoreItem* const> items,
                                               StillWanted /*still_wanted*/) {
  std::vector<v1::ScoreResult> results;
  for (const v1::ScoreItem* item : items) {
    const auto jpeg =
        EncodeJpeg({static_cast<int>(item->height()), static_cast<int>(item->width()), item->image_rgb()}, quality_);
    if (!jpeg.ok()) {
      results.push_back(ErrorResult(v1::ScoreError::BROKEN, std::string(jpeg.status().message())));
      continue;
    }
    results.push_back(RewardResult(sign_ * (static_cast<double>(jpeg->size()) / 1000) / scale_));
    (*results.back().mutable_details())["bytes"] = absl::StrCat(jpeg->size());
  }
  return results;
}

}  // namespace flowawr
