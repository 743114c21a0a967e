// What a command wrote.
#pragma once

#include <filesystem>
#include <map>
#include <string>

#include "common/base/file.h"

namespace flowawr {

// The bytes of each file of `folder`, by its name.
inline std::map<std::string, std::string> FilesOf(const std::string& folder) {
  std::map<std::string, std::string> files;
  for (const auto& entry : std::filesystem::directory_iterator(folder))
    files[entry.path().filename().string()] = ReadFile(entry.path().string()).value();
  return files;
}

}  // namespace flowawr
