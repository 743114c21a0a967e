// Both ends of a link, in one process.
#pragma once

#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/time/time.h"
#include "learner/ranks/meeting_point.h"

namespace flowawr {

struct LinkedPair {
  LinkedPair() {
    const RankTokens none = [] { return std::vector<std::string>{""}; };
    auto meeting_point = MeetingPoint::Serve({"127.0.0.1", 0}, none).value();
    std::thread other([this, none, at = meeting_point->address()] {
      auto reached = MeetingPoint::Reach(at, none, absl::Minutes(1)).value();
      rank = reached->Link("session", /*is_rank0=*/false, "127.0.0.1", absl::Minutes(1)).value();
    });
    rank0 = meeting_point->Link("session", /*is_rank0=*/true, "127.0.0.1", absl::Minutes(1)).value();
    other.join();
  }

  std::unique_ptr<RankLink> rank0, rank;
};

}  // namespace flowawr
