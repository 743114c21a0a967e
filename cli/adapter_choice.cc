#include "cli/adapter_choice.h"

#include <cmath>
#include <filesystem>
#include <system_error>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "common/process/exit_code.h"

namespace flowawr {

absl::StatusOr<AdapterChoice> ParseAdapterChoice(absl::string_view text, double scale) {
  std::error_code ignored;
  const size_t colon = text.rfind(':');
  double told = 0;
  if (colon == absl::string_view::npos || colon == 0 || std::filesystem::exists(std::string(text), ignored) ||
      !absl::SimpleAtod(text.substr(colon + 1), &told))
    return AdapterChoice{std::string(text), scale};
  if (!(std::fabs(told) <= kMostScale))
    return UsageError(absl::StrCat("--adapter ", text, ": the scale after the colon must be from ",
                                   -kMostScale, " to ", kMostScale));
  return AdapterChoice{std::string(text.substr(0, colon)), told};
}

std::string DescribeAdapter(const AdapterChoice& adapter) {
  return adapter.scale == 1 ? adapter.path : absl::StrCat(adapter.path, ":", adapter.scale);
}

}  // namespace flowawr
