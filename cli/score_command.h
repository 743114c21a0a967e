// flowawr score: what reward models say of pictures that are there already.
#pragma once

namespace CLI {
class App;
}

namespace flowawr {

// Adds the subcommand to `app`; it sets `exit_code` when it runs.
void AddScoreCommand(CLI::App& app, int* exit_code);

}  // namespace flowawr
