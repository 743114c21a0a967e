// The kinds of scorers that this server can load.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "reward_server/scorer.h"
#include "reward_server/scorer_options.h"

namespace flowawr {

// Loads a scorer. Must end with options.Finish().
using ScorerFactory =
    std::function<absl::StatusOr<std::shared_ptr<Scorer>>(ScorerOptions& options, const ScorerContext& context)>;

// Immutable once filled; then thread-safe.
class ScorerRegistry {
 public:
  // With every kind that the project ships.
  static const ScorerRegistry& Default();

  void Register(const std::string& kind, ScorerFactory factory) { factories_[kind] = std::move(factory); }

  // NotFound for an unknown kind, naming those there are; else what the factory says, exceptions included.
  absl::StatusOr<std::shared_ptr<Scorer>> Make(const std::string& kind, std::map<std::string, std::string> options,
                                               const ScorerContext& context) const;
  std::vector<std::string> kinds() const;

 private:
  std::map<std::string, ScorerFactory> factories_;
};

}  // namespace flowawr
