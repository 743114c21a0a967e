// Prompt sets drawn at random from all the prompts that some tasks have, none of them twice.
//
// The same seed gives the same sets on every platform: all arithmetic is of whole numbers. Pure; thread-safe.
#pragma once

#include <cstdint>
#include <functional>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_set.h"
#include "absl/status/statusor.h"

namespace flowawr {

struct DrawnPrompt {
  std::string text;
  // A line of a *.jsonl file: "prompt", and what its rewards need beside it. Empty where the text says all.
  nlohmann::ordered_json record;
  // What the prompt says. Prompts that say the same, as "A left of B" and "B right of A" do, share a key.
  std::vector<std::string> keys;
};

// Prompts of one kind, numbered from 0.
struct PromptTask {
  std::string name;
  uint64_t weight = 1;  // its share among the tasks
  uint64_t size = 0;    // how many there are; no two of them have one text
  std::function<DrawnPrompt(uint64_t index)> make;
};

struct DrawRequest {
  uint64_t count = 0;    // of training prompts
  uint64_t heldout = 0;  // of held-out ones
  uint64_t seed = 1;
  absl::flat_hash_set<std::string> taken;  // keys; what has one of them is not drawn
};

struct DrawnSets {
  std::vector<DrawnPrompt> train, heldout;  // each in random order
  std::vector<std::pair<std::string, uint64_t>> train_counts, heldout_counts;  // by task
};

// Shares of `count` by `weights`, as whole numbers that add up to it: the largest remainders are rounded up, of equal
// ones the first. Some weight must be positive.
std::vector<uint64_t> Apportion(uint64_t count, const std::vector<uint64_t>& weights);

// Held-out prompts are drawn first; no two of them share a key, and no training prompt has a key of theirs. A task that
// has fewer prompts than its share gives all it has (of held-out ones half), and the others share what is missing.
//
// InvalidArgument, with how many there are, when the tasks together have too few.
absl::StatusOr<DrawnSets> DrawPrompts(const std::vector<PromptTask>& tasks, DrawRequest request);

}  // namespace flowawr
