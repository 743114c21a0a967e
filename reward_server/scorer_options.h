// The options a scorer is loaded with: text by name, read with types and bounds.
//
// Usage: read every option a kind has, then Finish(). The first mistake is kept and returned there, so that reading
// needs no error handling of its own. Not thread-safe.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace flowawr {

// Which every scorer has, whatever its kind: runner_options.h.
const std::vector<std::string>& OptionsOfEveryScorer();

class ScorerOptions {
 public:
  explicit ScorerOptions(std::map<std::string, std::string> values) : values_(std::move(values)) {}

  std::string Text(absl::string_view name, absl::string_view default_value);
  int Integer(absl::string_view name, int default_value, int min, int max);
  double Number(absl::string_view name, double default_value, double min, double max);
  bool Flag(absl::string_view name, bool default_value);
  std::string Choice(absl::string_view name, absl::string_view default_value, const std::vector<std::string>& choices);

  // InvalidArgument for the first value that was no good, or an option that nobody read; says what is accepted, also of
  // what every scorer has.
  absl::Status Finish() const;

 private:
  // The value given for `name`, or nullptr. Remembers that the option exists.
  const std::string* Find(absl::string_view name);
  void Refuse(absl::string_view name, absl::string_view value, absl::string_view accepted);

  const std::map<std::string, std::string> values_;
  std::vector<std::string> known_;
  absl::Status status_;
};

}  // namespace flowawr
