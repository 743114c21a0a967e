<<<<<<< HEAD
// Runs a Python script of the tests with the project's virtual environment: the independent source of numbers.
#pragma once

#include <gtest/gtest.h>

#include <cstdlib>
=======
// Runs the Python side of a comparison.
#pragma once

#include <sys/wait.h>

#include <cstdio>
>>>>>>> b9ad063 (Add the tokenizers, the text encoders and the pipeline; test tensor files and pictures)
#include <filesystem>
#include <string>
#include <vector>

<<<<<<< HEAD
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
  std::string command = absl::StrCat("OMP_NUM_THREADS=1 HF_HUB_OFFLINE=1 '", python, "' '", SourceFolder(), "/", script, "'");
  for (const std::string& argument : arguments) absl::StrAppend(&command, " '", argument, "'");
  if (std::system(command.c_str()) != 0) return testing::AssertionFailure() << "failed: " << command;
  return testing::AssertionSuccess();
=======
#include "gtest/gtest.h"

namespace flowawr {

// Runs `script` (a path from the source root, the tests' working directory) in the project's Python environment and
// waits. Failure, with all that the script printed, unless it exits with 0.
inline testing::AssertionResult RunPython(const std::string& script, const std::vector<std::string>& arguments) {
  const std::string python = ".venv/bin/python";
  if (!std::filesystem::exists(python))
    return testing::AssertionFailure() << python << " is missing; run scripts/setup --tests";
  std::string command = python + " '" + script + "'";
  for (const std::string& argument : arguments) command += " '" + argument + "'";
  FILE* pipe = popen((command + " 2>&1").c_str(), "r");
  if (pipe == nullptr) return testing::AssertionFailure() << "cannot run " << command;
  std::string output;
  char buffer[4096];
  for (size_t got; (got = fread(buffer, 1, sizeof(buffer), pipe)) > 0;) output.append(buffer, got);
  const int status = pclose(pipe);
  if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return testing::AssertionSuccess();
  return testing::AssertionFailure() << command << " failed:\n" << output;
>>>>>>> b9ad063 (Add the tokenizers, the text encoders and the pipeline; test tensor files and pictures)
}

}  // namespace flowawr
