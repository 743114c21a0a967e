#include "common/rpc/endpoint_file.h"

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "common/base/file.h"
#include "common/base/host_port.h"
#include "common/base/status.h"

namespace flowawr {

absl::Status WriteEndpointFile(const std::string& path, const std::string& endpoint) {
  return WriteFileAtomically(path, absl::StrCat(endpoint, "\n"));
}

absl::StatusOr<std::string> ReadEndpointFile(const std::string& path) {
  FLOWAWR_ASSIGN_OR_RETURN(std::string text, ReadFile(path, 4096));
  absl::StripAsciiWhitespace(&text);
  if (const auto address = ParseHostPort(text); !address.ok()) return Annotate(address.status(), path);
  return text;
}

}  // namespace flowawr
