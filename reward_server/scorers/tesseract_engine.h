// One Tesseract recogniser (LSTM only). No exception and no output of the library gets past it.
#pragma once

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "reward_server/scorers/ocr_page.h"

namespace tesseract {
class TessBaseAPI;
}

namespace flowawr {

struct TesseractOptions {
  std::string language = "eng";
  std::string tessdata;          // folder of *.traineddata; empty: TESSDATA_PREFIX or where the package put it
  std::string layout = "line";   // line, word, block or sparse: how text is expected to lie on the page
  bool uses_dictionary = false;  // prefer words of the language over what the letters look like
};

// Not thread-safe: one thread at a time. What was read before leaves no trace in what is read next.
//
// Tesseract's own OpenMP threads cost more than they bring on single lines: run with OMP_THREAD_LIMIT=1 in the
// environment, set before the process starts (libgomp reads it while it is loaded).
class TesseractEngine {
 public:
  // NotFound when the language's model is not there; says where it was looked for and how to get it.
  static absl::StatusOr<std::unique_ptr<TesseractEngine>> Load(const TesseractOptions& options);
  ~TesseractEngine();

  // The text in UTF-8, as Tesseract gives it; empty where there is none. `whitelist` names the only characters that may
  // be read; empty: any. Internal when the library fails: throw the engine away.
  absl::StatusOr<std::string> Read(const GrayPage& page, const std::string& whitelist);

  static std::string LibraryVersion();

 private:
  TesseractEngine();

  std::unique_ptr<tesseract::TessBaseAPI> api_;
  std::string whitelist_;
};

}  // namespace flowawr
