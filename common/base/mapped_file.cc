#include "common/base/mapped_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <climits>
#include <csignal>
#include <cstdint>
#include <cstring>
#include <mutex>
#include <system_error>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/str_cat.h"

namespace flowawr {

// One mapping, or room for one. Records are never freed, as the handler may be looking at them; they are used again.
struct Record {
  std::atomic<uintptr_t> begin = 0;  // 0: free; written last when a mapping comes, and first when it goes
  std::atomic<uintptr_t> end = 0;
  char path[PATH_MAX] = {};
  Record* next = nullptr;  // never changes once the record is in the list
};

namespace {

constexpr int kFileIsDamaged = 65;  // as common/process/exit_code.h has it

std::mutex g_mutex;  // of those who add and remove records; the handler takes no lock
std::atomic<Record*> g_records = nullptr;
struct sigaction g_previous;

void Say(const char* text) {
  for (size_t left = std::strlen(text); left > 0;) {
    const ssize_t written = write(STDERR_FILENO, text, left);
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) return;
    text += written;
    left -= static_cast<size_t>(written);
  }
}

// Async-signal-safe. The mapping that was touched is alive, so its record does not change meanwhile.
void OnBusError(int signal, siginfo_t* info, void* context) {
  const auto address = reinterpret_cast<uintptr_t>(info->si_addr);
  for (const Record* record = g_records.load(std::memory_order_acquire); record != nullptr; record = record->next) {
    const uintptr_t begin = record->begin.load(std::memory_order_acquire);
    if (begin == 0 || address < begin || address >= record->end.load(std::memory_order_relaxed)) continue;
    Say(program_invocation_short_name);
    Say(": ");
    Say(record->path);
    Say(": can no longer be read: it was cut short or written over while it was in use, or its disk fails. Fetch it "
        "again, then start again; to change a file that is in use, write another and rename it\n");
    _exit(kFileIsDamaged);
  }
  if ((g_previous.sa_flags & SA_SIGINFO) != 0) return g_previous.sa_sigaction(signal, info, context);
  if (g_previous.sa_handler != SIG_DFL && g_previous.sa_handler != SIG_IGN) return g_previous.sa_handler(signal);
  sigaction(signal, &g_previous, nullptr);  // the access is made again, and ends as it did before there was a handler
  if (info->si_code <= 0) raise(signal);    // or it was no access, but somebody's kill()
}

void InstallHandler() {
  struct sigaction action = {};
  action.sa_sigaction = &OnBusError;
  action.sa_flags = SA_SIGINFO | SA_ONSTACK;
  sigemptyset(&action.sa_mask);
  sigaction(SIGBUS, &action, &g_previous);
}

Record* Remember(const char* data, size_t size, const std::string& path) {
  static std::once_flag installed;
  std::call_once(installed, &InstallHandler);
  const std::lock_guard lock(g_mutex);
  Record* record = g_records.load();
  while (record != nullptr && record->begin.load() != 0) record = record->next;
  const bool is_new = record == nullptr;
  if (is_new) record = new Record;
  record->path[path.copy(record->path, sizeof record->path - 1)] = '\0';
  record->end.store(reinterpret_cast<uintptr_t>(data) + size);
  record->begin.store(reinterpret_cast<uintptr_t>(data), std::memory_order_release);
  if (is_new) {
    record->next = g_records.load();
    g_records.store(record, std::memory_order_release);
  }
  return record;
}

}  // namespace

MappedFile::MappedFile(char* data, size_t size, const std::string& path)
    : data_(data), size_(size), record_(data == nullptr ? nullptr : Remember(data, size, path)) {}

MappedFile::~MappedFile() {
  if (data_ == nullptr) return;
  const std::lock_guard lock(g_mutex);
  record_->begin.store(0);
  munmap(data_, size_);
}

absl::StatusOr<std::unique_ptr<const MappedFile>> MappedFile::Open(const std::string& path) {
  const auto error = [&path](absl::string_view action) {
    const std::string message = absl::StrCat(action, " ", path, ": ", std::generic_category().message(errno));
    return errno == ENOENT ? absl::NotFoundError(message) : absl::FailedPreconditionError(message);
  };
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);  // a FIFO would wait for its writer
  if (fd < 0) return error("opening");
  const absl::Cleanup close_fd = [fd] { close(fd); };
  struct stat info;
  if (fstat(fd, &info) != 0) return error("reading");
  if (!S_ISREG(info.st_mode)) return absl::InvalidArgumentError(absl::StrCat(path, " is not a regular file"));
  const auto size = static_cast<size_t>(info.st_size);
  if (size == 0) return std::unique_ptr<const MappedFile>(new MappedFile(nullptr, 0, path));
  // Private and writable: an in-place operation on a tensor copies the page instead of ending in SIGSEGV. No memory is
  // set aside for such copies, or a file larger than the machine's memory could not be mapped.
  void* mapping = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_NORESERVE, fd, 0);
  if (mapping == MAP_FAILED) return error("mapping");
  return std::unique_ptr<const MappedFile>(new MappedFile(static_cast<char*>(mapping), size, path));
}

}  // namespace flowawr
