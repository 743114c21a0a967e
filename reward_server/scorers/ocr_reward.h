// The arithmetic of the OCR reward: what was asked for, what was read, how far apart they are. Pure.
//
// Source: reference "OCR" of Flow-GRPO: reward = 1 - min(distance, length) / length, distance 0 when the target is a
// substring of what was read; spaces are taken out of both and letters lower-cased. "Lower-cased" is Unicode's NFKC case
// folding here, so that texts that look the same are the same, however they are encoded.
#pragma once

#include <map>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace flowawr {

struct OcrReward {
  double reward = 0;      // in [0, 1]
  int distance = 0;       // Levenshtein, in code points; 0 when the target was read somewhere
  bool is_exact = false;  // read the target and nothing else
};

// The text an image should show: metadata["target"] where there is one, else the first double-quoted part of the
// prompt, in straight or curly quotes. InvalidArgument when there is neither, or nothing that can be seen in it.
absl::StatusOr<std::string> OcrTarget(const std::string& prompt, const std::map<std::string, std::string>& metadata);

// UTF-8 in, code points out: NFKC_Casefold (composed, compatibility forms such as ligatures and full-width letters
// replaced, case folded, invisible characters such as U+200B, U+FEFF and U+00AD removed), then without white space.
// Malformed bytes become U+FFFD.
std::u32string NormaliseForOcr(absl::string_view text);

// InvalidArgument when the target is empty after normalisation.
absl::StatusOr<OcrReward> ComputeOcrReward(absl::string_view target, absl::string_view text);

}  // namespace flowawr
