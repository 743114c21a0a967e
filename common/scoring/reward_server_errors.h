// What commands and the learner say of a reward server that cannot be used.
#pragma once

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "flowawr/v1/config.pb.h"

namespace flowawr {

// `error`, of a call of it, by ExplainFailure(), which may try a connection, and with the server's address.
absl::Status ExplainRewardServer(const absl::Status& error, const std::string& endpoint,
                                 const v1::NetworkConfig& network);

// NotFound: the server has the scorers `loaded`, not this one; with the one probably meant, and how to load it.
absl::Status ScorerNotLoaded(const std::string& scorer, const std::string& endpoint,
                             const std::vector<std::string>& loaded);

}  // namespace flowawr
