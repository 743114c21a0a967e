#include "learner/checkpoint_copies.h"

#include <fcntl.h>
#include <pthread.h>
#include <spdlog/spdlog.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <system_error>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/cleanup/cleanup.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/numbers.h"
#include "absl/strings/strip.h"
#include "absl/synchronization/mutex.h"
#include "common/base/checkpoint_names.h"
#include "common/base/clock.h"
#include "common/base/file.h"
#include "common/base/sha256_sums.h"
#include "common/base/status.h"
#include "common/base/steady_cond_var.h"
#include "common/base/utf8.h"
#include "common/config/copy_place.h"
#include "learner/checkpoint.h"

namespace flowawr {
namespace {

namespace fs = std::filesystem;
using Wanted = const std::function<bool()>&;

constexpr char kTemporary[] = ".tmp";
constexpr char kOld[] = ".old";
constexpr size_t kChunk = size_t{1} << 20;
constexpr size_t kMostBytes = size_t{64} << 20;
constexpr const char* kBeside[] = {"config.yaml", "known_scorers.jsonl", "scorers.jsonl"};
constexpr char kHistory[] = "metrics.jsonl";

// From the byte `begin` on, where `to` is as long.
absl::Status CopyFile(const std::string& from, const std::string& to, Wanted is_wanted, off_t begin = 0) {
  const int in = open(from.c_str(), O_RDONLY | O_CLOEXEC);
  if (in < 0) return ErrnoStatus(errno, "opening", from);
  const absl::Cleanup close_in = [in] { close(in); };
  const int out = open(to.c_str(), O_WRONLY | O_CREAT | (begin > 0 ? O_APPEND : O_TRUNC) | O_CLOEXEC, 0644);
  if (out < 0) return ErrnoStatus(errno, "opening", to);
  const absl::Cleanup close_out = [out] { close(out); };
  if (begin > 0 && lseek(in, begin, SEEK_SET) != begin) return ErrnoStatus(errno, "reading", from);
  std::vector<char> chunk(kChunk);
  while (true) {
    if (!is_wanted()) return absl::CancelledError("stopped");
    const ssize_t size = read(in, chunk.data(), chunk.size());
    if (size < 0 && errno == EINTR) continue;
    if (size < 0) return ErrnoStatus(errno, "reading", from);
    if (size == 0) break;
    for (ssize_t done = 0; done < size;) {
      const ssize_t written = write(out, chunk.data() + done, size - done);
      if (written < 0 && errno == EINTR) continue;
      if (written < 0) return ErrnoStatus(errno, "writing", to);
      done += written;
    }
  }
  if (fsync(out) != 0 && errno != EINVAL && errno != ENOTSUP) return ErrnoStatus(errno, "syncing", to);
  return absl::OkStatus();
}

// One checkpoint: beside, checked, renamed.
absl::Status CopyFolder(const std::string& from, const std::string& to, Wanted is_wanted) {
  const std::string temporary = to + kTemporary;
  std::error_code error;
  fs::remove_all(temporary, error);
  FLOWAWR_RETURN_IF_ERROR(MakeDirectories(temporary));
  const absl::Cleanup remove_temporary = [&] {
    std::error_code ignored;
    fs::remove_all(temporary, ignored);
  };
  std::vector<std::string> names;
  for (fs::directory_iterator entry(from, error), end; !error && entry != end; entry.increment(error))
    names.push_back(entry->path().filename().string());
  if (error) return absl::NotFoundError(absl::StrCat(from, ": ", error.message()));
  for (const std::string& name : names)
    FLOWAWR_RETURN_IF_ERROR(CopyFile(absl::StrCat(from, "/", name), absl::StrCat(temporary, "/", name), is_wanted));
  FLOWAWR_RETURN_IF_ERROR(CheckSha256Sums(temporary, {}));
  FLOWAWR_RETURN_IF_ERROR(FsyncDirectory(temporary));
  const std::string old = to + kOld;
  if (fs::exists(to, error)) {  // of the same update, e.g. with other rewards by now
    fs::remove_all(old, error);
    fs::rename(to, old, error);  // after a kill right here TidyCheckpoints() puts it back
  }
  if (!error) fs::rename(temporary, to, error);
  if (error) return absl::InternalError(absl::StrCat("renaming ", temporary, ": ", error.message()));
  fs::remove_all(old, error);
  return FsyncDirectory(fs::path(to).parent_path().string());
}

// Whether what lies there is this checkpoint, by its list of digests.
bool IsCopied(const std::string& from, const std::string& to) {
  const auto wanted = ReadFile(absl::StrCat(from, "/", kSha256SumsFile)), there = ReadFile(absl::StrCat(to, "/", kSha256SumsFile));
  return wanted.ok() && there.ok() && *wanted == *there;
}

// Only when it differs: a store may keep every version of what is written.
absl::Status CopyBeside(const std::string& run_dir, const std::string& copy_to, const std::string& name) {
  const absl::StatusOr<std::string> bytes = ReadFile(absl::StrCat(run_dir, "/", name), kMostBytes);
  if (absl::IsNotFound(bytes.status())) return absl::OkStatus();
  FLOWAWR_RETURN_IF_ERROR(bytes.status());
  const std::string target = absl::StrCat(copy_to, "/", name);
  if (const auto there = ReadFile(target, kMostBytes); there.ok() && *there == *bytes) return absl::OkStatus();
  return WriteFileAtomically(target, *bytes);
}

// What `file` holds in `size` bytes from `begin` on; empty: it cannot be read.
std::string Piece(const std::string& file, uint64_t begin, size_t size) {
  const int in = open(file.c_str(), O_RDONLY | O_CLOEXEC);
  if (in < 0) return "";
  const absl::Cleanup close_in = [in] { close(in); };
  std::string piece(size, '\0');
  const ssize_t read = pread(in, piece.data(), size, static_cast<off_t>(begin));
  piece.resize(std::max<ssize_t>(read, 0));
  return piece;
}

// A history only grows, unless a run went back: its new lines alone are sent.
absl::Status CopyHistory(const std::string& from, const std::string& to, Wanted is_wanted) {
  std::error_code error;
  const uintmax_t size = fs::file_size(from, error);
  if (error) return absl::OkStatus();  // there is none yet
  const uintmax_t there = fs::file_size(to, error);
  if (!error && there > 0 && there <= size) {
    const size_t end = static_cast<size_t>(std::min<uintmax_t>(there, kChunk));
    const bool goes_on = Piece(from, there - end, end) == Piece(to, there - end, end);
    if (goes_on && there == size) return absl::OkStatus();
    if (goes_on) return CopyFile(from, to, is_wanted, static_cast<off_t>(there));
  }
  const std::string temporary = to + kTemporary;
  FLOWAWR_RETURN_IF_ERROR(CopyFile(from, temporary, is_wanted));
  fs::rename(temporary, to, error);
  if (error) return absl::InternalError(absl::StrCat("renaming ", temporary, ": ", error.message()));
  return absl::OkStatus();
}

uint64_t UpdateOf(absl::string_view name) {
  uint64_t update = 0;
  return absl::SimpleAtoi(absl::StripPrefix(name, kCheckpointPrefix), &update) ? update : 0;
}

// Copies that the run has no checkpoint for any more go. `names` are the run's, the newest first. What is newer than all of
// them stays, and so does the newest copy while none of the run's is there: it may be the last whole one.
absl::Status RemoveWhatTheRunRemoved(const std::vector<std::string>& names, const std::string& source,
                                     const std::string& target) {
  if (names.empty()) return absl::OkStatus();
  FLOWAWR_ASSIGN_OR_RETURN(const std::vector<std::string> there, CheckpointNames(target));
  bool has_whole = std::any_of(names.begin(), names.end(), [&](const std::string& name) {
    return IsCopied(absl::StrCat(source, "/", name), absl::StrCat(target, "/", name));
  });
  for (const std::string& name : there) {  // the newest first
    const bool is_gone = std::find(names.begin(), names.end(), name) == names.end();
    if (!is_gone || UpdateOf(name) >= UpdateOf(names.front())) continue;
    std::error_code ignored;
    if (std::exchange(has_whole, true)) fs::remove_all(absl::StrCat(target, "/", name), ignored);
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status CopyCheckpoints(const std::string& run_dir, const std::string& copy_to, Wanted is_wanted) {
  FLOWAWR_RETURN_IF_ERROR(CheckCopyPlace(run_dir, copy_to));
  const std::string source = run_dir + "/checkpoints", target = copy_to + "/checkpoints";
  FLOWAWR_RETURN_IF_ERROR(MakeDirectories(target));
  FLOWAWR_RETURN_IF_ERROR(CopyBeside(run_dir, copy_to, "run_id"));
  (void)TidyCheckpoints(copy_to);  // what cannot be tidied now can be at the next checkpoint
  FLOWAWR_ASSIGN_OR_RETURN(const std::vector<std::string> names, CheckpointNames(source));
  // Before, so that a full disk gets room for what is new; and after, once that is there.
  FLOWAWR_RETURN_IF_ERROR(RemoveWhatTheRunRemoved(names, source, target));
  for (const std::string& name : names) {  // the newest first
    const std::string from = absl::StrCat(source, "/", name), to = absl::StrCat(target, "/", name);
    if (IsCopied(from, to)) continue;
    const absl::Status copied = CopyFolder(from, to, is_wanted);
    std::error_code ignored;
    if (!copied.ok() && fs::exists(from, ignored)) return copied;  // else the run has removed it meanwhile
  }
  for (const char* name : kBeside) FLOWAWR_RETURN_IF_ERROR(CopyBeside(run_dir, copy_to, name));
  FLOWAWR_RETURN_IF_ERROR(CopyHistory(absl::StrCat(run_dir, "/", kHistory), absl::StrCat(copy_to, "/", kHistory), is_wanted));
  return RemoveWhatTheRunRemoved(names, source, target);
}

struct CheckpointCopies::State {
  std::string run_dir, copy_to;
  std::function<void(const std::string&)> warn;
  std::atomic<bool> is_given_up = false;
  absl::Mutex mutex;
  SteadyCondVar changed;
  bool is_wanted ABSL_GUARDED_BY(mutex) = false;    // something is to be copied
  bool is_stopping ABSL_GUARDED_BY(mutex) = false;  // once that is done
  bool has_ended ABSL_GUARDED_BY(mutex) = false;
};

CheckpointCopies::CheckpointCopies(std::string run_dir, std::string copy_to,
                                   std::function<void(const std::string&)> warn)
    : state_(std::make_shared<State>()) {
  state_->run_dir = std::move(run_dir);
  state_->copy_to = std::move(copy_to);
  state_->warn = std::move(warn);
  thread_ = std::thread([state = state_] { Run(state); });
}

CheckpointCopies::~CheckpointCopies() {
  bool has_ended = false;
  {
    absl::MutexLock lock(&state_->mutex);
    state_->is_stopping = true;
    state_->changed.SignalAll();
    const absl::Time until = MonotonicNow() + kPatience;
    while (!state_->has_ended && MonotonicNow() < until)
      state_->changed.WaitWithTimeout(&state_->mutex, until - MonotonicNow());
    has_ended = state_->has_ended;
    if (!has_ended) state_->warn = [](const std::string&) {};  // whom it tells is about to go
  }
  if (has_ended) {
    thread_.join();
    return;
  }
  state_->is_given_up = true;
  spdlog::warn("{} does not take the last checkpoint in {}: the run ends without that copy", state_->copy_to,
               absl::FormatDuration(kPatience));
  thread_.detach();
}

void CheckpointCopies::Copy() {
  absl::MutexLock lock(&state_->mutex);
  state_->is_wanted = true;
  state_->changed.SignalAll();
}

void CheckpointCopies::Run(const std::shared_ptr<State>& state) {
  pthread_setname_np(pthread_self(), "copies");
  std::string warned;
  bool has_failed = false;
  while (true) {
    {
      absl::MutexLock lock(&state->mutex);
      const absl::Time again = has_failed ? MonotonicNow() + kPause : absl::InfiniteFuture();
      while (!state->is_wanted && !state->is_stopping && MonotonicNow() < again)
        state->changed.WaitWithTimeout(&state->mutex, again - MonotonicNow());
      if (!state->is_wanted && state->is_stopping) {
        state->has_ended = true;
        state->changed.SignalAll();
        return;
      }
      state->is_wanted = false;
    }
    const absl::Status copied =
        CopyCheckpoints(state->run_dir, state->copy_to, [&state] { return !state->is_given_up; });
    const bool had_failed = std::exchange(has_failed, !copied.ok());
    const std::string warning =
        copied.ok() ? "" : absl::StrCat("the checkpoints are not copied to ", state->copy_to, ": ",
                                        SanitizeUtf8(std::string(copied.message())), "; the run goes on");
    absl::MutexLock lock(&state->mutex);
    if (warning == std::exchange(warned, warning)) continue;
    if (warning.empty())
      spdlog::info("the checkpoints are copied to {} again", state->copy_to);
    else if (!had_failed)  // the status says how it is; once in the log is enough, whichever file fails next
      spdlog::warn("{}", warning);
    state->warn(warning);
  }
}

}  // namespace flowawr
