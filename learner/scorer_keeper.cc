#include "learner/scorer_keeper.h"

#include <pthread.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/clock.h"
#include "common/base/file.h"
#include "common/base/status.h"
#include "common/base/utf8.h"
#include "common/rpc/channel.h"
#include "common/rpc/status.h"
#include "common/telemetry/metric_catalogue.h"
#include "learner/default_endpoint.h"

namespace flowawr {
namespace {

constexpr absl::Duration kTick = absl::Milliseconds(100);
constexpr absl::Duration kEvery = absl::Seconds(1);
constexpr absl::Duration kAnswerTime = absl::Seconds(5);
constexpr absl::Duration kLoadTime = absl::Minutes(10);  // a scorer may read a model
constexpr size_t kMostBytes = size_t{4} << 20;
constexpr size_t kShownBytes = 500;

std::string Shown(const std::string& text) { return TruncateUtf8(SanitizeUtf8(text), kShownBytes); }

}  // namespace

struct ScorerKeeper::ListCall {
  std::string endpoint;
  std::shared_ptr<Server> server;
  std::unique_ptr<grpc::ClientContext> context;
  v1::ListScorersRequest request;
  v1::ListScorersResponse response;
};

struct ScorerKeeper::LoadCall {
  ScorerBook::Load load;
  std::shared_ptr<Server> server;
  std::unique_ptr<grpc::ClientContext> context;
  v1::LoadScorerResponse response;
};

ScorerKeeper::ScorerKeeper(Options options, prometheus::Registry& registry)
    : options_(std::move(options)),
      loads_(RegisterCounter(registry, "flowawr_learner_scorers_loaded_again_total")),
      book_(options_.rewards) {
  kept_ = ReadFile(options_.file, kMostBytes).value_or("");
  {
    absl::MutexLock lock(&mutex_);
    book_.AddJsonLines(kept_);
  }
  thread_ = std::thread([this] { Run(); });
}

ScorerKeeper::~ScorerKeeper() {
  {
    absl::MutexLock lock(&mutex_);
    is_stopping_ = true;
    changed_.SignalAll();
  }
  thread_.join();
  absl::MutexLock lock(&mutex_);
  for (grpc::ClientContext* context : under_way_) context->TryCancel();
  while (!under_way_.empty()) changed_.Wait(&mutex_);
}

void ScorerKeeper::Run() {
  pthread_setname_np(pthread_self(), "scorers");
  absl::Time next_look = absl::InfinitePast();
  while (true) {
    const absl::Time now = MonotonicNow();
    v1::RewardSpec spec;
    const bool is_time = now >= next_look;
    if (is_time) {
      spec = options_.needed();
      FillInEndpoints(options_.default_reward_endpoint, &spec);
      next_look = now + kEvery;
    }
    std::vector<std::string> warnings;
    std::string seen;
    {
      absl::MutexLock lock(&mutex_);
      if (is_stopping_) return;
      if (is_time) Follow(spec);
      NoteLostConnections();
      AskAll(now);
      LoadWhatIsGone(now);
      warnings = book_.warnings();
      if (is_time) seen = book_.ToJsonLines();
    }
    if (is_time) KeepInFile(seen);
    if (warnings != warned_) {
      for (const std::string& warning : warnings)
        if (std::find(warned_.begin(), warned_.end(), warning) == warned_.end()) spdlog::warn("{}", Shown(warning));
      warned_ = warnings;
      options_.warn(std::move(warnings));
    }
    absl::MutexLock lock(&mutex_);
    if (!is_stopping_) changed_.WaitWithTimeout(&mutex_, kTick);
  }
}

void ScorerKeeper::Follow(const v1::RewardSpec& spec) {
  book_.Need(spec);
  const std::vector<std::string> endpoints = book_.endpoints();
  std::erase_if(servers_, [&](const auto& server) {
    return std::find(endpoints.begin(), endpoints.end(), server.first) == endpoints.end();
  });
  for (const std::string& endpoint : endpoints) {
    if (servers_.contains(endpoint)) continue;
    absl::StatusOr<std::shared_ptr<grpc::Channel>> channel = MakeChannel(endpoint, options_.network);
    if (!channel.ok()) {  // a term cannot have such an endpoint, but its files may be gone
      book_.OnNoList(endpoint, channel.status());
      continue;
    }
    auto server = std::make_shared<Server>();
    server->stub = v1::RewardService::NewStub(*channel);
    server->channel = *std::move(channel);
    servers_[endpoint] = std::move(server);
  }
}

// A process that ends closes its connections; a new one at its address is not there within a tick.
void ScorerKeeper::NoteLostConnections() {
  for (auto& [endpoint, server] : servers_)
    if (server->channel->GetState(/*try_to_connect=*/false) != GRPC_CHANNEL_READY)
      server->contact = std::max(server->contact, ScorerBook::Contact::kRenewed);
}

void ScorerKeeper::AskAll(absl::Time now) {
  for (auto& [endpoint, server] : servers_) {
    if (server->is_asked || now < server->next) continue;
    server->is_asked = true;
    server->next = now + kEvery;
    auto* const call = new ListCall{endpoint, server, MakeContext(kAnswerTime, options_.network), {}, {}};
    under_way_.insert(call->context.get());
    server->stub->async()->ListScorers(call->context.get(), &call->request, &call->response,
                                       [this, call](const grpc::Status& status) { OnListed(call, status); });
  }
}

void ScorerKeeper::OnListed(ListCall* call, const grpc::Status& status) {
  const std::unique_ptr<ListCall> owned(call);
  absl::MutexLock lock(&mutex_);
  call->server->is_asked = false;
  const auto server = servers_.find(call->endpoint);
  if (server != servers_.end() && server->second == call->server) {  // it may have been left and named anew meanwhile
    if (status.ok())
      book_.OnList(call->endpoint, call->response, std::exchange(call->server->contact, ScorerBook::Contact::kKept));
    else if (!is_stopping_)
      book_.OnNoList(call->endpoint, FromGrpc(status));
    if (!status.ok()) call->server->contact = ScorerBook::Contact::kLost;
  }
  under_way_.erase(call->context.get());
  changed_.SignalAll();
}

void ScorerKeeper::LoadWhatIsGone(absl::Time now) {
  for (ScorerBook::Load& load : book_.TakeLoads(now)) {
    const auto server = servers_.find(load.endpoint);
    if (server == servers_.end()) {
      book_.OnLoad(load, absl::UnavailableError("it cannot be called"), now);
      continue;
    }
    spdlog::warn("the reward server {} has no scorer {} (any more): loading it again, of kind {}", load.endpoint,
                 Shown(load.scorer.name()), Shown(load.scorer.kind()));
    auto* const call =
        new LoadCall{std::move(load), server->second, MakeContext(kLoadTime, options_.network), {}};
    under_way_.insert(call->context.get());
    server->second->stub->async()->LoadScorer(call->context.get(), &call->load.scorer, &call->response,
                                              [this, call](const grpc::Status& status) { OnLoaded(call, status); });
  }
}

void ScorerKeeper::OnLoaded(LoadCall* call, const grpc::Status& status) {
  const std::unique_ptr<LoadCall> owned(call);
  const std::string scorer = Shown(call->load.scorer.name());
  const absl::Status answer = FromGrpc(status);
  if (answer.ok()) {
    spdlog::info("loaded scorer {} ({}) again at {}", scorer, Shown(call->response.scorer().version()),
                 call->load.endpoint);
    loads_.Add({{"scorer", scorer}}).Increment();
  } else if (!absl::IsAlreadyExists(answer) && !absl::IsCancelled(answer)) {
    spdlog::warn("scorer {} could not be loaded again at {}: {}", scorer, call->load.endpoint,
                 Shown(std::string(answer.message())));
  }
  absl::MutexLock lock(&mutex_);
  book_.OnLoad(call->load, answer, MonotonicNow());
  call->server->next = absl::InfinitePast();  // whether it is there by now
  under_way_.erase(call->context.get());
  changed_.SignalAll();
}

void ScorerKeeper::KeepInFile(const std::string& lines) {
  if (lines == kept_) return;
  kept_ = lines;
  const absl::Status written = WriteFileAtomically(options_.file, lines);
  if (!written.ok()) spdlog::warn("the next learner will not know how to load the scorers: {}", written.ToString());
}

}  // namespace flowawr
