#include "reward_server/scorer_host.h"

#include <malloc.h>

#include <algorithm>
#include <exception>
#include <functional>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/base/nearest_word.h"
#include "common/base/status.h"
#include "common/base/utf8.h"
#include "common/tensor/device_memory.h"
#include "reward_server/warm_up.h"

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

// glibc and LibTorch keep what was freed, for the next that asks: after gigabytes of weights the system should have it,
// and whoever else computes on the device.
void GiveMemoryBack() {
  malloc_trim(0);
  GiveBackFreedDeviceMemory();
}

std::shared_ptr<Scorer> GivingMemoryBack(std::shared_ptr<Scorer> scorer) {
  Scorer* const raw = scorer.get();
  return {raw, [scorer = std::move(scorer)](Scorer*) mutable {
            scorer.reset();
            GiveMemoryBack();
          }};
}

absl::Status BeingChanged(const std::string& name) {
  return absl::AbortedError(absl::StrCat("scorer ", name, " is being loaded, replaced or unloaded; ask again later"));
}

}  // namespace

ScorerHost::ScorerHost(const ScorerRegistry& registry, prometheus::Registry& metrics, const RunnerOptions& options)
    : registry_(registry), metrics_(metrics), options_(options) {}

ScorerHost::~ScorerHost() { UnloadAll(); }

absl::StatusOr<ScorerHost::Made> ScorerHost::Make(const v1::LoadScorerRequest& request) {
  std::map<std::string, std::string> options(request.options().begin(), request.options().end());
  FLOWAWR_ASSIGN_OR_RETURN(const RunnerOptions runner_options, TakeRunnerOptions(options, options_));
  std::function<absl::Status()> device_error;
  if (runner_options.device_error)
    device_error = [ask = runner_options.device_error, device = runner_options.device] { return ask(device); };
  const std::string kind = absl::StrCat("scorer kind ", request.kind());
  absl::Cleanup give_back = GiveMemoryBack;  // of one that could not be loaded
  std::shared_ptr<Scorer> scorer;
  try {
    FLOWAWR_ASSIGN_OR_RETURN(scorer, registry_.Make(request.kind(), std::move(options),
                                                    {.threads = runner_options.threads,
                                                     .device = runner_options.device,
                                                     .batch = runner_options.largest_batch}));
  } catch (const std::exception& error) {
    const absl::Status of_device = device_error ? device_error() : absl::OkStatus();
    return of_device.ok() ? absl::InternalError(absl::StrCat(kind, " could not be loaded: ", error.what()))
                          : Annotate(of_device, kind);
  }
  std::move(give_back).Cancel();
  scorer = GivingMemoryBack(std::move(scorer));
  const absl::Status warm = WarmUp(scorer, runner_options.max_image_time, device_error);
  if (absl::IsDeadlineExceeded(warm)) has_left_a_call_ = true;
  FLOWAWR_RETURN_IF_ERROR(Annotate(warm, kind));
  return Made{std::move(scorer), runner_options};
}

std::shared_ptr<ScorerRunner> ScorerHost::Run(Made made, const ScorerSeries& series) {
  series.memory_bytes->Set(static_cast<double>(made.scorer->memory_bytes()));
  series.queue_limit_images->Set(static_cast<double>(made.options.max_queued_images));
  ShowHealth(series, true);
  return std::make_shared<ScorerRunner>(std::move(made.scorer), series, made.options,
                                        [this, series](bool is_healthy) { ShowHealth(series, is_healthy); });
}

void ScorerHost::ShowHealth(const ScorerSeries& series, bool is_healthy) {
  series.is_healthy->Set(is_healthy ? 1 : 0);
  TellHealth(series.scorer, is_healthy);
}

absl::StatusOr<v1::ScorerInfo> ScorerHost::Load(const v1::LoadScorerRequest& request) {
  FLOWAWR_RETURN_IF_ERROR(CheckBounds(request));
  const std::string name = request.name().empty() ? request.kind() : request.name();
  {
    absl::MutexLock lock(&mutex_);
    if (in_transition_.count(name) > 0)
      return absl::AlreadyExistsError(
          absl::StrCat("scorer ", name, " is being loaded, replaced or unloaded; ask again later"));
    if (scorers_.count(name) > 0)
      return absl::AlreadyExistsError(
          absl::StrCat("scorer ", name, " is loaded; reload it, unload it first, or use another name"));
    if (scorers_.size() + in_transition_.size() >= kMaxScorers)
      return absl::ResourceExhaustedError(absl::StrCat(kMaxScorers, " scorers are loaded; unload one first"));
    in_transition_.insert(name);
  }
  const absl::Cleanup end_transition = [this, &name] { EndTransition(name); };
  FLOWAWR_ASSIGN_OR_RETURN(Made made, Make(request));
  Loaded loaded{request, metrics_.Add(name), nullptr};
  loaded.request.set_name(name);
  loaded.runner = Run(std::move(made), loaded.series);
  v1::ScorerInfo info = InfoOf(loaded.request, *loaded.runner);
  absl::MutexLock lock(&mutex_);
  scorers_[name] = std::move(loaded);
  return info;
}

