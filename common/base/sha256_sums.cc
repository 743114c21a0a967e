#include "common/base/sha256_sums.h"

#include <set>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "common/base/file.h"
#include "common/base/sha256.h"
#include "common/base/status.h"

namespace flowawr {
namespace {

constexpr size_t kDigestSize = 64;
constexpr size_t kMostListBytes = size_t{1} << 20;
constexpr size_t kMostFileBytes = size_t{1} << 36;

std::string Line(absl::string_view name, absl::string_view bytes) {
  return absl::StrCat(HexSha256(bytes), "  ", name);
}

}  // namespace

std::string FormatSha256Sums(const std::map<std::string, std::string>& bytes_by_name) {
  std::string list;
  for (const auto& [name, bytes] : bytes_by_name) absl::StrAppend(&list, Line(name, bytes), "\n");
  return list;
}

absl::Status CheckSha256Sums(const std::string& folder, const std::vector<std::string>& required) {
  const std::string list_path = absl::StrCat(folder, "/", kSha256SumsFile);
  FLOWAWR_ASSIGN_OR_RETURN(const std::string list, ReadFile(list_path, kMostListBytes));
  std::vector<absl::string_view> lines = absl::StrSplit(list, '\n');
  if (!lines.back().empty()) return absl::DataLossError(absl::StrCat(list_path, " was changed: it is cut short"));
  lines.pop_back();
  std::set<absl::string_view> listed;
  for (const absl::string_view line : lines) {
    if (line.size() < kDigestSize + 3 || line.substr(kDigestSize, 2) != "  " || absl::StrContains(line, '/'))
      return absl::DataLossError(absl::StrCat(list_path, " was changed: a line is not a digest and a file name"));
    const absl::string_view name = line.substr(kDigestSize + 2);
    const std::string path = absl::StrCat(folder, "/", name);
    const absl::StatusOr<std::string> bytes = ReadFile(path, kMostFileBytes);
    if (!bytes.ok()) return absl::DataLossError(absl::StrCat(bytes.status().message(), "; ", list_path, " lists it"));
    if (Line(name, *bytes) != line)
      return absl::DataLossError(absl::StrCat(path, " was changed: its digest is not the one in ", list_path));
    listed.insert(name);
  }
  for (const std::string& name : required)
    if (!listed.contains(name)) return absl::DataLossError(absl::StrCat(list_path, " was changed: it lacks ", name));
  return absl::OkStatus();
}

}  // namespace flowawr
