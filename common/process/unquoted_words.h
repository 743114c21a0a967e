// Values with spaces that were given without quotes: `--prompt a sign` makes "a" the prompt and leaves "sign" over,
// which is then no part of the command, or is taken for its folder.
#pragma once

#include <string>
#include <vector>

#include "absl/functional/function_ref.h"

namespace CLI {
class App;
}

namespace flowawr {

// What to say to the command line `words` (without the program's name) if words stand right after an option's text, or
// after one another, that are more than the command takes or, where `may_be_taken`, that were taken as a file or folder
// which is not there: that quotes are needed, and the line as it probably should be, for a shell. Empty: nothing of the
// kind. `is_there` tells whether a file or folder of that name exists. Asks `app` what it takes, not what it parsed.
std::string DescribeUnquotedWords(CLI::App& app, const std::vector<std::string>& words, bool may_be_taken,
                                  absl::FunctionRef<bool(const std::string&)> is_there);

}  // namespace flowawr
