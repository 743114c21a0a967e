// `flowawr reward ...`: the scorers of a reward server, and the rewards of a run.
#pragma once

namespace CLI {
class App;
}

namespace flowawr {

// Adds the subcommand to `app`; when it is the one that was typed, `*exit_code` is set.
void AddRewardCommands(CLI::App& app, int* exit_code);

}  // namespace flowawr
