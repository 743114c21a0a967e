// A prompt as OpenCLIP's own tokenizer sees it: HPSv2 was trained on texts that were mended first.
//
// OpenCLIP runs ftfy.fix_text() and html.unescape() twice (open_clip/tokenizer.py, basic_clean). Done here, in its
// order, is what prompts hold: HTML's numeric and commonest entities (&amp; &lt; &gt; &quot; &apos; &nbsp;), ligatures
// of Latin letters, full-width and half-width forms, curly quotes, control characters. Not done: texts in a wrong
// encoding, of which ftfy guesses what they were, other named entities, and escape codes of terminals. White space, case
// and Unicode's normal form are the tokenizer's.
#pragma once

#include <string>

#include "absl/strings/string_view.h"

namespace flowawr {

// `text` is valid UTF-8, and so is the result. Pure.
std::string MendedText(absl::string_view text);

}  // namespace flowawr
