// What a fleet costs the learner:
//   ninja -C build/release flowawr_control_plane_bench && build/release/bin/flowawr_control_plane_bench
// The learner's services run in a process of their own. First a crowd of actors leases, renews, submits and adopts for
// a minute; then adapters of SD3.5 Medium's size go to a fleet one after the other, from the learner alone and from
// actor to actor. Prints tables, and with --json the same for programs.
#include <ATen/Parallel.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <thread>

#include "bench/control_plane/adapter_fleet.h"
#include "bench/control_plane/crowd.h"
#include "bench/control_plane/learner_process.h"
#include "bench/control_plane/served_learner.h"
#include "common/base/allocator.h"
#include "common/process/processor.h"
#include "common/telemetry/log.h"

namespace flowawr {
namespace {

constexpr char kServeLeases[] = "--serve-leases", kServeAdapter[] = "--serve-adapter";

double Quantile(const std::vector<double>& sorted, double q) {
  return sorted.empty()
             ? 0
             : sorted[std::min(sorted.size() - 1, static_cast<size_t>(q * static_cast<double>(sorted.size())))];
}

nlohmann::json Times(const std::vector<double>& sorted) {
  return {{"calls", sorted.size()},
          {"p50_ms", Quantile(sorted, .5)},
          {"p99_ms", Quantile(sorted, .99)},
          {"longest_ms", sorted.empty() ? 0 : sorted.back()}};
}

double LoadAverage() {
  double load[1] = {0};
  getloadavg(load, 1);
  return load[0];
}

nlohmann::json MeasureCrowd(const CrowdOptions& options) {
  LearnerProcess learner(kServeLeases);
  nlohmann::json after;
  const CrowdFigures figures = RunCrowd(learner.endpoint(), options, [&] { after = learner.Ask("finish"); });
  nlohmann::json out = {{"actors", options.actors},
                        {"seconds", figures.seconds},
                        {"AcquireLease", Times(figures.lease_ms)},
                        {"RenewLeases", Times(figures.renew_ms)},
                        {"SubmitGroup", Times(figures.submit_ms)},
                        {"adoptions", figures.adoptions},
                        {"failures", figures.failures},
                        {"learner", after},
                        {"load", LoadAverage()}};
  std::printf("%d actors, %.0f s: %.0f leases a second, %ld adoptions, %ld calls failed; load %.1f\n", options.actors,
              figures.seconds, static_cast<double>(figures.lease_ms.size()) / figures.seconds, figures.adoptions,
              figures.failures, LoadAverage());
  std::printf("| call | calls | median | p99 | longest |\n|---|---|---|---|---|\n");
  for (const char* call : {"AcquireLease", "RenewLeases", "SubmitGroup"})
    std::printf("| %s | %d | %.2f ms | %.2f ms | %.1f ms |\n", call, out[call]["calls"].get<int>(),
                out[call]["p50_ms"].get<double>(), out[call]["p99_ms"].get<double>(),
                out[call]["longest_ms"].get<double>());
  uint64_t received = 0, sent = 0;
  for (const auto& [method, counts] : after["calls"].items()) {
    received += counts["received_bytes"].get<uint64_t>();
    sent += counts["sent_bytes"].get<uint64_t>();
  }
  std::printf("learner, from its start: %.1f s of processor time, %.0f MB at most, %.1f MB received, %.1f MB sent\n\n",
              after["processor_s"].get<double>(), after["peak_mb"].get<double>(), 1e-6 * static_cast<double>(received),
              1e-6 * static_cast<double>(sent));
  return out;
}

nlohmann::json MeasureFleet(int actors, bool serves_peers, int versions) {
  LearnerProcess learner(kServeAdapter);
  nlohmann::json published;
  const std::vector<FleetFigures> all = RunFleet(learner.endpoint(), actors, serves_peers, versions, [&] {
    published = learner.Ask("publish");
    return absl::UnixEpoch() + absl::Seconds(published["published_at"].get<double>());
  });
  const nlohmann::json after = learner.Ask("finish");
  nlohmann::json rows = nlohmann::json::array();
  for (size_t version = 0; version < all.size(); ++version) {
    const FleetFigures& figures = all[version];
    std::printf("| %.1f MB to %d actors, %s | %zu | %.2f s | %.2f s | %.0f | %d | %.1f |\n",
                1e-6 * published["bytes"].get<double>(), actors,
                serves_peers ? "from actor to actor" : "from the learner", version + 1, figures.first_s,
                figures.seconds, figures.from_peers, figures.without, LoadAverage());
    rows.push_back({{"first_s", figures.first_s},
                    {"seconds", figures.seconds},
                    {"from_peers", figures.from_peers},
                    {"without", figures.without}});
  }
  const double copies = after["copies"]["learner"];
  std::printf("| learner: %.0f copies and %.2f s of processor time a version | | | | | | |\n",
              copies / static_cast<double>(versions),
              after["processor_s"].get<double>() / static_cast<double>(versions));
  return {{"actors", actors}, {"serves_peers", serves_peers},  {"bytes", published["bytes"]}, {"versions", rows},
          {"copies_of_learner", copies}, {"learner", after}, {"load", LoadAverage()}};
}

int Main(int argc, char** argv) {
  at::set_num_threads(1);
  InitLogging("bench", "warn");  // to standard error: the learner's process answers on standard output
  if (argc == 2 && std::string(argv[1]) == kServeLeases) return ServeLearner(/*leases=*/true);
  if (argc == 2 && std::string(argv[1]) == kServeAdapter) return ServeLearner(/*leases=*/false);
  CrowdOptions crowd;
  int fleet = 100, rounds = 1, versions = 6;
  double seconds = 60;
  std::string json;
  CLI::App app("What a fleet of actors costs the learner", "flowawr_control_plane_bench");
  app.add_option("--actors", crowd.actors, "of the crowd; 0: no crowd")->capture_default_str();
  app.add_option("--connections", crowd.connections, "that they share")->capture_default_str();
  app.add_option("--seconds", seconds, "to measure the crowd for")->capture_default_str();
  app.add_option("--fleet", fleet, "actors that the adapter goes to; 0: none")->capture_default_str();
  app.add_option("--rounds", rounds, "of the fleet, each way in turns")->capture_default_str();
  app.add_option("--versions", versions, "of the adapter, one after the other")->capture_default_str();
  app.add_option("--json", json, "a file for the figures")->type_name("FILE");
  CLI11_PARSE(app, argc, argv);
  crowd.time = absl::Seconds(seconds);

  KeepFreedMemory();  // of the messages to a hundred actors in one process
  std::printf("%s; %u cores, load %.1f\n\n", DescribeProcessor().c_str(), std::thread::hardware_concurrency(),
              LoadAverage());
  nlohmann::json figures = {{"processor", DescribeProcessor()}};
  if (crowd.actors > 0) figures["crowd"] = MeasureCrowd(crowd);
  if (fleet > 0) {
    std::printf("| adapter | version | first actor | last actor | from actors | without | load |\n"
                "|---|---|---|---|---|---|---|\n");
    for (int round = 0; round < rounds; ++round)
      for (const bool serves_peers : {false, true})
        figures["fleet"].push_back(MeasureFleet(fleet, serves_peers, versions));
  }
  if (!json.empty()) std::ofstream(json) << figures.dump(2) << "\n";
  return 0;
}

}  // namespace
}  // namespace flowawr

int main(int argc, char** argv) { return flowawr::Main(argc, argv); }
