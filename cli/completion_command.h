// `flowawr completion SHELL`: what a shell reads to complete `flowawr`.
#pragma once

namespace CLI {
class App;
}

namespace flowawr {

// Adds the subcommand to `app`, whose commands it knows once all have been added; when it is the one that was typed,
// `*exit_code` is set.
void AddCompletionCommand(CLI::App& app, int* exit_code);

}  // namespace flowawr
