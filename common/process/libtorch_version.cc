#include "common/process/libtorch_version.h"

#include <dlfcn.h>
#include <torch/version.h>

#include <exception>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"

namespace flowawr {
namespace {

// "2.13.0+cpu" -> 2, 13
std::optional<std::pair<int, int>> MajorMinor(absl::string_view version) {
  const std::vector<absl::string_view> parts = absl::StrSplit(version, '.');
  std::pair<int, int> numbers;
  if (parts.size() < 2 || !absl::SimpleAtoi(parts[0], &numbers.first) || !absl::SimpleAtoi(parts[1], &numbers.second))
    return std::nullopt;
  return numbers;
}

}  // namespace

absl::Status CheckLibTorch() {
  // By name: not every program that reads a command line links LibTorch.
  void* const show_config = dlsym(RTLD_DEFAULT, "_ZN2at11show_configB5cxx11Ev");
  if (show_config == nullptr) return absl::OkStatus();
  try {
    return CheckLibTorchVersion(TORCH_VERSION, reinterpret_cast<std::string (*)()>(show_config)());
  } catch (const std::exception&) {  // it also asks devices, which is not the question here
    return absl::OkStatus();
  }
}

absl::Status CheckLibTorchVersion(absl::string_view headers, absl::string_view config) {
  constexpr absl::string_view kName = "TORCH_VERSION=";
  const size_t place = config.find(kName);
  if (place == absl::string_view::npos) return absl::OkStatus();
  const size_t begin = place + kName.size();
  const absl::string_view version = config.substr(begin, config.find_first_of(", \n", begin) - begin);
  const auto wanted = MajorMinor(headers), loaded = MajorMinor(version);
  if (!wanted || !loaded || *loaded >= *wanted) return absl::OkStatus();
  return absl::FailedPreconditionError(
      absl::StrCat("LibTorch ", version, " is older than ", headers, ", which this program was built with: let it find ",
                   "that one (is LD_LIBRARY_PATH set?), or build it anew with this one, FLOWAWR_TORCH_DIR"));
}

}  // namespace flowawr
