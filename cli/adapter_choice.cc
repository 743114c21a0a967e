#include "cli/adapter_choice.h"

#include <cmath>
#include <filesystem>
#include <system_error>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"

namespace flowawr {

AdapterChoice ParseAdapterChoice(absl::string_view text, double scale) {
  std::error_code ignored;
  const size_t colon = text.rfind(':');
  double told = 0;
  if (colon == absl::string_view::npos || colon == 0 || std::filesystem::exists(std::string(text), ignored) ||
      !absl::SimpleAtod(text.substr(colon + 1), &told) || !std::isfinite(told))
    return {std::string(text), scale};
  return {std::string(text.substr(0, colon)), told};
}

std::string DescribeAdapter(const AdapterChoice& adapter) {
  return adapter.scale == 1 ? adapter.path : absl::StrCat(adapter.path, ":", adapter.scale);
}

}  // namespace flowawr
