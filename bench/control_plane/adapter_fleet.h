// A large adapter to many actors: each is an actor's own LearnerClient, PolicyFetcher, PeerServer and PeerClient, in
// this one process.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "absl/time/time.h"

namespace flowawr {

// Of one version.
struct FleetFigures {
  double seconds = 0;     // from the publication until the last actor has the adapter, checked, and has reported it
  double first_s = 0;     // until the first one has
  double from_peers = 0;  // actors that got it from another one
  int without = 0;        // that did not get it, or got other bytes
};

// `versions`, each once all actors have the one before it. `publish` returns when the learner had published, on the scale
// of MonotonicNow(). `serves_peers` false: every actor takes its copies from the learner.
std::vector<FleetFigures> RunFleet(const std::string& endpoint, int actors, bool serves_peers, int versions,
                                   const std::function<absl::Time()>& publish);

}  // namespace flowawr
