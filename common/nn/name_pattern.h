// A pattern for names of modules, as in peft's configurations: a regular expression that is most often just a name.
#pragma once

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace re2 {
class RE2;
}

namespace flowawr {

// Immutable; safe to share between threads. Takes time and memory in proportion to pattern and name, whatever the
// pattern: what comes with an adapter is not to be trusted.
class NamePattern {
 public:
  // InvalidArgument for what RE2 does not read, such as lookaround and backreferences, or what is too long.
  static absl::StatusOr<NamePattern> Parse(absl::string_view pattern);

  // Python's re.fullmatch(pattern, name).
  bool MatchesWhole(const std::string& name) const;

  // Python's re.fullmatch(r"(.*\.)?(pattern)", name): the whole name, or its end after a dot.
  bool MatchesEnd(const std::string& name) const;

 private:
  bool PlainMatchesAt(const std::string& name, size_t begin) const;

  std::string plain_;         // letters, digits, underscores and dots alone, which need no engine; else empty
  bool is_anchored_ = false;  // it began with ^
  std::shared_ptr<const re2::RE2> whole_, end_;
};

}  // namespace flowawr
