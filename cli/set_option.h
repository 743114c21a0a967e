// --set, by which a command changes fields of the configuration that it reads.
#pragma once

#include <CLI/CLI.hpp>
#include <string>
#include <vector>

namespace flowawr {

// It takes one value each time: the word after it is the command's own, such as CONFIG.
inline void AddSetOption(CLI::App& command, std::vector<std::string>* overrides) {
  command.add_option("--set", *overrides, "changes one field of the configuration; may be repeated")
      ->type_name("PATH=VALUE")
      ->allow_extra_args(false);
}

}  // namespace flowawr
