#include "reward_server/scorers/ocr_scorer.h"

#include <algorithm>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "common/base/status.h"
#include "reward_server/scorers/ocr_reward.h"

namespace flowawr {
namespace {

constexpr char kCapitals[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ";

}  // namespace

absl::StatusOr<std::shared_ptr<Scorer>> OcrScorer::Load(ScorerOptions& options, int threads) {
  TesseractOptions engine;
  engine.language = options.Text("language", engine.language);
  engine.tessdata = options.Text("tessdata", "");
  engine.layout = options.Choice("layout", engine.layout, {"line", "word", "block", "sparse"});
  engine.uses_dictionary = options.Flag("dictionary", engine.uses_dictionary);
  PageOptions page;
  page.min_height = options.Integer("min_height", page.min_height, 1, 1024);
  page.margin = options.Integer("margin", page.margin, 0, 256);
  const std::string letters = options.Text("letters", "auto");
  FLOWAWR_RETURN_IF_ERROR(options.Finish());
  std::shared_ptr<OcrScorer> scorer(new OcrScorer(engine, page, letters));
  for (int i = 0; i < threads; ++i) {
    FLOWAWR_ASSIGN_OR_RETURN(auto loaded, TesseractEngine::Load(engine));
    scorer->GiveBack(std::move(loaded));
  }
  return scorer;
}

OcrScorer::OcrScorer(TesseractOptions engine, PageOptions page, std::string letters)
    : engine_options_(std::move(engine)),
      page_options_(page),
      letters_(std::move(letters)),
      version_(absl::StrCat("tesseract ", TesseractEngine::LibraryVersion(), " ", engine_options_.language)) {}

std::vector<v1::ScoreResult> OcrScorer::Score(absl::Span<const v1::ScoreItem* const> items) {
  std::vector<v1::ScoreResult> results;
  for (const v1::ScoreItem* item : items) results.push_back(ScoreOne(*item));
  return results;
}

v1::ScoreResult OcrScorer::ScoreOne(const v1::ScoreItem& item) {
  const auto target = OcrTarget(item.prompt(), {item.metadata().begin(), item.metadata().end()});
  if (!target.ok()) return ErrorResult(v1::ScoreError::BAD_INPUT, std::string(target.status().message()));
  auto engine = Borrow();
  if (!engine.ok()) return ErrorResult(v1::ScoreError::BROKEN, std::string(engine.status().message()));
  const auto text = (*engine)->Read(MakePage(item, page_options_), WhitelistFor(*target));
  if (!text.ok()) return ErrorResult(v1::ScoreError::BROKEN, std::string(text.status().message()));
  GiveBack(*std::move(engine));
  const auto reward = ComputeOcrReward(*target, *text);
  if (!reward.ok()) return ErrorResult(v1::ScoreError::BAD_INPUT, std::string(reward.status().message()));
  v1::ScoreResult result = RewardResult(reward->reward);
  auto& details = *result.mutable_details();
  details["target"] = *target;
  details["text"] = std::string(absl::StripAsciiWhitespace(*text));
  details["distance"] = absl::StrCat(reward->distance);
  details["exact"] = reward->is_exact ? "true" : "false";
  return result;
}

absl::StatusOr<std::unique_ptr<TesseractEngine>> OcrScorer::Borrow() {
  {
    absl::MutexLock lock(&mutex_);
    if (!free_engines_.empty()) {
      std::unique_ptr<TesseractEngine> engine = std::move(free_engines_.back());
      free_engines_.pop_back();
      return engine;
    }
  }
  return TesseractEngine::Load(engine_options_);
}

void OcrScorer::GiveBack(std::unique_ptr<TesseractEngine> engine) {
  absl::MutexLock lock(&mutex_);
  free_engines_.push_back(std::move(engine));
}

std::string OcrScorer::WhitelistFor(const std::string& target) const {
  if (letters_ == "any") return "";
  if (letters_ != "auto") return letters_;
  const bool is_capitals = std::all_of(target.begin(), target.end(),
                                       [](char c) { return absl::ascii_isupper(c) || absl::ascii_isspace(c); });
  return is_capitals ? kCapitals : "";
}

}  // namespace flowawr
