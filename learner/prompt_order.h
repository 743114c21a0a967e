// Which prompt a training group is about: a pure function of run seed and group id, so nothing of it has to be saved.
#pragma once

#include <cstdint>
#include <vector>

namespace flowawr {

// Every epoch visits every prompt once, in an order of its own. Keeps the permutation of the last epoch asked for.
// Not thread-safe.
class PromptOrder {
 public:
  PromptOrder(uint64_t run_seed, uint64_t prompts) : run_seed_(run_seed), order_(prompts) {}

  // Index into the prompt set for `group_id`.
  uint64_t At(uint64_t group_id);

 private:
  const uint64_t run_seed_;
  uint64_t epoch_ = UINT64_MAX;
  std::vector<uint64_t> order_;
};

}  // namespace flowawr
