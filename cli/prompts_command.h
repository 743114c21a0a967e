// flowawr prompts: sets of prompts that are made, and what is wrong with those that are there.
#pragma once

namespace CLI {
class App;
}

namespace flowawr {

// Adds the subcommand to `app`; it sets `exit_code` when it runs.
void AddPromptsCommand(CLI::App& app, int* exit_code);

}  // namespace flowawr
