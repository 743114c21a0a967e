// --device, as all programs that compute with a model have it.
#pragma once

#include <string>

namespace CLI {
class App;
}

namespace flowawr {

// `what` is computed there, by `auto` on `of_auto`, else cpu. A name that FindDevice() does not find is a mistake of the
// command line, told with what the machine has.
void AddDeviceOption(CLI::App& app, const std::string& what, std::string* name,
                     const std::string& of_auto = "the machine's first accelerator");

}  // namespace flowawr
