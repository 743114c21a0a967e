// Runs a Python script of the tests with the project's virtual environment: the independent source of numbers.
#pragma once

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"

namespace flowawr {

inline std::string SourceFolder() {
  const char* folder = std::getenv("FLOWAWR_SOURCE_DIR");
  return folder == nullptr ? std::filesystem::current_path().string() : folder;
}

// Fails, with the script's output in the test's log, when Python is missing or the script fails.
inline testing::AssertionResult RunPython(const std::string& script, const std::vector<std::string>& arguments) {
  const std::string python = absl::StrCat(SourceFolder(), "/.venv/bin/python");
  if (!std::filesystem::exists(python)) {
    return testing::AssertionFailure() << python << " is missing: run scripts/setup --tests";
  }
  std::string command =
      absl::StrCat("OMP_NUM_THREADS=1 HF_HUB_OFFLINE=1 '", python, "' '", SourceFolder(), "/", script, "'");
  for (const std::string& argument : arguments) absl::StrAppend(&command, " '", argument, "'");
  if (std::system(command.c_str()) != 0) return testing::AssertionFailure() << "failed: " << command;
  return testing::AssertionSuccess();
}

}  // namespace flowawr
