// `flowawr reward list|load|unload|swap`: the scorers of a reward server, and the rewards of a run.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "flowawr/v1/reward.pb.h"

namespace CLI {
class App;
}

namespace flowawr {

// Adds the subcommand to `app`; when it is the one that was typed, `*exit_code` is set.
void AddRewardCommands(CLI::App& app, int* exit_code);

// "SCORER[,weight=W][,endpoint=HOST:PORT][,required=false][,timeout=S]". InvalidArgument says what is accepted. Pure.
absl::StatusOr<v1::RewardSpecTerm> ParseTerm(const std::string& text);

// A table, ending with a newline. Pure.
std::string DescribeScorers(const v1::ListScorersResponse& scorers);

}  // namespace flowawr
