#include "actor/prompt_encoder.h"

#include "common/base/status.h"

namespace flowawr {

absl::StatusOr<PromptEmbeds> PromptEncoder::Get(const std::string& prompt) {
  if (const auto found = by_prompt_.find(prompt); found != by_prompt_.end()) {
    entries_.splice(entries_.begin(), entries_, found->second);
    return entries_.front().second;
  }
  FLOWAWR_ASSIGN_OR_RETURN(PromptEmbeds embeds, encode_(prompt));
  entries_.emplace_front(prompt, embeds);
  by_prompt_[prompt] = entries_.begin();
  if (entries_.size() > capacity_) {
    by_prompt_.erase(entries_.back().first);
    entries_.pop_back();
  }
  return embeds;
}

}  // namespace flowawr
