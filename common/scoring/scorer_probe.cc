#include "common/scoring/scorer_probe.h"

#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "common/base/clock.h"
#include "common/base/status.h"
#include "common/base/utf8.h"
#include "common/rpc/channel.h"
#include "common/rpc/retry.h"
#include "common/rpc/status.h"
#include "common/rpc/tls_check.h"
#include "common/scoring/reward_server_errors.h"
#include "common/scoring/reward_terms.h"
#include "common/scoring/score_bounds.h"
#include "flowawr/v1/reward.grpc.pb.h"

namespace flowawr {
namespace {

constexpr absl::Duration kAnswerTime = absl::Seconds(10);  // of a list
constexpr absl::Duration kLongest = absl::Minutes(5);      // of a probe, whatever the time-out
constexpr RetryPolicy kRetry = {.max_attempts = 5, .initial = absl::Milliseconds(100), .max = absl::Seconds(1)};
constexpr size_t kMostNames = 64;

v1::ScoreRequest RequestOf(const std::string& scorer, const ProbePicture& picture) {
  v1::ScoreRequest request;
  request.set_scorer(scorer);
  v1::ScoreItem& item = *request.add_items();
  item.set_height(picture.height);
  item.set_width(picture.width);
  std::string& rgb = *item.mutable_image_rgb();
  rgb.reserve(size_t{3} * picture.height * picture.width);
  for (int y = 0; y < picture.height; ++y)  // from black to white, so that it is no flat colour
    rgb.append(size_t{3} * picture.width, static_cast<char>(255 * y / std::max(picture.height - 1, 1)));
  item.set_prompt(picture.prompt.text());
  *item.mutable_metadata() = picture.prompt.metadata();
  return request;
}

class Server {
 public:
  static absl::StatusOr<Server> Open(const std::string& endpoint, const v1::NetworkConfig& network) {
    FLOWAWR_ASSIGN_OR_RETURN(const auto channel, MakeChannel(endpoint, network));
    return Server(endpoint, network, v1::RewardService::NewStub(channel));
  }

  absl::Status Probe(const v1::RewardSpecTerm& term, const ProbePicture& picture) {
    const v1::ScoreRequest request = RequestOf(term.scorer(), picture);
    const absl::Time until = MonotonicNow() + std::min(absl::Seconds(term.timeout_s()), kLongest);
    Backoff backoff(kRetry);
    while (true) {
      v1::ScoreResponse response;
      absl::Status status =
          FromGrpc(stub_->Score(MakeContext(until - MonotonicNow(), network_).get(), request, &response));
      if (absl::IsNotFound(status)) return NotLoaded(term.scorer());
      if (status.ok()) {
        status = Judge(term, response);
        if (!absl::IsResourceExhausted(status)) return status;
      }
      const auto pause = backoff.Next();
      if (!IsTransient(status) || !pause.has_value() || MonotonicNow() + *pause >= until)
        return Explain(term.scorer(), status);
      absl::SleepFor(*pause);
    }
  }

 private:
  Server(const std::string& endpoint, const v1::NetworkConfig& network, std::unique_ptr<v1::RewardService::Stub> stub)
      : endpoint_(endpoint), network_(network), stub_(std::move(stub)) {}

  // ResourceExhausted for OVERLOADED: it may do better soon.
  absl::Status Judge(const v1::RewardSpecTerm& term, v1::ScoreResponse& response) const {
    const std::string who = absl::StrCat("scorer ", term.scorer(), " at ", endpoint_);
    if (response.results_size() != 1)
      return absl::FailedPreconditionError(
          absl::StrCat(who, " answered ", response.results_size(), " results for one image"));
    v1::ScoreResult& result = *response.mutable_results(0);
    BoundResult(result);
    if (result.has_reward()) return absl::OkStatus();
    const std::string why = absl::StrCat(who, " gives no reward for a plain picture and a prompt of this run: ",
                                         v1::ScoreError::Kind_Name(result.error().kind()), ": ",
                                         result.error().message());
    switch (result.error().kind()) {
      case v1::ScoreError::OVERLOADED:
        return absl::ResourceExhaustedError(why);
      case v1::ScoreError::BAD_INPUT:
        return IsRequired(term) ? absl::InvalidArgumentError(why) : absl::OkStatus();
      default:
        return absl::FailedPreconditionError(why);
    }
  }

  // FailedPrecondition: no code that would be taken for the learner's own state.
  absl::Status Explain(const std::string& scorer, const absl::Status& status) const {
    const absl::Status error = ExplainFailure(status, endpoint_, network_);
    return absl::FailedPreconditionError(
        absl::StrCat(absl::IsUnavailable(error) ? absl::StrCat("no reward server answers at ", endpoint_)
                                                : absl::StrCat("scorer ", scorer, " at ", endpoint_),
                     ": ", error.message()));
  }

  absl::Status NotLoaded(const std::string& scorer) {
    v1::ListScorersResponse list;
    std::vector<std::string> names;
    if (stub_->ListScorers(MakeContext(kAnswerTime, network_).get(), {}, &list).ok())
      for (const v1::ScorerInfo& info : list.scorers())
        if (names.size() < kMostNames) names.push_back(TruncateUtf8(info.name(), kMaxDetailKeyBytes));
    return ScorerNotLoaded(scorer, endpoint_, names);
  }

  std::string endpoint_;
  v1::NetworkConfig network_;
  std::unique_ptr<v1::RewardService::Stub> stub_;
};

bool Vouches(const v1::RewardSpec& now, const v1::RewardSpecTerm& term) {
  return std::any_of(now.terms().begin(), now.terms().end(), [&](const v1::RewardSpecTerm& known) {
    return known.scorer() == term.scorer() && known.endpoint() == term.endpoint() &&
           (IsRequired(known) || !IsRequired(term));
  });
}

}  // namespace

v1::RewardSpec TermsToProbe(const v1::RewardSpec& now, const v1::RewardSpec& next) {
  v1::RewardSpec probed;
  for (const v1::RewardSpecTerm& term : next.terms())
    if (!Vouches(now, term)) *probed.add_terms() = term;
  return probed;
}

absl::Status ProbeScorers(const v1::RewardSpec& spec, const v1::NetworkConfig& network, const ProbePicture& picture) {
  for (const v1::RewardSpecTerm& term : spec.terms()) {
    for (const std::string& endpoint : EndpointsOf(term.endpoint())) {
      FLOWAWR_ASSIGN_OR_RETURN(Server server, Server::Open(endpoint, network));
      FLOWAWR_RETURN_IF_ERROR(server.Probe(term, picture));
    }
  }
  return absl::OkStatus();
}

}  // namespace flowawr
