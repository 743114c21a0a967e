// What a request may ask of the server. Pure; thread-safe.
#pragma once

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "flowawr/v1/reward.pb.h"

namespace flowawr {

// InvalidArgument unless `count` of `what` is 1 to 4096.
absl::Status CheckCount(int count, absl::string_view what);

// Why no scorer is bothered with the image: it has no pixels, a side above `max_side`, bytes that do not fit its sides,
// or texts above 64 KiB. Empty: nothing is wrong.
std::string WhatIsWrongWith(const v1::ScoreItem& item, uint32_t max_side);

}  // namespace flowawr
