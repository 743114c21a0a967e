// `flowawr plan CONFIG`: what a run needs in memory, before anything is downloaded or loaded.
#pragma once

namespace CLI {
class App;
}

namespace flowawr {

// Adds the subcommand to `app`; when it is the one that was typed, `*exit_code` is set.
void AddPlanCommand(CLI::App& app, int* exit_code);

}  // namespace flowawr
