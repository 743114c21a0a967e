// Kind `ocr`: does the image show the text that its prompt asks for? Read by Tesseract; see ocr_reward.h.
//
// Options, with what suits the embedded tiny world (single words of capitals, 32 x 64 pixels) as defaults:
//   language=eng       tessdata=FOLDER     which model, and where it lies
//   layout=line        line, word, block or sparse; `sparse` for whole scenes
//   letters=auto       the only characters that may be read; `auto`: capitals when the target has nothing else (and
//                      blanks), else any; `any`: no restriction
//   dictionary=false   prefer words of the language
//   min_height=64      lower pictures are enlarged by a whole factor, at most 4
//   margin=20          white pixels around the picture, after enlarging
//
// Details of a result: `text` (what was read), `distance`, `exact` (true or false), `target`.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "reward_server/scorer.h"
#include "reward_server/scorer_options.h"
#include "reward_server/scorers/ocr_page.h"
#include "reward_server/scorers/ocr_reader.h"

namespace flowawr {

class OcrScorer : public Scorer {
 public:
  // Starts one reader a thread, which takes about a tenth of a second each.
  static absl::StatusOr<std::shared_ptr<Scorer>> Load(ScorerOptions& options, const ScorerContext& context);

  // No or an empty target: BAD_INPUT. A reader that fails, or that is ended because nobody waits any more: BROKEN, and
  // it is replaced.
  std::vector<v1::ScoreResult> Score(absl::Span<const v1::ScoreItem* const> items, StillWanted still_wanted) override;
  absl::Status CheckPrompt(const std::string& prompt, const PromptMetadata& metadata) const override;
  const std::string& version() const override { return version_; }
  int parallel_calls() const override { return threads_; }

 private:
  OcrScorer(TesseractOptions reader, PageOptions page, std::string letters, int threads);

  v1::ScoreResult ScoreOne(const v1::ScoreItem& item, KeepGoing keep_going);
  // A free reader, or a new one when all are in use or were thrown away.
  absl::StatusOr<std::unique_ptr<OcrReader>> Borrow();
  void GiveBack(std::unique_ptr<OcrReader> reader);
  std::string WhitelistFor(const std::string& target) const;

  const TesseractOptions reader_options_;
  const PageOptions page_options_;
  const std::string letters_;
  const int threads_;
  std::string version_;  // set once, by Load()
  absl::Mutex mutex_;
  std::vector<std::unique_ptr<OcrReader>> free_readers_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace flowawr
