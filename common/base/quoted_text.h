// The text that a prompt has in double quotes, which a picture should show.
#pragma once

#include <optional>

#include "absl/strings/string_view.h"

namespace flowawr {

// The first one: "...", or with curly quotes as word processors make them. A quote that is never closed (an inch mark)
// opens nothing. A part of `prompt`. Pure.
std::optional<absl::string_view> FirstQuoted(absl::string_view prompt);

}  // namespace flowawr
