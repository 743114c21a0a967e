#include "common/scoring/expected_spec.h"

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"

namespace flowawr {
namespace {

constexpr char kHeader[] = "flowawr-reward-spec";

}  // namespace

void ExpectRewardSpec(uint64_t version, grpc::ClientContext* context) {
  context->AddMetadata(kHeader, absl::StrCat(version));
}

std::optional<uint64_t> ExpectedRewardSpec(const grpc::ServerContextBase& context) {
  const auto said = context.client_metadata().find(kHeader);
  if (said == context.client_metadata().end()) return std::nullopt;
  uint64_t version = 0;
  // What is no version is that of no spec: nothing is replaced by mistake.
  if (!absl::SimpleAtoi(absl::string_view(said->second.data(), said->second.size()), &version)) return 0;
  return version;
}

}  // namespace flowawr
