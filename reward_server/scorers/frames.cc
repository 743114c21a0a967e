#include "reward_server/scorers/frames.h"

#include <poll.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstdint>
#include <cstring>

#include "absl/strings/string_view.h"
#include "common/base/status.h"

namespace flowawr {
namespace {

constexpr uint64_t kMaxStrings = 8;
constexpr uint64_t kMaxBytes = uint64_t{256} << 20;
constexpr int kPollMs = 20;

absl::Status Gone() { return absl::UnavailableError("the other process has ended"); }

absl::Status WaitFor(int socket, int16_t events, KeepGoing keep_going) {
  while (true) {
    pollfd poll_fd{socket, events, 0};
    const int ready = poll(&poll_fd, 1, kPollMs);
    if (ready > 0) return absl::OkStatus();
    if (ready < 0 && errno != EINTR) return absl::ErrnoToStatus(errno, "poll");
    FLOWAWR_RETURN_IF_ERROR(keep_going());
  }
}

absl::Status Send(int socket, absl::string_view bytes, KeepGoing keep_going) {
  while (!bytes.empty()) {
    FLOWAWR_RETURN_IF_ERROR(WaitFor(socket, POLLOUT, keep_going));
    const ssize_t sent = send(socket, bytes.data(), bytes.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
    if (sent > 0) {
      bytes.remove_prefix(static_cast<size_t>(sent));
    } else if (errno != EAGAIN && errno != EINTR) {
      return Gone();
    }
  }
  return absl::OkStatus();
}

absl::Status Receive(int socket, char* bytes, size_t size, KeepGoing keep_going) {
  while (size > 0) {
    FLOWAWR_RETURN_IF_ERROR(WaitFor(socket, POLLIN, keep_going));
    const ssize_t received = recv(socket, bytes, size, MSG_DONTWAIT);
    if (received == 0 || (received < 0 && errno != EAGAIN && errno != EINTR)) return Gone();
    if (received < 0) continue;
    bytes += received;
    size -= static_cast<size_t>(received);
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status SendFrame(int socket, const Frame& frame, KeepGoing keep_going) {
  std::vector<uint64_t> sizes = {frame.size()};
  for (const std::string& text : frame) sizes.push_back(text.size());
  const absl::string_view head(reinterpret_cast<const char*>(sizes.data()), sizes.size() * sizeof(uint64_t));
  FLOWAWR_RETURN_IF_ERROR(Send(socket, head, keep_going));
  for (const std::string& text : frame) FLOWAWR_RETURN_IF_ERROR(Send(socket, text, keep_going));
  return absl::OkStatus();
}

absl::StatusOr<Frame> ReceiveFrame(int socket, KeepGoing keep_going) {
  uint64_t strings = 0;
  FLOWAWR_RETURN_IF_ERROR(Receive(socket, reinterpret_cast<char*>(&strings), sizeof strings, keep_going));
  if (strings > kMaxStrings) return absl::UnavailableError("the other process sent no frame");
  std::vector<uint64_t> sizes(strings);
  FLOWAWR_RETURN_IF_ERROR(
      Receive(socket, reinterpret_cast<char*>(sizes.data()), strings * sizeof(uint64_t), keep_going));
  Frame frame;
  for (const uint64_t size : sizes) {
    if (size > kMaxBytes) return absl::UnavailableError("the other process sent no frame");
    std::string& text = frame.emplace_back(size, '\0');
    FLOWAWR_RETURN_IF_ERROR(Receive(socket, text.data(), text.size(), keep_going));
  }
  return frame;
}

}  // namespace flowawr