absl::StatusOr<v1::LoadScorerRequest> ScorerHost::BeginReload(const v1::LoadScorerRequest& request) {
  v1::LoadScorerRequest wanted = request;
  if (wanted.name().empty()) wanted.set_name(request.kind());
  absl::MutexLock lock(&mutex_);
  const auto it = scorers_.find(wanted.name());
  if (it == scorers_.end())
    return absl::NotFoundError(absl::StrCat("no scorer ", TruncateUtf8(wanted.name(), kMaxNameBytes), " is loaded"));
  if (in_transition_.count(wanted.name()) > 0) return BeingChanged(wanted.name());
  if (wanted.kind().empty()) {
    wanted.set_kind(it->second.request.kind());
    if (wanted.options().empty()) *wanted.mutable_options() = it->second.request.options();
  }
  FLOWAWR_RETURN_IF_ERROR(CheckBounds(wanted));
  in_transition_.insert(wanted.name());
  return wanted;
}

absl::StatusOr<v1::ScorerInfo> ScorerHost::Reload(const v1::LoadScorerRequest& request) {
  FLOWAWR_ASSIGN_OR_RETURN(const v1::LoadScorerRequest wanted, BeginReload(request));
  absl::Cleanup end_transition = [this, &wanted] { EndTransition(wanted.name()); };
  FLOWAWR_ASSIGN_OR_RETURN(Made made, Make(wanted));
  ScorerSeries series;
  {
    absl::MutexLock lock(&mutex_);
    series = scorers_[wanted.name()].series;
  }
  // Both runners share the series until the old one has ended.
  const std::shared_ptr<ScorerRunner> runner = Run(std::move(made), series);
  v1::ScorerInfo info = InfoOf(wanted, *runner);
  std::shared_ptr<ScorerRunner> old = runner;
  {
    absl::MutexLock lock(&mutex_);
    Loaded& loaded = scorers_[wanted.name()];
    loaded.request = wanted;
    loaded.runner.swap(old);
  }
  StopRunner(std::move(old), absl::InfiniteDuration());
  ShowHealth(series, runner->Info().health() == v1::ScorerInfo::HEALTHY);  // the old one's may have been told last
  return info;
}

absl::Status ScorerHost::Unload(const std::string& name) {
  Loaded loaded;
  {
    absl::MutexLock lock(&mutex_);
    const auto it = scorers_.find(name);
    if (it == scorers_.end())
      return absl::NotFoundError(absl::StrCat("no scorer ", TruncateUtf8(name, kMaxNameBytes), " is loaded"));
    if (in_transition_.count(name) > 0) return BeingChanged(name);
    loaded = std::move(it->second);
    scorers_.erase(it);
    in_transition_.insert(name);
  }
  TellGone(name);
  StopRunner(std::move(loaded.runner), options_.stop_grace);
  metrics_.Remove(loaded.series);
  EndTransition(name);
  return absl::OkStatus();
}

// Requests may still hold it; it no longer touches its series.
void ScorerHost::StopRunner(std::shared_ptr<ScorerRunner> runner, absl::Duration grace) {
  runner->Stop(grace);
  if (runner->has_left_a_call()) has_left_a_call_ = true;
}

void ScorerHost::UnloadAll() {
  std::vector<std::string> names;
  {
    absl::MutexLock lock(&mutex_);
    for (const auto& [name, loaded] : scorers_) names.push_back(name);
  }
  for (const std::string& name : names) Unload(name).IgnoreError();
}

void ScorerHost::EndTransition(const std::string& name) {
  absl::MutexLock lock(&mutex_);
  in_transition_.erase(name);
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

v1::ScorerInfo ScorerHost::InfoOf(const v1::LoadScorerRequest& request, const ScorerRunner& runner) {
  v1::ScorerInfo info = runner.Info();
  info.set_name(request.name());
  info.set_kind(request.kind());
  *info.mutable_options() = request.options();
  return info;
}

v1::ListScorersResponse ScorerHost::List() const {
  v1::ListScorersResponse response;
  for (const std::string& kind : registry_.kinds()) response.add_available_kinds(kind);
  absl::MutexLock lock(&mutex_);
  for (const auto& [name, loaded] : scorers_) *response.add_scorers() = InfoOf(loaded.request, *loaded.runner);
  return response;
}

void ScorerHost::WatchHealth(HealthObserver observer) {
  absl::MutexLock lock(&observer_mutex_);
  observer_ = std::move(observer);
  if (observer_ == nullptr) return;
  for (const auto& [name, is_serving] : is_serving_) observer_(name, is_serving);
}

void ScorerHost::TellGone(const std::string& name) {
  TellHealth(name, false);
  absl::MutexLock lock(&observer_mutex_);
  is_serving_.erase(name);
}

void ScorerHost::TellHealth(const std::string& name, bool is_serving) {
  absl::MutexLock lock(&observer_mutex_);
  is_serving_[name] = is_serving;
  if (observer_ != nullptr) observer_(name, is_serving);
}

}  // namespace flowawr
