#include "common/scoring/reward_server_errors.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/base/nearest_word.h"
#include "common/base/shell_quote.h"
#include "common/base/status.h"
#include "common/rpc/tls_check.h"

namespace flowawr {

absl::Status ExplainRewardServer(const absl::Status& error, const std::string& endpoint,
                                 const v1::NetworkConfig& network) {
  const absl::Status explained = ExplainFailure(error, endpoint, network);
  return Annotate(explained, absl::StrCat(absl::IsUnavailable(explained) ? "no reward server answers at "
                                                                         : "reward server ",
                                          endpoint));
}

absl::Status ScorerNotLoaded(const std::string& scorer, const std::string& endpoint,
                             const std::vector<std::string>& loaded) {
  const std::string meant = DidYouMean(scorer, loaded);
  return absl::NotFoundError(absl::StrCat("the reward server ", endpoint, " has no scorer \"", scorer, "\"; there ",
                                          loaded.empty() ? "is none" : "are: ", absl::StrJoin(loaded, ", "),
                                          meant.empty() ? "." : meant, " Load it first: flowawr reward load ",
                                          ShellQuote(absl::StrCat(scorer, "=KIND")), " --server ",
                                          ShellQuote(endpoint)));
}

}  // namespace flowawr
