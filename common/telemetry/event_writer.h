// TensorBoard event files: `tensorboard --logdir RUN_DIR/events`.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/synchronization/mutex.h"

namespace flowawr {

// Appends to one new file of `folder`; every record is handed to the operating system whole before Add...() returns.
// Thread-safe. Errors name the file, which is then as it was before the record.
class EventWriter {
 public:
  // Makes `folder` when it is not there. A folder may hold the files of several writers: resumes add theirs.
  static absl::StatusOr<std::unique_ptr<EventWriter>> Create(const std::string& folder);
  ~EventWriter();

  absl::Status AddScalar(absl::string_view tag, int64_t step, double value);
  // `png` is the file of an RGB picture of that size.
  absl::Status AddImage(absl::string_view tag, int64_t step, int height, int width, std::string png);

 private:
  EventWriter(std::string path, int fd) : path_(std::move(path)), fd_(fd) {}
  // One record: length, its checksum, an Event in wire format, its checksum.
  absl::Status WriteRecord(const std::string& event);

  const std::string path_;
  absl::Mutex mutex_;  // records do not interleave
  const int fd_;
};

}  // namespace flowawr
