#include "cli/prometheus_targets.h"

#include <cstdio>
#include <nlohmann/json.hpp>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/base/file.h"
#include "common/base/utf8.h"
#include "common/rpc/endpoint_file.h"

namespace flowawr {
namespace {

constexpr absl::Duration kInterval = absl::Seconds(1);

std::string JobOf(const std::string& process) {
  for (const char* one_of_several : {"actor", "rank"})
    if (absl::StartsWith(process, absl::StrCat(one_of_several, "-"))) return absl::StrCat("flowawr-", one_of_several);
  return absl::StrCat("flowawr-", process);
}

}  // namespace

std::string PrometheusTargetsJson(const std::string& run, bool speaks_tls,
                                  const std::vector<PrometheusTarget>& targets) {
  nlohmann::json groups = nlohmann::json::array();
  for (const PrometheusTarget& target : targets)
    groups.push_back({{"targets", {target.endpoint}},
                      {"labels",
                       {{"__scheme__", speaks_tls ? "https" : "http"},
                        {"job", JobOf(target.process)},
                        {"run", SanitizeUtf8(run)},
                        {"instance", target.process}}}});
  return groups.dump(1) + "\n";
}

PrometheusTargetsFile::PrometheusTargetsFile(std::string folder, std::string run, bool speaks_tls)
    : folder_(std::move(folder)), run_(std::move(run)), speaks_tls_(speaks_tls) {}

PrometheusTargetsFile::~PrometheusTargetsFile() { Write(PrometheusTargetsJson(run_, speaks_tls_, {})); }

void PrometheusTargetsFile::Add(const std::string& process) { processes_.push_back(process); }

void PrometheusTargetsFile::Refresh(absl::Time now) {
  if (now < next_) return;
  next_ = now + kInterval;
  std::vector<PrometheusTarget> targets;
  for (const std::string& process : processes_)
    if (absl::StatusOr<std::string> endpoint =
            ReadEndpointFile(absl::StrCat(folder_, "/endpoints/", process, ".metrics"));
        endpoint.ok())
      targets.push_back({process, *std::move(endpoint)});
  Write(PrometheusTargetsJson(run_, speaks_tls_, targets));
}

void PrometheusTargetsFile::Write(const std::string& text) {
  if (text == written_) return;
  const absl::Status status = WriteFileAtomically(absl::StrCat(folder_, "/", kName), text);
  if (status.ok()) written_ = text;
  if (!status.ok() && !std::exchange(has_failed_, true))
    std::fprintf(stderr, "Prometheus will not find the run's processes: %s\n", std::string(status.message()).c_str());
}

}  // namespace flowawr
