#include "learner/scorer_book.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "common/base/utf8.h"
#include "common/scoring/reward_terms.h"

namespace flowawr {
namespace {

constexpr size_t kMostSeen = 1024;
constexpr size_t kMostOptions = 64;
constexpr size_t kLongestReason = 300;

v1::LoadScorerRequest RequestOf(const v1::ScorerInfo& info) {
  v1::LoadScorerRequest request;
  request.set_name(info.name());
  request.set_kind(info.kind());
  *request.mutable_options() = info.options();
  return request;
}

}  // namespace

ScorerBook::ScorerBook(const v1::RewardsConfig& rewards, const Options& options) : options_(options) {
  for (const v1::RewardTerm& term : rewards.terms()) {
    v1::LoadScorerRequest& request = configured_[term.scorer()];
    request.set_name(term.scorer());
    request.set_kind(term.kind().empty() ? term.scorer() : term.kind());
    *request.mutable_options() = term.options();
  }
}

void ScorerBook::Need(const v1::RewardSpec& spec) {
  std::map<std::string, std::set<std::string>> needed;
  for (const v1::RewardSpecTerm& term : spec.terms())
    for (const std::string& endpoint : EndpointsOf(term.endpoint())) needed[endpoint].insert(term.scorer());
  std::erase_if(servers_, [&](const auto& server) { return !needed.contains(server.first); });
  for (const auto& [endpoint, scorers] : needed) {
    std::map<std::string, Place>& places = servers_[endpoint].scorers;
    std::erase_if(places, [&, &scorers = scorers](const auto& place) { return !scorers.contains(place.first); });
    for (const std::string& scorer : scorers) places.try_emplace(scorer);
  }
}

std::vector<std::string> ScorerBook::endpoints() const {
  std::vector<std::string> endpoints;
  for (const auto& [endpoint, server] : servers_) endpoints.push_back(endpoint);
  return endpoints;
}

void ScorerBook::OnList(const std::string& endpoint, const v1::ListScorersResponse& list, Contact contact) {
  const auto server = servers_.find(endpoint);
  if (server == servers_.end()) return;
  server->second.away_because.clear();
  for (auto& [scorer, place] : server->second.scorers) {
    const auto info = std::find_if(list.scorers().begin(), list.scorers().end(),
                                   [&scorer = scorer](const v1::ScorerInfo& known) { return known.name() == scorer; });
    if (info != list.scorers().end()) {
      const bool is_loading = place.is_loading;
      place = {.state = State::kThere, .is_loading = is_loading};
      if (info->health() == v1::ScorerInfo::STUCK)
        place.stuck_because = info->health_message().empty() ? "a call does not return" : info->health_message();
      const bool is_told = !info->kind().empty() && info->options_size() <= static_cast<int>(kMostOptions);
      if (is_told && (seen_.size() < kMostSeen || seen_.contains({endpoint, scorer})))
        seen_[{endpoint, scorer}] = RequestOf(*info);
      continue;
    }
    place.stuck_because.clear();
    if (contact == Contact::kLost) {  // whatever was tried is another process's by now
      place.attempts = 0;
      place.next = absl::InfinitePast();
      place.error.clear();
    }
    if (place.state == State::kThere) place.state = contact == Contact::kKept ? State::kUnloaded : State::kGone;
    if (contact == Contact::kLost || place.state == State::kNeverSeen) place.state = State::kGone;
  }
}

void ScorerBook::OnNoList(const std::string& endpoint, const absl::Status& why) {
  const auto server = servers_.find(endpoint);
  if (server == servers_.end()) return;
  server->second.away_because =
      absl::IsUnimplemented(why) ? "" : TruncateUtf8(std::string(why.message()), kLongestReason);
}

const v1::LoadScorerRequest* ScorerBook::HowToLoad(const std::string& endpoint, const std::string& scorer) const {
  if (const auto seen = seen_.find({endpoint, scorer}); seen != seen_.end()) return &seen->second;
  // Servers of one term have the same scorer.
  for (const auto& [place, request] : seen_)
    if (place.second == scorer) return &request;
  const auto configured = configured_.find(scorer);
  return configured == configured_.end() ? nullptr : &configured->second;
}

std::vector<ScorerBook::Load> ScorerBook::TakeLoads(absl::Time now) {
  std::vector<Load> loads;
  for (auto& [endpoint, server] : servers_) {
    for (auto& [scorer, place] : server.scorers) {
      const bool is_due = place.state == State::kGone && !place.is_loading &&
                          place.attempts < options_.most_attempts && now >= place.next;
      const v1::LoadScorerRequest* const how = is_due ? HowToLoad(endpoint, scorer) : nullptr;
      if (how == nullptr) continue;
      place.is_loading = true;
      ++place.attempts;
      loads.push_back({endpoint, *how});
    }
  }
  return loads;
}

void ScorerBook::OnLoad(const Load& load, const absl::Status& status, absl::Time now) {
  if (status.ok()) ++loads_[load.scorer.name()];
  const auto server = servers_.find(load.endpoint);
  if (server == servers_.end()) return;
  const auto found = server->second.scorers.find(load.scorer.name());
  if (found == server->second.scorers.end()) return;
  Place& place = found->second;
  place.is_loading = false;
  if (absl::IsAlreadyExists(status)) --place.attempts;  // the next list tells how that went
  absl::Duration pause = options_.first_pause;
  for (int i = 1; i < place.attempts && pause < options_.longest_pause; ++i) pause *= 2;
  place.next = now + std::min(pause, options_.longest_pause);
  if (absl::IsUnimplemented(status)) place.attempts = options_.most_attempts;
  place.error = status.ok() || absl::IsAlreadyExists(status)
                    ? ""
                    : TruncateUtf8(std::string(status.message()), kLongestReason);
}

std::vector<std::string> ScorerBook::warnings() const {
  std::vector<std::string> warnings;
  for (const auto& [endpoint, server] : servers_) {
    if (!server.away_because.empty()) {
      warnings.push_back(absl::StrCat("the reward server ", endpoint, " does not answer: ", server.away_because));
      continue;
    }
    for (const auto& [scorer, place] : server.scorers) {
      const std::string who = absl::StrCat("scorer ", scorer, " of the reward server ", endpoint);
      if (!place.stuck_because.empty())
        warnings.push_back(absl::StrCat(who, " is stuck: ", place.stuck_because, "; flowawr reward reload ", scorer,
                                        " --server ", endpoint));
      if (place.state == State::kUnloaded)
        warnings.push_back(absl::StrCat(who, " was unloaded; load it again, or take it out of the rewards"));
      if (place.state != State::kGone) continue;
      const std::string why = place.error.empty() ? "" : absl::StrCat(": ", place.error);
      if (HowToLoad(endpoint, scorer) == nullptr)
        warnings.push_back(absl::StrCat(who, " is not loaded, and the run does not know of which kind it is: flowawr ",
                                        "reward load ", scorer, "=KIND --server ", endpoint));
      else if (place.attempts >= options_.most_attempts && !place.is_loading)
        warnings.push_back(absl::StrCat(who, " is gone and could not be loaded again", why));
      else
        warnings.push_back(absl::StrCat(who, " is gone and is loaded again, attempt ", std::max(place.attempts, 1),
                                        " of ", options_.most_attempts, why));
    }
  }
  return warnings;
}

std::string ScorerBook::ToJsonLines() const {
  std::string lines;
  for (const auto& [place, request] : seen_) {
    const nlohmann::json line = {
        {"endpoint", place.first},
        {"name", request.name()},
        {"kind", request.kind()},
        {"options", std::map<std::string, std::string>(request.options().begin(), request.options().end())}};
    absl::StrAppend(&lines, line.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace), "\n");
  }
  return lines;
}

void ScorerBook::AddJsonLines(const std::string& lines) {
  for (const absl::string_view text : absl::StrSplit(lines, '\n', absl::SkipWhitespace())) {
    if (seen_.size() >= kMostSeen) return;
    try {
      const nlohmann::json line = nlohmann::json::parse(text.begin(), text.end());
      v1::LoadScorerRequest request;
      request.set_name(line.at("name").get<std::string>());
      request.set_kind(line.at("kind").get<std::string>());
      for (const auto& [option, value] : line.at("options").items())
        (*request.mutable_options())[option] = value.get<std::string>();
      seen_[{line.at("endpoint").get<std::string>(), request.name()}] = request;
    } catch (const nlohmann::json::exception&) {
      // Nothing depends on it but the comfort of the next restart.
    }
  }
}

}  // namespace flowawr
