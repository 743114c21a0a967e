#include "learner/run_trace.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <set>
#include <tuple>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "common/base/utf8.h"

namespace flowawr {
namespace {

constexpr std::array<absl::string_view, 5> kStages = {"encode", "sample", "decode", "score", "submit"};
constexpr int kMostSpans = 16;
constexpr char kLearner[] = "learner";

std::string NameOfGroup(const v1::Lease& lease) {
  return IsEvaluationGroup(lease.group_id()) ? absl::StrCat("held out ", lease.group_id() & ~kEvaluationGroupBit)
                                             : absl::StrCat(lease.group_id());
}

}  // namespace

std::vector<TraceSpan> SpansOf(const Group& group, absl::Time now) {
  std::vector<TraceSpan> spans;
  for (const v1::StageSpan& span : group.header.spans()) {
    if (spans.size() == kMostSpans) break;
    if (std::find(kStages.begin(), kStages.end(), span.stage()) == kStages.end()) continue;
    if (!std::isfinite(span.start_unix_s()) || !(span.seconds() >= 0 && span.seconds() <= 86400)) continue;
    const absl::Time start = absl::UnixEpoch() + absl::Seconds(span.start_unix_s());
    if (start < now - absl::Hours(24 * 7) || start > now + absl::Hours(1)) continue;
    spans.push_back({.process = SanitizeUtf8(group.header.actor_id()),
                     .track = span.stage(),
                     .name = span.stage(),
                     .start = start,
                     .length = absl::Seconds(span.seconds()),
                     .details = {{"group", NameOfGroup(group.lease)},
                                 {"version", absl::StrCat(group.lease.policy_version())},
                                 {"attempt", absl::StrCat(group.header.lease().attempt())},
                                 {"prompt", group.lease.prompt().text()}}});
  }
  return spans;
}

void RunTrace::Open(const std::string& run_dir, int mib) {
  if (mib <= 0) return;
  absl::StatusOr<std::unique_ptr<TraceWriter>> opened = TraceWriter::Open(run_dir, static_cast<uint64_t>(mib) << 20);
  if (!opened.ok()) return spdlog::warn("this run has no timeline: {}", opened.status().ToString());
  writer_ = *std::move(opened);
  Mark("the learner starts");  // and so its row is the first
}

void RunTrace::Stage(absl::string_view stage, absl::Time start, absl::Duration length, uint64_t update) {
  if (writer_ == nullptr) return;
  writer_->Add({.process = kLearner,
                .track = "run",
                .name = std::string(stage),
                .start = start,
                .length = length,
                .details = {{"update", absl::StrCat(update)}}});
}

void RunTrace::Groups(const std::vector<Group>& groups) {
  if (writer_ == nullptr) return;
  // Evaluation groups are sampled in batches: one span for all of a batch.
  std::set<std::tuple<std::string, std::string, absl::Time>> seen;
  for (const Group& group : groups)
    for (const TraceSpan& span : SpansOf(group, absl::Now()))
      if (seen.emplace(span.process, span.track, span.start).second) writer_->Add(span);
}

void RunTrace::Mark(const std::string& what) {
  if (writer_ != nullptr) writer_->Mark(kLearner, what, absl::Now());
}

}  // namespace flowawr
