// Logging goes through spdlog: spdlog::info("batch {} trained", n) and so on, to stderr.
//
// As text for people or as JSON for log stores, a line a message. Of JSON, each line has `time` (UTC), `level`,
// `process` and `message`, and where it is known `run` and what LogFields names: update, version, group, actor, ...
#pragma once

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "spdlog/spdlog.h"

namespace flowawr {

// Every message carries the time, `process_name` and the level; its further lines are indented, and control characters
// are written as \x1b, so that no text from outside looks like a line of ours or moves a terminal's cursor. In JSON they
// are escaped as JSON has it. Call first thing in main().
//
// `level`: trace, debug, info, warn, error or off. `format`: text or json; empty: what FLOWAWR_LOG_FORMAT in the
// environment says, else text. Anything else logs a warning and means info, and text.
void InitLogging(absl::string_view process_name, absl::string_view level = "info", absl::string_view format = "");

// Whether lines are JSON.
bool LogsJson();

// The run of this process, from now on a field of every JSON line. Thread-safe.
void SetLogRun(absl::string_view run_id);

using LogValue = std::variant<uint64_t, double, std::string>;
using LogField = std::pair<const char*, LogValue>;

// Fields that the JSON lines of this thread have as long as this lives; text lines stay as they are. Of two of one name
// the newer counts. A double that is not finite is null.
class LogFields {
 public:
  LogFields(std::initializer_list<LogField> fields);
  explicit LogFields(const std::vector<LogField>& fields);
  ~LogFields();
  LogFields(const LogFields&) = delete;
  LogFields& operator=(const LogFields&) = delete;

 private:
  const size_t count_;
};

// One JSON line with the fields of this thread, end of line included. For what must be told whatever the level: the
// error that a program ends with.
std::string JsonLogLine(absl::Time time, absl::string_view level, absl::string_view message);

}  // namespace flowawr
