// Tesseract in a process of its own: the only way to end what it is at, as its layout analysis looks at no deadline
// and takes minutes for a large picture of noise. A crash in the library costs one answer, not the server.
//
// The process is `flowawr-ocr-reader`, which lies beside the executable (FLOWAWR_OCR_READER names another place). It
// ends with its parent, however that ends.
#pragma once

#include <sys/types.h>

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "reward_server/scorers/frames.h"
#include "reward_server/scorers/gray_page.h"
#include "reward_server/scorers/tesseract_options.h"

namespace flowawr {

// Not thread-safe: one thread at a time.
class OcrReader {
 public:
  // NotFound when the language's model or the program is not there; says where it was looked for and how to get it.
  static absl::StatusOr<std::unique_ptr<OcrReader>> Start(const TesseractOptions& options);
  // Kills the process, whatever it is at.
  ~OcrReader();
  OcrReader(const OcrReader&) = delete;
  OcrReader& operator=(const OcrReader&) = delete;

  // The text, valid UTF-8; empty where there is none. `whitelist` names the only characters that may be read; empty:
  // any. What was read before leaves no trace in what is read next. After an error, which may be what `keep_going`
  // said, the reader is of no use any more.
  absl::StatusOr<std::string> Read(const GrayPage& page, const std::string& whitelist, KeepGoing keep_going);

  // Of the library, e.g. "5.3.0".
  const std::string& tesseract_version() const { return version_; }
  pid_t pid() const { return pid_; }

 private:
  OcrReader(pid_t pid, int socket) : pid_(pid), socket_(socket) {}

  const pid_t pid_;
  const int socket_;
  std::string version_;
};

}  // namespace flowawr
