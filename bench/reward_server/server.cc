// A reward server with one more kind, `empty`: every image gets the same reward at once, so that what is left is the
// server's own work. Serves until its standard input ends; answers each line of it with its histograms, as JSON:
// {name: [sum, count]}.
#include <CLI/CLI.hpp>
#include <iostream>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "common/base/allocator.h"
#include "common/process/exit_code.h"
#include "common/rpc/server.h"
#include "common/scoring/scorer_text.h"
#include "prometheus/registry.h"
#include "reward_server/reward_service.h"
#include "reward_server/scorer_host.h"

namespace flowawr {
namespace {

class EmptyScorer : public Scorer {
 public:
  static absl::StatusOr<std::shared_ptr<Scorer>> Load(ScorerOptions& options, const ScorerContext& context) {
    if (absl::Status status = options.Finish(); !status.ok()) return status;
    return std::make_shared<EmptyScorer>(context.threads);
  }
  explicit EmptyScorer(int threads) : threads_(threads) {}
  std::vector<v1::ScoreResult> Score(absl::Span<const v1::ScoreItem* const> items, StillWanted) override {
    return std::vector<v1::ScoreResult>(items.size(), RewardResult(1));
  }
  const std::string& version() const override { return version_; }
  int parallel_calls() const override { return threads_; }

 private:
  const int threads_;
  const std::string version_ = "empty";
};

nlohmann::json Histograms(const prometheus::Registry& metrics) {
  nlohmann::json all = nlohmann::json::object();
  for (const prometheus::MetricFamily& family : metrics.Collect())
    for (const prometheus::ClientMetric& metric : family.metric)
      if (family.type == prometheus::MetricType::Histogram)
        all[family.name] = {metric.histogram.sample_sum, metric.histogram.sample_count};
  return all;
}

absl::Status Serve(const std::vector<std::string>& scorers, int threads) {
  ScorerRegistry registry = ScorerRegistry::Default();
  registry.Register("empty", EmptyScorer::Load);
  prometheus::Registry metrics;
  ScorerHost host(registry, metrics, {.threads = threads});
  for (const std::string& text : scorers) {
    const auto request = ParseScorer(text);
    if (!request.ok()) return request.status();
    if (const auto info = host.Load(*request); !info.ok()) return info.status();
  }
  RewardService service(host, nullptr, metrics, {});
  v1::NetworkConfig network;
  network.set_max_message_mib(64);
  const auto server = RpcServer::Start({.listen = "127.0.0.1:0", .network = network}, {&service});
  if (!server.ok()) return server.status();
  std::cout << (*server)->endpoint() << std::endl;
  for (std::string line; std::getline(std::cin, line);) std::cout << Histograms(metrics).dump() << std::endl;
  return absl::OkStatus();
}

}  // namespace
}  // namespace flowawr

int main(int argc, char** argv) {
  flowawr::KeepFreedMemory();
  std::vector<std::string> scorers;
  int threads = 2;
  CLI::App app("The reward server with a scorer that does nothing. Prints its address; ends with its standard input.");
  app.add_option("--scorer", scorers, "as of flowawr-reward-server")->required()->take_all();
  app.add_option("--threads", threads, "of each scorer")->capture_default_str();
  CLI11_PARSE(app, argc, argv);
  return flowawr::ReportAndExitCodeOf(flowawr::Serve(scorers, threads));
}
