// The arithmetic of the OCR reward: what was asked for, what was read, how far apart they are. Pure.
//
// Source: reference "OCR" of Flow-GRPO: reward = 1 - min(distance, length) / length, distance 0 when the target is a
// substring of what was read; spaces are taken out of both and letters lower-cased.
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
// prompt. InvalidArgument when there is neither, or nothing but blanks in it.
absl::StatusOr<std::string> OcrTarget(const std::string& prompt, const std::map<std::string, std::string>& metadata);

// UTF-8 in, code points out: blanks of any kind removed, lower-cased by Unicode's rules. Malformed bytes become U+FFFD.
std::u32string NormaliseForOcr(absl::string_view text);

// InvalidArgument when the target is empty after normalisation.
absl::StatusOr<OcrReward> ComputeOcrReward(absl::string_view target, absl::string_view text);

}  // namespace flowawr
