// `flowawr health`: whether a process of the service answers, for containers, scripts and people.
#pragma once

namespace CLI {
class App;
}

namespace flowawr {

// Adds the subcommand to `app`; when it is the one that was typed, `*exit_code` is set: 0 for "serves", 69 for anything
// that another try may mend, 77 for a token or TLS settings that do not fit.
void AddHealthCommand(CLI::App& app, int* exit_code);

}  // namespace flowawr
