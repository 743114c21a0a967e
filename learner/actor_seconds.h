// Where the actors' time went between two updates, all actors added up.
//
// Actors report totals since they started. Pure; not thread-safe.
#pragma once

#include <map>
#include <string>

namespace flowawr {

class ActorSeconds {
 public:
  // Of a resumed run, an actor may have outlived the last learner: what it did before it is first seen does not count.
  explicit ActorSeconds(bool is_resumed) : is_resumed_(is_resumed) {}

  // By stage, since the last call. `totals` are by actor and stage. A total that fell is that of an actor that started
  // again.
  std::map<std::string, double> Take(const std::map<std::string, std::map<std::string, double>>& totals);

 private:
  const bool is_resumed_;
  std::map<std::string, std::map<std::string, double>> taken_;  // totals by actor and stage
};

}  // namespace flowawr
