// One Tesseract recogniser (LSTM only). No exception and no output of the library gets past it.
#pragma once

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "reward_server/scorers/gray_page.h"
#include "reward_server/scorers/tesseract_options.h"

namespace tesseract {
class TessBaseAPI;
}

namespace flowawr {

// Not thread-safe: one thread at a time. What was read before leaves no trace in what is read next.
//
// Tesseract's own OpenMP threads cost more than they bring on single lines: run with OMP_THREAD_LIMIT=1 in the
// environment, set before the process starts (libgomp reads it while it is loaded). Read() cannot be ended: that is
// why OcrReader has a process for it.
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
