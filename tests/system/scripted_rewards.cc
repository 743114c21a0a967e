#include "tests/system/scripted_rewards.h"

#include <gtest/gtest.h>

#include <numeric>
#include <utility>

#include "absl/strings/str_cat.h"

namespace flowawr {
namespace {

// How often a held call looks whether its caller is still there.
constexpr absl::Duration kGlance = absl::Milliseconds(10);

// In [0, 1), other for nearly every image.
double ShareOf(const std::string& bytes) {
  const auto hash = std::accumulate(bytes.begin(), bytes.end(), uint32_t{1}, [](uint32_t sum, char byte) {
    return sum * 31 + static_cast<unsigned char>(byte);
  });
  return (hash % 1000) / 1000.0;
}

}  // namespace

ScriptedRewards::ScriptedRewards(std::map<std::string, double> scorers) : scorers_(std::move(scorers)) {
  ServerOptions options;
  options.listen = "127.0.0.1:0";
  options.network.set_max_message_mib(64);
  auto server = RpcServer::Start(options, {this});
  EXPECT_TRUE(server.ok()) << server.status();
  server_ = std::move(server).value();
}

ScriptedRewards::~ScriptedRewards() {
  SetMood(Mood::kWell);
  server_->Shutdown(absl::Seconds(2));
}

void ScriptedRewards::SetMood(Mood mood) {
  absl::MutexLock lock(&mutex_);
  mood_ = mood;
}

int ScriptedRewards::calls() const {
  absl::MutexLock lock(&mutex_);
  return calls_;
}

ScriptedRewards::Mood ScriptedRewards::AwaitMoodToAnswer(grpc::ServerContext& context) {
  absl::MutexLock lock(&mutex_);
  ++calls_;
  const auto is_willing = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return mood_ != Mood::kSlow; };
  while (!mutex_.AwaitWithTimeout(absl::Condition(&is_willing), kGlance) && !context.IsCancelled()) {
  }
  return mood_;
}

grpc::Status ScriptedRewards::Score(grpc::ServerContext* context, const v1::ScoreRequest* request,
                                    v1::ScoreResponse* response) {
  const Mood mood = AwaitMoodToAnswer(*context);
  const auto scorer = scorers_.find(request->scorer());
  if (scorer == scorers_.end()) return {grpc::StatusCode::NOT_FOUND, "no scorer " + request->scorer()};
  for (const v1::ScoreItem& item : request->items()) {
    v1::ScoreResult& result = *response->add_results();
    if (mood == Mood::kWell) {
      result.set_reward(scorer->second + ShareOf(item.image_rgb()));
    } else {
      result.mutable_error()->set_kind(v1::ScoreError::BROKEN);
      result.mutable_error()->set_message("the lamp of the scorer is out");
    }
  }
  return grpc::Status::OK;
}

grpc::Status ScriptedRewards::ListScorers(grpc::ServerContext*, const v1::ListScorersRequest*,
                                          v1::ListScorersResponse* response) {
  for (const auto& [name, reward] : scorers_) response->add_scorers()->set_name(name);
  return grpc::Status::OK;
}

}  // namespace flowawr
