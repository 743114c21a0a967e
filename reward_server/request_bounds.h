// What a request may ask of the server at once.
#pragma once

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

namespace flowawr {

inline constexpr int kMaxItems = 4096;

// InvalidArgument unless `count` of `what` is 1 to kMaxItems.
inline absl::Status CheckCount(int count, absl::string_view what) {
  if (count > 0 && count <= kMaxItems) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat("a request holds 1 to ", kMaxItems, " ", what, ", not ", count));
}

}  // namespace flowawr
