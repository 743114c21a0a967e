#include "common/base/last_name.h"

#include <filesystem>

namespace flowawr {

std::string LastName(const std::string& path) {
  const std::filesystem::path whole = std::filesystem::path(path).lexically_normal();
  return (whole.has_filename() ? whole : whole.parent_path()).filename().string();
}

}  // namespace flowawr
