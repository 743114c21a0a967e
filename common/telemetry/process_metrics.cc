#include "common/telemetry/process_metrics.h"

#include <sys/resource.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <optional>
#include <string>
#include <system_error>

#include "absl/strings/numbers.h"
#include "absl/strings/str_split.h"
#include "common/telemetry/metric_catalogue.h"

namespace flowawr {
namespace {

std::string ReadAll(const char* path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), {}};
}

// Seconds since 1970 at which the machine started.
std::optional<double> BootTime() {
  for (const absl::string_view line : absl::StrSplit(ReadAll("/proc/stat"), '\n')) {
    double seconds = 0;
    if (line.substr(0, 6) == "btime " && absl::SimpleAtod(line.substr(6), &seconds)) return seconds;
  }
  return std::nullopt;
}

}  // namespace

std::vector<prometheus::MetricFamily> ProcessMetrics() {
  std::vector<prometheus::MetricFamily> families;
  // The program's name, in parentheses, may hold anything; the third field and those after it are plain.
  const std::string stat = ReadAll("/proc/self/stat");
  const size_t end_of_name = stat.rfind(')');
  if (end_of_name != std::string::npos) {
    const std::vector<std::string> fields = absl::StrSplit(stat.substr(end_of_name + 1), ' ', absl::SkipEmpty());
    const auto number = [&fields](size_t field) {  // as proc(5) counts them
      double value = 0;
      return field - 3 < fields.size() && absl::SimpleAtod(fields[field - 3], &value) ? value : 0;
    };
    const double ticks = static_cast<double>(sysconf(_SC_CLK_TCK)), page = static_cast<double>(sysconf(_SC_PAGESIZE));
    families.push_back(SingleMetric("process_cpu_seconds_total", (number(14) + number(15)) / ticks));
    families.push_back(SingleMetric("process_threads", number(20)));
    static const std::optional<double> boot = BootTime();
    if (boot) families.push_back(SingleMetric("process_start_time_seconds", *boot + number(22) / ticks));
    families.push_back(SingleMetric("process_virtual_memory_bytes", number(23)));
    families.push_back(SingleMetric("process_resident_memory_bytes", number(24) * page));
  }
  std::error_code error;
  std::filesystem::directory_iterator open("/proc/self/fd", error);
  if (!error)
    families.push_back(SingleMetric("process_open_fds", static_cast<double>(std::distance(begin(open), end(open)))));
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) == 0)
    families.push_back(SingleMetric("process_max_fds", static_cast<double>(limit.rlim_cur)));
  return families;
}

}  // namespace flowawr
