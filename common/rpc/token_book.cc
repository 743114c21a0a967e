#include "common/rpc/token_book.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/sha256.h"
#include "common/base/status.h"
#include "common/rpc/token.h"
#include "spdlog/spdlog.h"

namespace flowawr {
namespace {

constexpr absl::Duration kLookEvery = absl::Seconds(1);

std::string PathOf(Role role, const v1::NetworkConfig& network) {
  switch (role) {
    case Role::kAll:
      return network.token_file();
    case Role::kActor:
      return network.actor_token_file();
    case Role::kReward:
      return network.reward_token_file();
    case Role::kOperator:
      return network.operator_token_file();
    case Role::kReadOnly:
      return network.read_only_token_file();
  }
  return "";
}

}  // namespace

TokenBook::TokenBook(std::vector<File> files, const Clock& clock)
    : files_(std::move(files)), clock_(clock), stamps_([this] {
        std::vector<std::string> paths;
        for (const File& file : files_) paths.push_back(file.path);
        return paths;
      }()) {}

absl::StatusOr<std::shared_ptr<TokenBook>> TokenBook::Open(const v1::NetworkConfig& network, const Clock& clock) {
  std::vector<File> files;
  for (const Role role : kRoles)
    if (std::string path = PathOf(role, network); !path.empty()) files.push_back({role, std::move(path)});
  std::shared_ptr<TokenBook> book(new TokenBook(std::move(files), clock));
  absl::MutexLock lock(&book->mutex_);
  book->stamps_.Look();
  book->looked_ = clock.Now();
  FLOWAWR_ASSIGN_OR_RETURN(book->entries_, book->ReadAll());
  return book;
}

absl::StatusOr<std::vector<TokenBook::Entry>> TokenBook::ReadAll() const {
  std::vector<Entry> entries;
  for (const File& file : files_) {
    FLOWAWR_ASSIGN_OR_RETURN(const std::vector<std::string> tokens, ReadTokens(file.path, FieldOf(file.role)));
    for (const std::string& token : tokens) {
      Entry entry{file.role, Sha256(token), absl::InfiniteFuture()};
      for (const Entry& other : entries)
        if (other.digest == entry.digest && other.role != entry.role)
          return absl::InvalidArgumentError(absl::StrCat(FieldOf(other.role), " and ", FieldOf(file.role),
                                                         " hold the same token; every role needs its own"));
      entries.push_back(std::move(entry));
    }
  }
  return entries;
}

void TokenBook::Refresh() {
  looked_ = clock_.Now();
  entries_.erase(std::remove_if(entries_.begin(), entries_.end(),
                                [this](const Entry& entry) { return entry.until <= looked_; }),
                 entries_.end());
  if (!stamps_.Look()) return;
  absl::StatusOr<std::vector<Entry>> read = ReadAll();
  if (!read.ok()) {
    if (last_problem_ != read.status().message())
      spdlog::warn("tokens stay as they were: {}", std::string(read.status().message()));
    last_problem_ = std::string(read.status().message());
    return;
  }
  last_problem_.clear();
  for (const Entry& old : entries_) {
    const bool is_there =
        std::any_of(read->begin(), read->end(), [&old](const Entry& entry) { return entry.digest == old.digest; });
    if (!is_there) read->push_back({old.role, old.digest, std::min(old.until, looked_ + kGrace)});
  }
  entries_ = *std::move(read);
}

std::optional<Role> TokenBook::Find(absl::string_view digest) const {
  std::optional<Role> found;
  for (const Entry& entry : entries_)  // all of them, whichever it is
    if (EqualInConstantTime(entry.digest, digest)) found = entry.role;
  return found;
}

std::optional<Role> TokenBook::RoleOf(absl::string_view token) {
  const std::string digest = Sha256(token);  // of one length, so that the comparison tells nothing of the token's
  absl::MutexLock lock(&mutex_);
  if (clock_.Now() - looked_ >= kLookEvery) Refresh();
  std::optional<Role> found = Find(digest);
  if (found) return found;
  Refresh();
  return Find(digest);
}

}  // namespace flowawr
