// Where the reward servers are as seen from this machine, and whether they can be reached from here.
#pragma once

#include <set>
#include <string>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "flowawr/v1/config.pb.h"
#include "flowawr/v1/reward.pb.h"

namespace flowawr {

// A reward server on loopback is on the learner's machine, whose name is the one by which `learner` (HOST:PORT) was
// found. Every other address is what it is. Pure.
std::string RewardAddressFor(const std::string& endpoint, const std::string& learner);

// Of an actor on another machine than the learner's. Not thread-safe.
class RewardReach {
 public:
  // Where names are looked up slowly a connection takes seconds; a refused one is not waited for.
  static constexpr absl::Duration kPatience = absl::Seconds(20);
  RewardReach(std::string learner, v1::NetworkConfig network, absl::Duration patience = kPatience);

  // Writes the addresses as they are from here into `spec`, and connects to those of a term that was never reached
  // before, to all of them at once, for `patience` at most; one will do. Unavailable, with what to set, when one cannot be reached: the actor must not take the lease
  // then, as its failures would use up the attempts of a group that others can make. An actor on the learner's machine
  // is always OK: a server that it cannot reach is down for everybody.
  absl::Status Resolve(v1::RewardSpec& spec);

 private:
  const std::string learner_;
  const v1::NetworkConfig network_;
  const absl::Duration patience_;
  const bool is_remote_;
  std::set<std::string> reached_;
};

}  // namespace flowawr
