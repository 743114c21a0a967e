#include "cli/doctor/finding.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_replace.h"
#include "cli/machine_memory.h"
#include "common/base/host_port.h"
#include "common/base/utf8.h"

namespace flowawr {
namespace {

constexpr double kNearlyFull = .9;                   // of the memory
constexpr int64_t kRoomToSpare = int64_t{1} << 30;   // of a disk
constexpr absl::Duration kSoon = absl::Hours(24 * 30);
constexpr double kLongRun = 14 * 24 * 3600.0;

const char* NameOf(FindingLevel level) {
  switch (level) {
    case FindingLevel::kOk:
      return "ok";
    case FindingLevel::kWarn:
      return "warn";
    case FindingLevel::kBad:
      return "bad";
  }
  return "";
}

size_t Count(const std::vector<Finding>& findings, FindingLevel level) {
  return std::count_if(findings.begin(), findings.end(),
                       [level](const Finding& finding) { return finding.level == level; });
}

std::string OneLine(const std::string& text) {
  return absl::StrReplaceAll(SanitizeUtf8(text), {{"\n", "; "}});
}

std::string Roughly(double seconds) {
  if (seconds < 120) return absl::StrFormat("%.0f s", seconds);
  if (seconds < 2 * 3600) return absl::StrFormat("%.0f min", seconds / 60);
  if (seconds < 2 * 24 * 3600) return absl::StrFormat("%.1f h", seconds / 3600);
  return absl::StrFormat("%.1f days", seconds / (24 * 3600));
}

}  // namespace

Finding FindingOf(const std::string& subject, const absl::Status& status, const std::string& ok,
                  FindingLevel otherwise) {
  if (status.ok()) return {FindingLevel::kOk, subject, ok};
  return {otherwise, subject, std::string(status.message())};
}

std::string FindingText(const Finding& finding) {
  return absl::StrFormat("%-4s  %-12s %s\n", NameOf(finding.level), finding.subject, OneLine(finding.what));
}

std::string FindingsJson(const std::vector<Finding>& findings) {
  nlohmann::json checks = nlohmann::json::array();
  for (const Finding& finding : findings)
    checks.push_back({{"level", NameOf(finding.level)}, {"subject", finding.subject}, {"what", OneLine(finding.what)}});
  const nlohmann::json json = {{"checks", checks},
                               {"bad", Count(findings, FindingLevel::kBad)},
                               {"warn", Count(findings, FindingLevel::kWarn)}};
  return json.dump(1) + "\n";
}

std::string SumUp(const std::vector<Finding>& findings) {
  const size_t bad = Count(findings, FindingLevel::kBad), warn = Count(findings, FindingLevel::kWarn);
  if (bad == 0 && warn == 0) return absl::StrCat("all ", findings.size(), " checks are well");
  return absl::StrCat(bad, " of ", findings.size(), " checks ", bad == 1 ? "is" : "are", " bad, ", warn,
                      warn == 1 ? " warns" : " warn");
}

absl::Status Verdict(const std::vector<Finding>& findings) {
  if (Count(findings, FindingLevel::kBad) == 0) return absl::OkStatus();
  return absl::FailedPreconditionError(absl::StrCat(SumUp(findings), ": mend those before a run begins"));
}

Finding JudgeMemory(int64_t needed, int64_t has, const std::string& advice) {
  const std::string figures = absl::StrCat("learner and actors need ", FormatMemory(needed));
  if (has <= 0) return {FindingLevel::kWarn, "memory", absl::StrCat(figures, "; what there is could not be found out")};
  const std::string of = absl::StrCat(figures, " of ", FormatMemory(has), ", scorers not counted");
  const double share = static_cast<double>(needed) / static_cast<double>(has);
  if (share <= kNearlyFull) return {FindingLevel::kOk, "memory", of};
  return {share > 1 ? FindingLevel::kBad : FindingLevel::kWarn, "memory", absl::StrCat(of, "; ", advice)};
}

Finding JudgeDisk(const std::string& folder, int64_t needed, int64_t free) {
  const std::string figures = absl::StrCat(folder, ": checkpoints and exports take up to ", FormatMemory(needed), ", ",
                                           FormatMemory(free), " are free");
  if (free < needed)
    return {FindingLevel::kBad, "disk",
            absl::StrCat(figures, "; make room, choose another folder (--run-dir), or keep fewer (checkpoint.keep)")};
  if (free - needed < kRoomToSpare)
    return {FindingLevel::kWarn, "disk", absl::StrCat(figures, "; make room for pictures and logs, too")};
  return {FindingLevel::kOk, "disk", figures};
}

Finding JudgeTime(double seconds, int64_t updates) {
  const std::string figures =
      absl::StrCat("about ", Roughly(seconds), " for ", updates, " updates, give or take a factor of 1.5");
  if (!std::isfinite(seconds) || seconds > kLongRun)
    return {FindingLevel::kWarn, "time",
            absl::StrCat(figures, "; more machines with actors, fewer sampler.steps or smaller groups make it less")};
  return {FindingLevel::kOk, "time", figures};
}

Finding JudgeExpiry(const std::string& file, absl::Duration left) {
  const int64_t days = absl::ToInt64Hours(left) / 24;
  if (left <= absl::ZeroDuration())
    return {FindingLevel::kBad, "certificate", absl::StrCat(file, " has expired; make a new one (flowawr certs)")};
  if (left < kSoon)
    return {FindingLevel::kWarn, "certificate",
            absl::StrCat(file, " expires in ", days, " days; make a new one in time (flowawr certs)")};
  return {FindingLevel::kOk, "certificate", absl::StrCat(file, " is good for ", days, " days")};
}

bool WantOnePort(const std::string& one, const std::string& other) {
  const absl::StatusOr<HostPort> a = ParseHostPort(one), b = ParseHostPort(other);
  if (!a.ok() || !b.ok() || a->port == 0 || a->port != b->port) return false;
  return a->host == b->host || a->is_wildcard() || b->is_wildcard();
}

Finding JudgeScorable(const std::string& file, size_t faults, size_t all, const std::string& example,
                      bool skips_bad) {
  if (faults == 0) return {FindingLevel::kOk, "prompts", absl::StrCat(file, ": the rewards can score all ", all)};
  const std::string figures =
      absl::StrCat(file, ": the rewards can never score ", faults, " of ", all, ", e.g. ", example);
  if (skips_bad && faults < all)
    return {FindingLevel::kWarn, "prompts", absl::StrCat(figures, "; they are left out (prompts.skip_bad)")};
  return {FindingLevel::kBad, "prompts",
          absl::StrCat(figures, "; `flowawr prompts check` lists them all, prompts.skip_bad leaves them out")};
}

}  // namespace flowawr
