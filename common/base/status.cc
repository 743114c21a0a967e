#include "common/base/status.h"

#include "absl/strings/cord.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"

namespace flowawr {

absl::Status Annotate(const absl::Status& status, absl::string_view context) {
  if (status.ok()) return status;
  absl::Status annotated(status.code(), absl::StrCat(context, ": ", status.message()));
  // What marks an error, e.g. as one of a device, still holds.
  status.ForEachPayload(
      [&annotated](absl::string_view type, const absl::Cord& payload) { annotated.SetPayload(type, payload); });
  return annotated;
}

absl::Status AllComplaints(absl::string_view context, const std::vector<std::string>& complaints) {
  constexpr size_t kMostListed = 40;
  if (complaints.empty()) return absl::OkStatus();
  if (complaints.size() == 1) return absl::InvalidArgumentError(absl::StrCat(context, ": ", complaints[0]));
  std::string text = absl::StrCat(context, ":");
  for (size_t i = 0; i < complaints.size() && i < kMostListed; ++i)
    absl::StrAppend(&text, "\n  ", absl::StrReplaceAll(complaints[i], {{"\n", "\n  "}}));
  if (complaints.size() > kMostListed) absl::StrAppend(&text, "\n  and ", complaints.size() - kMostListed, " more");
  return absl::InvalidArgumentError(text);
}

}  // namespace flowawr
