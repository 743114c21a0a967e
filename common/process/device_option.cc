#include "common/process/device_option.h"

#include <CLI/CLI.hpp>

#include "absl/strings/str_cat.h"
#include "common/tensor/device_names.h"

namespace flowawr {

void AddDeviceOption(CLI::App& app, const std::string& what, std::string* name, const std::string& of_auto) {
  app.add_option("--device", *name,
                 absl::StrCat("where ", what, ": cpu, cuda (the first GPU), cuda:1, ...; auto: ", of_auto,
                              ", else cpu; `flowawr doctor` lists them"))
      ->type_name("NAME")
      ->check([](const std::string& text) { return std::string(CheckDeviceName(text).message()); })
      ->capture_default_str();
}

}  // namespace flowawr
