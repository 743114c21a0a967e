#include "reward_server/scorer_memory.h"

#include <google/protobuf/util/json_util.h>

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "common/base/file.h"
#include "common/base/status.h"

namespace flowawr {
namespace {

constexpr size_t kMaxBytes = 16 << 20;  // more than all scorers that a server loads can fill

const std::string& NameOf(const v1::LoadScorerRequest& scorer) {
  return scorer.name().empty() ? scorer.kind() : scorer.name();
}

}  // namespace

absl::StatusOr<std::unique_ptr<ScorerMemory>> ScorerMemory::Open(const std::string& file) {
  std::unique_ptr<ScorerMemory> memory(new ScorerMemory(file));
  const absl::StatusOr<std::string> text = ReadFile(file, kMaxBytes);
  if (absl::IsNotFound(text.status())) return memory;
  FLOWAWR_RETURN_IF_ERROR(text.status());
  int number = 0;
  absl::MutexLock lock(&memory->mutex_);
  for (const absl::string_view line : absl::StrSplit(*text, '\n')) {
    ++number;
    if (line.empty()) continue;
    v1::LoadScorerRequest scorer;
    if (google::protobuf::util::JsonStringToMessage(std::string(line), &scorer).ok()) {
      memory->scorers_.push_back(std::move(scorer));
    } else {
      memory->unreadable_.emplace_back(line);
      memory->complaints_.push_back(absl::StrCat(file, ":", number, ": not a scorer as JSON; remove the line"));
    }
  }
  return memory;
}

std::vector<v1::LoadScorerRequest> ScorerMemory::scorers() const {
  absl::MutexLock lock(&mutex_);
  return scorers_;
}

void ScorerMemory::Forget(const std::string& name) {
  scorers_.erase(std::remove_if(scorers_.begin(), scorers_.end(),
                                [&name](const v1::LoadScorerRequest& scorer) { return NameOf(scorer) == name; }),
                 scorers_.end());
}

absl::Status ScorerMemory::Add(const v1::LoadScorerRequest& scorer) {
  absl::MutexLock lock(&mutex_);
  Forget(NameOf(scorer));
  scorers_.push_back(scorer);
  return Write();
}

absl::Status ScorerMemory::Remove(const std::string& name) {
  absl::MutexLock lock(&mutex_);
  Forget(name);
  return Write();
}

absl::Status ScorerMemory::Write() const {
  std::string text;
  for (const v1::LoadScorerRequest& scorer : scorers_) {
    std::string line;
    if (!google::protobuf::util::MessageToJsonString(scorer, &line).ok())
      return absl::InternalError(absl::StrCat("the scorer ", NameOf(scorer), " cannot be written as JSON"));
    absl::StrAppend(&text, line, "\n");
  }
  for (const std::string& line : unreadable_) absl::StrAppend(&text, line, "\n");
  return WriteFileAtomically(file_, text);
}

}  // namespace flowawr
