// flowawr compare RUN_DIR...
#pragma once

namespace CLI {
class App;
}

namespace flowawr {

void AddCompareCommand(CLI::App& app, int* exit_code);

}  // namespace flowawr
