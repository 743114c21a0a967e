// flowawr prompts check: every prompt of a file that a run could not use, and why.
#pragma once

namespace CLI {
class App;
}

namespace flowawr {

// Adds the subcommand `check` to `prompts`; it sets `exit_code` when it runs.
void AddPromptsCheck(CLI::App* prompts, int* exit_code);

}  // namespace flowawr
