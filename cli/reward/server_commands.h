// `flowawr reward list|load|unload|reload`: the scorers of a reward server.
#pragma once

#include <string>

#include "flowawr/v1/reward.pb.h"

namespace CLI {
class App;
}

namespace flowawr {

// Adds the subcommands to `reward`; when one of them was typed, `*exit_code` is set.
void AddServerCommands(CLI::App& reward, int* exit_code);

// A line a scorer and the kinds that can be loaded, ending with a newline. Pure.
std::string DescribeScorers(const v1::ListScorersResponse& scorers);

}  // namespace flowawr
