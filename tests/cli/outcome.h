// `flowawr` run to its end, by a shell.
#pragma once

#include <sys/wait.h>

#include <cstdlib>
#include <string>

#include "absl/strings/str_cat.h"
#include "common/base/file.h"
#include "tests/testing/temp_folder.h"

namespace flowawr {

struct Outcome {
  int exit_code = -1;
  std::string output;  // stdout and stderr
};

// `before` comes before the command, in the same shell.
inline Outcome RunFlowawr(const TempFolder& folder, const std::string& arguments, const std::string& before = "") {
  const std::string log = folder / "log";
  const std::string command = absl::StrCat(before, "OMP_NUM_THREADS=1 '", std::getenv("FLOWAWR_BUILD_DIR"),
                                           "/bin/flowawr' ", arguments, " >", log, " 2>&1");
  const int status = std::system(command.c_str());
  return {WIFEXITED(status) ? WEXITSTATUS(status) : -1, ReadFile(log).value_or("")};
}

}  // namespace flowawr
