#include "reward_server/scorer_host.h"

#include <algorithm>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/base/nearest_word.h"
#include "common/base/status.h"
#include "common/base/utf8.h"

namespace flowawr {
namespace {

constexpr size_t kMaxScorers = 64;  // names are metric labels

constexpr size_t kMaxNameBytes = 64;
constexpr int kMaxOptions = 64;
constexpr size_t kMaxOptionBytes = 16 << 10;  // names and values of all options of a scorer

bool IsName(const std::string& name) {
  return !name.empty() && name.size() <= kMaxNameBytes && std::all_of(name.begin(), name.end(), [](char c) {
    return absl::ascii_isalnum(c) || c == '_' || c == '-' || c == '.';
  });
}

// Every text of a request is kept while the scorer is, and by ScorerMemory for longer.
absl::Status CheckBounds(const v1::LoadScorerRequest& request) {
  for (const std::string* name : {&request.name(), &request.kind()}) {
    if (name == &request.name() && name->empty()) continue;
    if (!IsName(*name))
      return absl::InvalidArgumentError(absl::StrCat("the ", name == &request.name() ? "name" : "kind",
                                                     " of a scorer is 1 to ", kMaxNameBytes,
                                                     " letters, digits, '_', '-' or '.', not \"",
                                                     TruncateUtf8(*name, kMaxNameBytes), "\""));
  }
  size_t bytes = 0;
  for (const auto& [name, value] : request.options()) bytes += name.size() + value.size();
  if (static_cast<int>(request.options().size()) > kMaxOptions || bytes > kMaxOptionBytes)
    return absl::InvalidArgumentError(absl::StrCat("the scorer has ", request.options().size(), " options of ", bytes,
                                                   " bytes; at most ", kMaxOptions, " of together ", kMaxOptionBytes,
                                                   " bytes are accepted"));
  return absl::OkStatus();
}

}  // namespace

ScorerHost::ScorerHost(const ScorerRegistry& registry, prometheus::Registry& metrics, const RunnerOptions& options)
    : registry_(registry), metrics_(metrics), options_(options) {}

ScorerHost::~ScorerHost() { UnloadAll(); }

absl::StatusOr<v1::ScorerInfo> ScorerHost::Load(const v1::LoadScorerRequest& request) {
  FLOWAWR_RETURN_IF_ERROR(CheckBounds(request));
  const std::string name = request.name().empty() ? request.kind() : request.name();
  {
    absl::MutexLock lock(&mutex_);
    if (in_transition_.count(name) > 0)
      return absl::AlreadyExistsError(absl::StrCat("scorer ", name, " is being loaded or unloaded; ask again later"));
    if (scorers_.count(name) > 0)
      return absl::AlreadyExistsError(
          absl::StrCat("scorer ", name, " is loaded; unload it first, or use another name"));
    if (scorers_.size() + in_transition_.size() >= kMaxScorers)
      return absl::ResourceExhaustedError(absl::StrCat(kMaxScorers, " scorers are loaded; unload one first"));
    in_transition_.insert(name);
  }
  absl::Cleanup end_transition = [this, &name] {
    absl::MutexLock lock(&mutex_);
    in_transition_.erase(name);
  };
  FLOWAWR_ASSIGN_OR_RETURN(
      std::shared_ptr<Scorer> scorer,
      registry_.Make(request.kind(), {request.options().begin(), request.options().end()}, {.threads = options_.threads}));
  Loaded loaded{request.kind(), metrics_.Add(name), nullptr};
  loaded.runner = std::make_shared<ScorerRunner>(std::move(scorer), loaded.series, options_);
  v1::ScorerInfo info;
  info.set_name(name);
  info.set_kind(request.kind());
  info.set_version(loaded.runner->version());
  absl::MutexLock lock(&mutex_);
  scorers_[name] = std::move(loaded);
  in_transition_.erase(name);
  std::move(end_transition).Cancel();
  return info;
}

absl::Status ScorerHost::Unload(const std::string& name) {
  Loaded loaded;
  {
    absl::MutexLock lock(&mutex_);
    const auto it = scorers_.find(name);
    if (it == scorers_.end())
      return absl::NotFoundError(absl::StrCat("no scorer ", TruncateUtf8(name, kMaxNameBytes), " is loaded"));
    loaded = std::move(it->second);
    scorers_.erase(it);
    in_transition_.insert(name);
  }
  loaded.runner->Stop();
  // Requests may still hold the stopped runner; it no longer touches its series.
  metrics_.Remove(loaded.series);
  absl::MutexLock lock(&mutex_);
  in_transition_.erase(name);
  return absl::OkStatus();
}

void ScorerHost::UnloadAll() {
  std::vector<std::string> names;
  {
    absl::MutexLock lock(&mutex_);
    for (const auto& [name, loaded] : scorers_) names.push_back(name);
  }
  for (const std::string& name : names) Unload(name).IgnoreError();
}

absl::StatusOr<std::shared_ptr<ScorerRunner>> ScorerHost::Find(const std::string& name) const {
  absl::MutexLock lock(&mutex_);
  const auto it = scorers_.find(name);
  if (it != scorers_.end()) return it->second.runner;
  std::vector<std::string> loaded;
  for (const auto& [other, ignored] : scorers_) loaded.push_back(other);
  return absl::NotFoundError(
      absl::StrCat("no scorer \"", TruncateUtf8(name, kMaxNameBytes), "\" is loaded here; there ",
                   loaded.empty() ? "is none" : absl::StrCat("are: ", absl::StrJoin(loaded, ", ")),
                   DidYouMean(name, loaded)));
}

v1::ListScorersResponse ScorerHost::List() const {
  v1::ListScorersResponse response;
  for (const std::string& kind : registry_.kinds()) response.add_available_kinds(kind);
  absl::MutexLock lock(&mutex_);
  for (const auto& [name, loaded] : scorers_) {
    v1::ScorerInfo& info = *response.add_scorers();
    info.set_name(name);
    info.set_kind(loaded.kind);
    info.set_version(loaded.runner->version());
    info.set_images_scored(loaded.runner->images_scored());
    info.set_errors(loaded.runner->errors());
    info.set_queued_images(static_cast<uint32_t>(loaded.runner->queued_images()));
    if (const auto unused = loaded.runner->unused_for(); unused)
      info.set_seconds_since_use(absl::ToDoubleSeconds(*unused));
  }
  return response;
}

}  // namespace flowawr
