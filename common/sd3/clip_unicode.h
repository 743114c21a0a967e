// Unicode as the `tokenizers` library has it, whose ids a CLIP tokenizer must give whatever the version of ICU.
//
// Each part of that library brings tables of its own: for composition those of Unicode 9, for letters and numbers those
// of Unicode 16, for lower case those of Unicode 17 (tokenizers 0.23, found by comparing every code point). Debian 12's
// ICU has Unicode 15.
#pragma once

#include <unicode/umachine.h>

#include <string>

#include "absl/strings/string_view.h"

namespace flowawr {

bool IsLetter(UChar32 c);
bool IsNumber(UChar32 c);

// NFC of valid UTF-8. Code points younger than Unicode 9 compose with nothing and keep their place.
std::string Composed(absl::string_view text);

void AppendLowerCase(UChar32 c, std::string& text);

}  // namespace flowawr
