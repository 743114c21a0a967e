// SHA256SUMS: a list of the digests of the files beside it, as `sha256sum --check` reads it.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "absl/status/status.h"

namespace flowawr {

inline constexpr char kSha256SumsFile[] = "SHA256SUMS";

// The list of files with these names and bytes.
std::string FormatSha256Sums(const std::map<std::string, std::string>& bytes_by_name);

// Reads every file that `folder`/SHA256SUMS lists. DataLoss that names the file when any byte of one of them, or of the
// list, is not as it was written, or when one of `required` is not listed.
absl::Status CheckSha256Sums(const std::string& folder, const std::vector<std::string>& required);

}  // namespace flowawr
