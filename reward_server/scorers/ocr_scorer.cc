#include "reward_server/scorers/ocr_scorer.h"

#include <algorithm>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "common/base/status.h"
#include "reward_server/scorers/ocr_reward.h"

namespace flowawr {
namespace {

constexpr char kCapitals[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ";

}  // namespace

absl::StatusOr<std::shared_ptr<Scorer>> OcrScorer::Load(ScorerOptions& options, const ScorerContext& context) {
  TesseractOptions reader;
  reader.language = options.Text("language", reader.language);
  reader.tessdata = options.Text("tessdata", "");
  reader.layout = options.Choice("layout", reader.layout, {"line", "word", "block", "sparse"});
  reader.uses_dictionary = options.Flag("dictionary", reader.uses_dictionary);
  PageOptions page;
  page.min_height = options.Integer("min_height", page.min_height, 1, 1024);
  page.margin = options.Integer("margin", page.margin, 0, 256);
  const std::string letters = options.Text("letters", "auto");
  FLOWAWR_RETURN_IF_ERROR(options.Finish());
  std::shared_ptr<OcrScorer> scorer(new OcrScorer(reader, page, letters, context.threads));
  for (int i = 0; i < context.threads; ++i) {
    FLOWAWR_ASSIGN_OR_RETURN(auto started, OcrReader::Start(reader));
    scorer->version_ = absl::StrCat("tesseract ", started->tesseract_version(), " ", reader.language);
    scorer->GiveBack(std::move(started));
  }
  return scorer;
}

OcrScorer::OcrScorer(TesseractOptions reader, PageOptions page, std::string letters, int threads)
    : reader_options_(std::move(reader)), page_options_(page), letters_(std::move(letters)), threads_(threads) {}

std::vector<v1::ScoreResult> OcrScorer::Score(absl::Span<const v1::ScoreItem* const> items, StillWanted still_wanted) {
  std::vector<v1::ScoreResult> results;
  for (size_t i = 0; i < items.size(); ++i)
    results.push_back(ScoreOne(*items[i], [&still_wanted, i] { return still_wanted(i); }));
  return results;
}

absl::Status OcrScorer::CheckPrompt(const std::string& prompt, const PromptMetadata& metadata) const {
  return OcrTarget(prompt, {metadata.begin(), metadata.end()}).status();
}

v1::ScoreResult OcrScorer::ScoreOne(const v1::ScoreItem& item, KeepGoing keep_going) {
  const auto target = OcrTarget(item.prompt(), {item.metadata().begin(), item.metadata().end()});
  if (!target.ok()) return ErrorResult(v1::ScoreError::BAD_INPUT, std::string(target.status().message()));
  auto reader = Borrow();
  if (!reader.ok()) return ErrorResult(v1::ScoreError::BROKEN, std::string(reader.status().message()));
  const auto text = (*reader)->Read(MakePage(item, page_options_), WhitelistFor(*target), keep_going);
  if (!text.ok()) return ErrorResult(v1::ScoreError::BROKEN, std::string(text.status().message()));
  GiveBack(*std::move(reader));
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

absl::StatusOr<std::unique_ptr<OcrReader>> OcrScorer::Borrow() {
  {
    absl::MutexLock lock(&mutex_);
    if (!free_readers_.empty()) {
      std::unique_ptr<OcrReader> reader = std::move(free_readers_.back());
      free_readers_.pop_back();
      return reader;
    }
  }
  return OcrReader::Start(reader_options_);
}

void OcrScorer::GiveBack(std::unique_ptr<OcrReader> reader) {
  absl::MutexLock lock(&mutex_);
  free_readers_.push_back(std::move(reader));
}

std::string OcrScorer::WhitelistFor(const std::string& target) const {
  if (letters_ == "any") return "";
  if (letters_ != "auto") return letters_;
  const bool is_capitals = std::all_of(target.begin(), target.end(),
                                       [](char c) { return absl::ascii_isupper(c) || absl::ascii_isspace(c); });
  return is_capitals ? kCapitals : "";
}

}  // namespace flowawr
