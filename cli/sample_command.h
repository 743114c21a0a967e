// `flowawr sample`: pictures from a model folder or a run, with or without an adapter.
#pragma once

namespace CLI {
class App;
}

namespace flowawr {

// Adds the subcommand to `app`; when it is the one that was typed, `*exit_code` is set.
void AddSampleCommand(CLI::App& app, int* exit_code);

}  // namespace flowawr
