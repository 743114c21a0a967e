// Tables of text: RFC 4180, with any separator.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace flowawr {

// Reads row by row. A cell that begins with a double quote ends with one, and may hold the separator, ends of lines and
// doubled double quotes; any other cell is what stands between two separators. Lines end with LF or CRLF; empty ones are
// left out. Not thread-safe; the text must outlive it.
class CsvReader {
 public:
  CsvReader(absl::string_view text, char separator) : rest_(text), separator_(separator) { SkipEmptyLines(); }

  // The next row's cells; none at the end. InvalidArgument for a quote that is not closed, or is followed by more text.
  absl::StatusOr<std::optional<std::vector<std::string>>> Next();
  // Where the next row begins, from 1.
  int line() const { return line_; }

 private:
  void SkipEmptyLines();
  absl::StatusOr<std::string> QuotedCell();

  absl::string_view rest_;
  const char separator_;
  int line_ = 1;
};

}  // namespace flowawr
