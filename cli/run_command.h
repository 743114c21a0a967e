// `flowawr run CONFIG`: every process of a run on this machine, started, watched and stopped.
#pragma once

namespace CLI {
class App;
}

namespace flowawr {

// Adds the subcommand to `app`; when it is the one that was typed, `*exit_code` is set.
void AddRunCommand(CLI::App& app, int* exit_code);

}  // namespace flowawr
