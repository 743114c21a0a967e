// `flowawr reward swap|weight|add|remove|promote`: the rewards of a run that goes on.
#pragma once

namespace CLI {
class App;
}

namespace flowawr {

// Adds the subcommands to `reward`; when one of them was typed, `*exit_code` is set.
void AddSpecCommands(CLI::App& reward, int* exit_code);

}  // namespace flowawr
