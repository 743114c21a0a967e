#include "common/config/installed_files.h"

#include <filesystem>
#include <system_error>

#include "common/config/paths.h"

namespace flowawr {
namespace fs = std::filesystem;

std::string OrInstalled(const std::string& path, const std::string& installed) {
  std::error_code ignored;
  if (path.empty() || fs::path(path).is_absolute() || fs::exists(path, ignored)) return path;
  const fs::path there = fs::path(installed) / path;
  return fs::exists(there, ignored) ? there.lexically_normal().string() : path;
}

void UseInstalledFiles(const std::string& installed, v1::RunConfig* config) {
  const auto use = [&](std::string* path) { *path = OrInstalled(*path, installed); };
  use(config->mutable_model()->mutable_path());
  use(config->mutable_lora()->mutable_init_from());
  use(config->mutable_prompts()->mutable_train());
  use(config->mutable_prompts()->mutable_heldout());
  ForEachScorerPath(*config->mutable_rewards(), [&](const std::string&, std::string& path) { use(&path); });
}

std::string InstalledFolder() {
  std::error_code ignored;
  return (fs::read_symlink("/proc/self/exe", ignored).parent_path().parent_path() / "share/flowawr").string();
}

}  // namespace flowawr
