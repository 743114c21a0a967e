#include "common/rpc/rejects.h"

#include <atomic>

namespace flowawr {
namespace {

std::atomic<uint64_t>& CountOf(Reject reason) {
  static std::array<std::atomic<uint64_t>, kRejects.size()> counts{};
  return counts[static_cast<size_t>(reason)];
}

}  // namespace

const char* NameOf(Reject reason) {
  switch (reason) {
    case Reject::kNoToken:
      return "no_token";
    case Reject::kUnknownToken:
      return "unknown_token";
    case Reject::kRole:
      return "role";
    case Reject::kAnotherPeer:
      return "another_peer";
  }
  return "";
}

void CountReject(Reject reason) { CountOf(reason).fetch_add(1, std::memory_order_relaxed); }

uint64_t RejectsOf(Reject reason) { return CountOf(reason).load(std::memory_order_relaxed); }

}  // namespace flowawr
