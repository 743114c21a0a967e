#include "common/base/checkpoint_names.h"

#include <algorithm>
#include <filesystem>
#include <system_error>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/strip.h"
#include "common/base/status.h"

namespace flowawr {
namespace fs = std::filesystem;

bool IsCheckpointName(absl::string_view name) {
  return absl::ConsumePrefix(&name, kCheckpointPrefix) && !name.empty() &&
         std::all_of(name.begin(), name.end(), absl::ascii_isdigit);
}

std::string CheckpointName(uint64_t update) { return absl::StrFormat("%s%06d", kCheckpointPrefix, update); }

absl::StatusOr<std::vector<std::string>> NamesIn(const std::string& folder) {
  std::vector<std::string> names;
  std::error_code error;
  for (fs::directory_iterator entry(folder, error), end; !error && entry != end; entry.increment(error))
    names.push_back(entry->path().filename().string());
  if (error && error != std::errc::no_such_file_or_directory)
    return absl::InternalError(absl::StrCat("reading ", folder, ": ", error.message()));
  return names;
}

absl::StatusOr<std::vector<std::string>> CheckpointNames(const std::string& folder) {
  FLOWAWR_ASSIGN_OR_RETURN(std::vector<std::string> names, NamesIn(folder));
  std::erase_if(names, [](const std::string& name) { return !IsCheckpointName(name); });
  std::sort(names.begin(), names.end(), [](const std::string& a, const std::string& b) {
    return std::make_pair(a.size(), a) > std::make_pair(b.size(), b);
  });
  return names;
}

}  // namespace flowawr
