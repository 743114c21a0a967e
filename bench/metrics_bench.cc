// What a scrape of the learner's page costs with many actors: collecting, and writing the text. Google Benchmark:
//   ninja -C build/release flowawr_metrics_bench && build/release/bin/flowawr_metrics_bench
#include <benchmark/benchmark.h>
#include <prometheus/text_serializer.h>

#include <string>

#include "absl/strings/str_cat.h"
#include "learner/lease_desk.h"
#include "learner/learner_metrics.h"
#include "learner/policy_shelf.h"
#include "learner/status_board.h"

namespace flowawr {
namespace {

void Scrape(benchmark::State& state) {
  LeaseDesk::Options options;
  options.tell = [](bool, const std::string&) {};
  StatusBoard board;
  PolicyShelf policies({});
  LeaseDesk leases(std::move(options), &policies, &board);
  for (int64_t i = 0; i < state.range(0); ++i) {
    const std::string actor = absl::StrCat("actor-", i);
    leases.Claim(actor, "session").IgnoreError();
    leases.Register(actor, /*has_model=*/true, "10.0.0.1");
    v1::RenewLeasesRequest request;
    request.set_actor_id(actor);
    for (const char* stage : {"encode", "sample", "decode", "score", "submit", "idle"})
      (*request.mutable_stage_seconds())[stage] = 12345.678;
    leases.Renew(request).IgnoreError();
  }
  size_t bytes = 0, series = 0;
  for (auto _ : state) {
    const auto families = MetricsOf(board.status(), {.fleet = leases.fleet()});
    const std::string page = prometheus::TextSerializer().Serialize(families);
    bytes = page.size(), series = 0;
    for (const auto& family : families) series += family.metric.size();
  }
  state.counters["bytes"] = static_cast<double>(bytes);
  state.counters["series"] = static_cast<double>(series);
}
BENCHMARK(Scrape)->Arg(1)->Arg(100)->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace flowawr

BENCHMARK_MAIN();
