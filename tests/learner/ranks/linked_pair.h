// Both ends of a link, in one process.
#pragma once

#include <memory>
#include <thread>

#include "absl/time/time.h"
#include "learner/ranks/meeting_point.h"

namespace flowawr {

struct LinkedPair {
  LinkedPair() {
    auto meeting_point = MeetingPoint::Serve({"127.0.0.1", 0}).value();
    std::thread other([this, at = meeting_point->address()] {
      auto reached = MeetingPoint::Reach(at, absl::Minutes(1)).value();
      rank = reached->Link("session", /*is_rank0=*/false, "127.0.0.1", absl::Minutes(1)).value();
    });
    rank0 = meeting_point->Link("session", /*is_rank0=*/true, "127.0.0.1", absl::Minutes(1)).value();
    other.join();
  }

  std::unique_ptr<RankLink> rank0, rank;
};

}  // namespace flowawr
