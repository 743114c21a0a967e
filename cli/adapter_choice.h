// Adapters as people name them on the command line.
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace flowawr {

struct AdapterChoice {
  std::string path;
  double scale = 1;  // beside the adapter's own alpha / rank
};

constexpr double kMostScale = 100;

// "PATH:SCALE", or "PATH", which takes `scale`. A path that is there, colon and all, is never taken apart.
// InvalidArgument for a scale beyond kMostScale on either side, or one that is not finite.
absl::StatusOr<AdapterChoice> ParseAdapterChoice(absl::string_view text, double scale);

// For metadata: "PATH" at a scale of 1, else "PATH:SCALE". Pure.
std::string DescribeAdapter(const AdapterChoice& adapter);

}  // namespace flowawr
