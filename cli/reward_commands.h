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

// Terms without an endpoint take the one that the same scorer has in the spec of `now`, if it has. Pure.
void FillInEndpoints(const v1::RewardSpec& now, google::protobuf::RepeatedPtrField<v1::RewardSpecTerm>* terms);

// A table, ending with a newline. Pure.
std::string DescribeScorers(const v1::ListScorersResponse& scorers);

}  // namespace flowawr
