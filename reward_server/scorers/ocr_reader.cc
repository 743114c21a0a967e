#include "reward_server/scorers/ocr_reader.h"

#include <signal.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <system_error>
#include <utility>
#include <vector>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "common/base/clock.h"
#include "common/base/status.h"
#include "common/base/utf8.h"

namespace flowawr {
namespace {

constexpr absl::Duration kMaxStart = absl::Minutes(1);

std::string ReaderPath() {
  if (const char* path = std::getenv("FLOWAWR_OCR_READER"); path != nullptr) return path;
  std::error_code error;
  return (std::filesystem::read_symlink("/proc/self/exe", error).parent_path() / "flowawr-ocr-reader").string();
}

// Tesseract's OpenMP threads only fight with the other readers. libgomp reads the limit while it is loaded.
std::vector<std::string> Environment() {
  std::vector<std::string> variables = {"OMP_THREAD_LIMIT=1"};
  for (char** variable = environ; *variable != nullptr; ++variable)
    if (!absl::StartsWith(*variable, "OMP_THREAD_LIMIT=")) variables.emplace_back(*variable);
  return variables;
}

// Starts `path` with `socket` as its standard input, in a process group of its own (Ctrl-C at a terminal must not end
// what the server is answering) and with no signal blocked.
absl::StatusOr<pid_t> Spawn(std::string path, int socket) {
  posix_spawn_file_actions_t files;
  posix_spawnattr_t attributes;
  posix_spawn_file_actions_init(&files);
  posix_spawnattr_init(&attributes);
  const absl::Cleanup free_both = [&] {
    posix_spawn_file_actions_destroy(&files);
    posix_spawnattr_destroy(&attributes);
  };
  sigset_t none;
  sigemptyset(&none);
  posix_spawn_file_actions_adddup2(&files, socket, STDIN_FILENO);
  posix_spawnattr_setsigmask(&attributes, &none);
  posix_spawnattr_setpgroup(&attributes, 0);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETPGROUP);
  std::vector<std::string> variables = Environment();
  std::vector<char*> environment;
  for (std::string& variable : variables) environment.push_back(variable.data());
  environment.push_back(nullptr);
  char* arguments[] = {path.data(), nullptr};
  pid_t pid = 0;
  if (const int error = posix_spawn(&pid, path.c_str(), &files, &attributes, arguments, environment.data()); error != 0)
    return absl::ErrnoToStatus(error, absl::StrCat("cannot start ", path, "; it belongs beside the reward server"));
  return pid;
}

// [code, text]: the text, or the error that it describes.
absl::StatusOr<std::string> TextOf(absl::StatusOr<Frame> answer) {
  FLOWAWR_RETURN_IF_ERROR(answer.status());
  int code = 0;
  if (answer->size() != 2 || !absl::SimpleAtoi((*answer)[0], &code))
    return absl::UnavailableError("the OCR reader gave no answer");
  std::string text = SanitizeUtf8((*answer)[1]);
  if (code != 0) return absl::Status(static_cast<absl::StatusCode>(code), text);
  return text;
}

}  // namespace

absl::StatusOr<std::unique_ptr<OcrReader>> OcrReader::Start(const TesseractOptions& options) {
  int sockets[2];
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets) != 0)
    return absl::ErrnoToStatus(errno, "a socket for the OCR reader");
  const absl::StatusOr<pid_t> pid = Spawn(ReaderPath(), sockets[1]);
  close(sockets[1]);
  if (!pid.ok()) {
    close(sockets[0]);
    return pid.status();
  }
  std::unique_ptr<OcrReader> reader(new OcrReader(*pid, sockets[0]));
  const absl::Time limit = MonotonicNow() + kMaxStart;
  const auto in_time = [limit] {
    return MonotonicNow() < limit ? absl::OkStatus() : absl::DeadlineExceededError("the OCR reader does not start");
  };
  FLOWAWR_RETURN_IF_ERROR(
      SendFrame(reader->socket_,
                {options.language, options.tessdata, options.layout, options.uses_dictionary ? "true" : "false"},
                in_time));
  FLOWAWR_ASSIGN_OR_RETURN(reader->version_, TextOf(ReceiveFrame(reader->socket_, in_time)));
  return reader;
}

OcrReader::~OcrReader() {
  close(socket_);
  kill(pid_, SIGKILL);
  while (waitpid(pid_, nullptr, 0) < 0 && errno == EINTR) {
  }
}

absl::StatusOr<std::string> OcrReader::Read(const GrayPage& page, const std::string& whitelist,
                                            KeepGoing keep_going) {
  const Frame request = {absl::StrCat(page.height), absl::StrCat(page.width), whitelist,
                         std::string(page.pixels.begin(), page.pixels.end())};
  absl::Status sent = SendFrame(socket_, request, keep_going);
  absl::StatusOr<std::string> text = sent.ok() ? TextOf(ReceiveFrame(socket_, keep_going)) : std::move(sent);
  if (absl::IsUnavailable(text.status())) return absl::InternalError("Tesseract's process ended while it read");
  return text;
}

}  // namespace flowawr
