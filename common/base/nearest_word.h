// Which known word a misspelt one was probably meant to be: for every message that says "unknown". Thread-safe, pure.
#pragma once

#include <string>
#include <vector>

#include "absl/strings/string_view.h"

namespace flowawr {

// The one of `candidates` that `word` is probably a slip of; empty when none is near. Upper and lower case are the same;
// the first of several equally near ones. A slip is a letter too many, too few or wrong, or two neighbours swapped: one
// slip in a word of up to three letters, two or a third of the letters in longer ones.
std::string NearestWord(absl::string_view word, const std::vector<std::string>& candidates);

// The same as the end of an error: `; did you mean "x"?`, or nothing.
std::string DidYouMean(absl::string_view word, const std::vector<std::string>& candidates);

}  // namespace flowawr
