#include "learner/group.h"

#include "absl/strings/str_cat.h"
#include "common/base/utf8.h"

namespace flowawr {
namespace {

constexpr size_t kMostPromptBytes = 200;

}  // namespace

std::string NameOf(const v1::Lease& lease) {
  const uint64_t id = lease.group_id();
  return absl::StrCat(IsEvaluationGroup(id) ? "held-out group " : "group ", id & ~kEvaluationGroupBit, " (prompt \"",
                      TruncateUtf8(lease.prompt().text(), kMostPromptBytes), "\")");
}

}  // namespace flowawr
