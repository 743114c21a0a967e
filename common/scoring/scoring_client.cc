#include "common/scoring/scoring_client.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/clock.h"
#include "common/base/status.h"
#include "common/rpc/channel.h"
#include "common/scoring/reward_terms.h"
#include "common/scoring/scoring_round.h"

namespace flowawr {
namespace {

// Longer than the alert on a breaker waits, and short, as a swap may have taken the run to another server.
constexpr absl::Duration kShownFor = absl::Minutes(5);

}  // namespace

ScoringClient::ScoringClient(v1::NetworkConfig network, const ScoringOptions& options)
    : network_(std::move(network)), options_(options) {}

ScoringClient::~ScoringClient() = default;

absl::StatusOr<std::vector<v1::SampleScores>> ScoringClient::Score(const v1::RewardSpec& spec, const v1::Prompt& prompt,
                                                                   const std::vector<Image>& images,
                                                                   absl::FunctionRef<bool()> is_wanted) {
  ScoringRound round(*this, spec, prompt, images);
  return round.Run(is_wanted);
}

CircuitBreaker::State ScoringClient::breaker_state(const std::string& endpoint) const {
  Endpoint* found = nullptr;
  {
    absl::MutexLock lock(&mutex_);
    const auto it = endpoints_.find(endpoint);
    if (it == endpoints_.end()) return CircuitBreaker::State::kClosed;
    found = it->second.get();
  }
  absl::MutexLock lock(&found->mutex);
  return found->breaker.state();
}

std::vector<ScoringClient::EndpointState> ScoringClient::endpoints() const {
  std::vector<Endpoint*> all;
  {
    absl::MutexLock lock(&mutex_);
    for (const auto& [address, endpoint] : endpoints_) all.push_back(endpoint.get());
  }
  std::vector<EndpointState> states;
  const absl::Time now = MonotonicNow();
  for (Endpoint* endpoint : all) {
    absl::MutexLock lock(&endpoint->mutex);
    if (endpoint->calls > 0 || now - endpoint->used < kShownFor)
      states.push_back({endpoint->address, endpoint->breaker.state(), endpoint->calls});
  }
  return states;
}

absl::StatusOr<ScoringClient::Endpoint*> ScoringClient::EndpointFor(const std::string& address) {
  absl::MutexLock lock(&mutex_);
  std::unique_ptr<Endpoint>& endpoint = endpoints_[address];
  if (endpoint == nullptr) {
    const auto channel = MakeChannel(address, network_);
    if (!channel.ok()) {
      endpoints_.erase(address);
      return Annotate(channel.status(), absl::StrCat("reward server ", address));
    }
    endpoint = std::make_unique<Endpoint>(address, options_.breaker);
    endpoint->stub = std::make_unique<ScoreStub>(*channel);
  }
  return endpoint.get();
}

absl::StatusOr<std::vector<ScoringClient::Endpoint*>> ScoringClient::EndpointsFor(const v1::RewardSpecTerm& term) {
  std::vector<std::string> addresses = EndpointsOf(term.endpoint());
  if (addresses.empty()) addresses.emplace_back();  // whose error says what an address is
  std::vector<Endpoint*> endpoints;
  for (const std::string& address : addresses) {
    FLOWAWR_ASSIGN_OR_RETURN(Endpoint * endpoint, EndpointFor(address));
    endpoints.push_back(endpoint);
  }
  return endpoints;
}

absl::Status CheckAnyReward(const v1::RewardSpec& spec, const std::vector<v1::SampleScores>& scores) {
  const v1::TermScore* last = nullptr;
  for (const v1::SampleScores& sample : scores) {
    for (int term = 0; term < spec.terms_size(); ++term) {
      if (IsShadow(spec.terms(term))) continue;
      if (sample.terms(term).has_reward()) return absl::OkStatus();
      last = &sample.terms(term);
    }
  }
  return absl::UnavailableError(absl::StrCat("no scorer of reward spec ", spec.version(), " gave any reward, last: ",
                                             last == nullptr ? "none was asked" : last->error().message()));
}

absl::Status CheckRequiredTerms(const v1::RewardSpec& spec, const std::vector<v1::SampleScores>& scores) {
  for (int term = 0; term < spec.terms_size(); ++term) {
    if (!IsRequired(spec.terms(term))) continue;
    for (size_t sample = 0; sample < scores.size(); ++sample) {
      const v1::TermScore& score = scores[sample].terms(term);
      if (score.has_reward()) continue;
      const std::string message = absl::StrCat("sample ", sample, ", required scorer ", spec.terms(term).scorer(),
                                               " at ", spec.terms(term).endpoint(), ": ", score.error().message());
      switch (score.error().kind()) {
        case v1::ScoreError::BAD_INPUT:
          return absl::InvalidArgumentError(message);
        case v1::ScoreError::OVERLOADED:
          return absl::ResourceExhaustedError(message);
        default:
          return absl::UnavailableError(message);
      }
    }
  }
  return absl::OkStatus();
}

}  // namespace flowawr
