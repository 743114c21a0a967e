#include "common/config/csv.h"

#include <algorithm>

#include "absl/strings/match.h"
#include "absl/strings/strip.h"
#include "common/base/status.h"

namespace flowawr {

void CsvReader::SkipEmptyLines() {
  while (absl::ConsumePrefix(&rest_, "\n") || absl::ConsumePrefix(&rest_, "\r\n")) ++line_;
}

// `rest_` begins with its opening quote.
absl::StatusOr<std::string> CsvReader::QuotedCell() {
  std::string cell;
  rest_.remove_prefix(1);
  while (true) {
    const size_t quote = rest_.find('"');
    if (quote == rest_.npos) return absl::InvalidArgumentError("a double quote is never closed");
    const absl::string_view part = rest_.substr(0, quote);
    cell.append(part.data(), part.size());
    line_ += static_cast<int>(std::count(part.begin(), part.end(), '\n'));
    rest_.remove_prefix(quote + 1);
    if (!absl::ConsumePrefix(&rest_, "\"")) return cell;
    cell += '"';
  }
}

absl::StatusOr<std::optional<std::vector<std::string>>> CsvReader::Next() {
  if (rest_.empty()) return std::nullopt;
  std::vector<std::string> cells;
  while (true) {
    if (absl::StartsWith(rest_, "\"")) {
      FLOWAWR_ASSIGN_OR_RETURN(cells.emplace_back(), QuotedCell());
    } else {
      const size_t end = std::min(rest_.find(separator_), std::min(rest_.find('\n'), rest_.size()));
      absl::string_view cell = rest_.substr(0, end);
      if (end == rest_.size() || rest_[end] == '\n') absl::ConsumeSuffix(&cell, "\r");
      cells.emplace_back(cell);
      rest_.remove_prefix(end);
    }
    if (!rest_.empty() && rest_[0] == separator_) {
      rest_.remove_prefix(1);
      continue;
    }
    if (!rest_.empty() && !absl::StartsWith(rest_, "\n") && !absl::StartsWith(rest_, "\r\n"))
      return absl::InvalidArgumentError(
          "after a cell in double quotes comes more text; double the quotes that belong to the text: \"\"CAT\"\"");
    SkipEmptyLines();
    return cells;
  }
}

}  // namespace flowawr
