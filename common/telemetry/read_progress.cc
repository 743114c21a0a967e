#include "common/telemetry/read_progress.h"

#include "common/base/clock.h"
#include "absl/strings/str_format.h"
#include "absl/time/time.h"
#include "spdlog/spdlog.h"

namespace flowawr {
namespace {

constexpr absl::Duration kLogEvery = absl::Seconds(5);
constexpr double kGigabyte = 1e9;

}  // namespace

std::string ReadingText(absl::string_view component, int64_t bytes, int64_t total) {
  return absl::StrFormat("reading %s: %.1f of %.1f GB", component, static_cast<double>(bytes) / kGigabyte,
                         static_cast<double>(total) / kGigabyte);
}

ComponentProgress LogReading() {
  struct Reading {
    std::string component;
    absl::Time begin, logged;
  };
  return [reading = Reading()](absl::string_view component, int64_t bytes, int64_t total) mutable {
    const absl::Time now = MonotonicNow();
    if (reading.component != component) reading = {std::string(component), now, now};
    if (bytes == total) {
      spdlog::info("read {}: {:.2f} GB in {:.1f} s", reading.component, static_cast<double>(total) / kGigabyte,
                   absl::ToDoubleSeconds(now - reading.begin));
      reading = {};
    } else if (now - reading.logged >= kLogEvery) {
      spdlog::info("{}", ReadingText(component, bytes, total));
      reading.logged = now;
    }
  };
}

}  // namespace flowawr
