#include "cli/machine_memory.h"

#include <unistd.h>

#include <algorithm>
#include <optional>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "common/base/control_groups.h"
#include "common/process/exit_code.h"

namespace flowawr {

int64_t MachineMemory() {
  const int64_t pages = sysconf(_SC_PHYS_PAGES), page = sysconf(_SC_PAGE_SIZE);
  int64_t memory = pages > 0 && page > 0 ? pages * page : 0;
  const std::optional<int64_t> limit = MemoryOf(ReadControlGroups());
  if (limit && *limit > 0) memory = memory == 0 ? *limit : std::min(memory, *limit);
  return memory;
}

absl::StatusOr<int64_t> ParseMemory(const std::string& text, const std::string& option) {
  const size_t digits = std::min(text.find_first_not_of("0123456789."), text.size());
  const std::string unit(absl::StripAsciiWhitespace(text.substr(digits)));
  const struct {
    const char* name;
    double bytes;
  } units[] = {{"B", 1},     {"MB", 1e6},       {"GB", 1e9},
               {"TB", 1e12}, {"MiB", 1u << 20}, {"GiB", 1u << 30}, {"TiB", 1024.0 * (1u << 30)}};
  double value = 0;
  for (const auto& [name, bytes] : units) {
    if (unit != name || !absl::SimpleAtod(text.substr(0, digits), &value)) continue;
    if (value * bytes >= 1 && value * bytes < 1e18) return static_cast<int64_t>(value * bytes);
  }
  return UsageError(absl::StrCat(option, " ", text, ": expected an amount like 24GiB, 24GB or 512MiB"));
}

std::string FormatMemory(int64_t bytes) {
  const double value = static_cast<double>(bytes);
  return value < 1e9 ? absl::StrFormat("%.0f MB", value / 1e6) : absl::StrFormat("%.1f GB", value / 1e9);
}

}  // namespace flowawr
