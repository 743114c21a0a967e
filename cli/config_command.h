// `flowawr config CONFIG`: what a run would use, defaults and overrides included.
#pragma once

namespace CLI {
class App;
}

namespace flowawr {

// Adds the subcommand to `app`; when it is the one that was typed, `*exit_code` is set.
void AddConfigCommand(CLI::App& app, int* exit_code);

}  // namespace flowawr
