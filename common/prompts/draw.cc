#include "common/prompts/draw.h"

#include <algorithm>
#include <numeric>
#include <optional>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/str_cat.h"
#include "common/base/status.h"
#include "common/diffusion/counter_rng.h"

namespace flowawr {
namespace {

// Streams of CounterRng; a task's index is added.
constexpr uint64_t kOrderInTask = 0x7072'6f6d'7074'0000;
constexpr uint64_t kOrderOfTrain = 0x7072'6f6d'7074'1000;
constexpr uint64_t kOrderOfHeldout = 0x7072'6f6d'7074'1001;

// A task's prompts in random order: a Fisher-Yates shuffle that remembers only what it has moved.
class Stream {
 public:
  Stream(const PromptTask& task, uint64_t seed, uint64_t stream) : task_(task), rng_(seed, stream) {}

  // The next prompt without a key in `taken`; none when all were seen.
  std::optional<DrawnPrompt> Next(const absl::flat_hash_set<std::string>& taken) {
    while (position_ < task_.size) {
      const uint64_t chosen = position_ + rng_.Below(task_.size - position_);
      const uint64_t index = At(chosen);
      moved_[chosen] = At(position_);
      moved_.erase(position_++);
      DrawnPrompt prompt = task_.make(index);
      const bool is_taken =
          std::any_of(prompt.keys.begin(), prompt.keys.end(), [&](const auto& key) { return taken.contains(key); });
      if (!is_taken) return prompt;
    }
    return std::nullopt;
  }

 private:
  uint64_t At(uint64_t position) const {
    const auto it = moved_.find(position);
    return it == moved_.end() ? position : it->second;
  }

  const PromptTask& task_;
  CounterRng rng_;
  uint64_t position_ = 0;
  absl::flat_hash_map<uint64_t, uint64_t> moved_;
};

struct Drawn {
  std::vector<DrawnPrompt> prompts;
  std::vector<uint64_t> counts;  // by task
};

// As many as there are, at most `count`. With `takes`, each is taken as soon as it is drawn, and of no task more than
// half: something is left to train on.
Drawn Draw(const std::vector<PromptTask>& tasks, uint64_t count, bool takes, std::vector<Stream>& streams,
           absl::flat_hash_set<std::string>& taken) {
  Drawn drawn{{}, std::vector<uint64_t>(tasks.size())};
  std::vector<uint64_t> weights;
  for (const PromptTask& task : tasks) weights.push_back(task.weight);
  const auto is_live = [](uint64_t weight) { return weight > 0; };
  while (drawn.prompts.size() < count && std::any_of(weights.begin(), weights.end(), is_live)) {
    const std::vector<uint64_t> shares = Apportion(count - drawn.prompts.size(), weights);
    for (size_t i = 0; i < tasks.size(); ++i) {
      for (uint64_t n = 0; n < shares[i]; ++n) {
        std::optional<DrawnPrompt> prompt;
        if (!takes || drawn.counts[i] < (tasks[i].size + 1) / 2) prompt = streams[i].Next(taken);
        if (!prompt.has_value()) {
          weights[i] = 0;
          break;
        }
        if (takes) taken.insert(prompt->keys.begin(), prompt->keys.end());
        drawn.prompts.push_back(*std::move(prompt));
        ++drawn.counts[i];
      }
    }
  }
  return drawn;
}

std::vector<DrawnPrompt> Shuffled(std::vector<DrawnPrompt> prompts, uint64_t seed, uint64_t stream) {
  CounterRng rng(seed, stream);
  for (uint64_t i = prompts.size(); i > 1; --i) std::swap(prompts[i - 1], prompts[rng.Below(i)]);
  return prompts;
}

std::vector<std::pair<std::string, uint64_t>> ByName(const std::vector<PromptTask>& tasks,
                                                     const std::vector<uint64_t>& counts) {
  std::vector<std::pair<std::string, uint64_t>> named;
  for (size_t i = 0; i < tasks.size(); ++i) named.emplace_back(tasks[i].name, counts[i]);
  return named;
}

}  // namespace

std::vector<uint64_t> Apportion(uint64_t count, const std::vector<uint64_t>& weights) {
  const uint64_t total = std::accumulate(weights.begin(), weights.end(), uint64_t{0});
  std::vector<uint64_t> shares, by_remainder(weights.size());
  for (const uint64_t weight : weights) shares.push_back(count * weight / total);
  std::iota(by_remainder.begin(), by_remainder.end(), 0);
  std::stable_sort(by_remainder.begin(), by_remainder.end(),
                   [&](uint64_t a, uint64_t b) { return count * weights[a] % total > count * weights[b] % total; });
  uint64_t left = count - std::accumulate(shares.begin(), shares.end(), uint64_t{0});
  for (size_t i = 0; left > 0; ++i, --left) ++shares[by_remainder[i]];
  return shares;
}

absl::StatusOr<DrawnSets> DrawPrompts(const std::vector<PromptTask>& tasks, DrawRequest request) {
  std::vector<Stream> streams;
  streams.reserve(tasks.size());
  for (size_t i = 0; i < tasks.size(); ++i) streams.emplace_back(tasks[i], request.seed, kOrderInTask + i);
  Drawn heldout = Draw(tasks, request.heldout, /*takes=*/true, streams, request.taken);
  if (heldout.prompts.size() < request.heldout)
    return absl::InvalidArgumentError(absl::StrCat("there are only ", heldout.prompts.size(), " prompts, and ",
                                                   request.heldout, " are to be held out"));
  Drawn train = Draw(tasks, request.count, /*takes=*/false, streams, request.taken);
  if (train.prompts.size() < request.count)
    return absl::InvalidArgumentError(
        absl::StrCat("there are only ", train.prompts.size(), " such prompts",
                     heldout.prompts.empty() ? "" : absl::StrCat(" beside ", heldout.prompts.size(), " held-out ones"),
                     ", not ", request.count));
  return DrawnSets{.train = Shuffled(std::move(train.prompts), request.seed, kOrderOfTrain),
                   .heldout = Shuffled(std::move(heldout.prompts), request.seed, kOrderOfHeldout),
                   .train_counts = ByName(tasks, train.counts),
                   .heldout_counts = ByName(tasks, heldout.counts)};
}

}  // namespace flowawr
