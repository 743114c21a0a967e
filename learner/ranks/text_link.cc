#include "learner/ranks/text_link.h"

#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>

#include "absl/strings/str_cat.h"
#include "common/base/await_ready.h"
#include "common/base/clock.h"
#include "common/base/status.h"

namespace flowawr {
namespace {

// Of a message; its text follows. In the machine's byte order: ranks are of one instruction set.
struct Head {
  int64_t word;
  uint64_t text_bytes;
};

absl::Status Broken() { return absl::CancelledError("the link was broken off"); }
absl::Status Gone() { return absl::UnavailableError("the other end is gone"); }

}  // namespace

TextLink::~TextLink() { close(socket_fd_); }

void TextLink::Break() {
  is_broken_ = true;
  shutdown(socket_fd_, SHUT_RDWR);
}

absl::Status TextLink::Await(short event, absl::Time deadline) const {
  if (is_broken_) return Broken();  // else Break() ends the wait, as a socket that is shut down is ready
  return AwaitReady(socket_fd_, event, deadline);
}

absl::Status TextLink::Write(const void* bytes, size_t size, absl::Time deadline) const {
  const char* next = static_cast<const char*>(bytes);
  for (size_t left = size; left > 0;) {
    FLOWAWR_RETURN_IF_ERROR(Await(POLLOUT, deadline));
    const ssize_t sent = send(socket_fd_, next, left, MSG_NOSIGNAL);
    if (sent < 0 && errno != EAGAIN && errno != EINTR) return is_broken_ ? Broken() : Gone();
    next += std::max<ssize_t>(sent, 0);
    left -= static_cast<size_t>(std::max<ssize_t>(sent, 0));
  }
  return absl::OkStatus();
}

absl::Status TextLink::Read(void* bytes, size_t size, absl::Time deadline) const {
  char* next = static_cast<char*>(bytes);
  for (size_t left = size; left > 0;) {
    FLOWAWR_RETURN_IF_ERROR(Await(POLLIN, deadline));
    const ssize_t received = recv(socket_fd_, next, left, 0);
    if (received == 0 || (received < 0 && errno != EAGAIN && errno != EINTR))
      return is_broken_ ? Broken() : Gone();
    next += std::max<ssize_t>(received, 0);
    left -= static_cast<size_t>(std::max<ssize_t>(received, 0));
  }
  return absl::OkStatus();
}

absl::Status TextLink::Send(const RankMessage& message, absl::Duration limit) {
  const absl::Time deadline = MonotonicNow() + limit;
  const Head head{.word = static_cast<int64_t>(message.word), .text_bytes = message.text.size()};
  std::string bytes(reinterpret_cast<const char*>(&head), sizeof head);
  bytes += message.text;
  return Write(bytes.data(), bytes.size(), deadline);
}

absl::StatusOr<RankMessage> TextLink::Receive(absl::Duration limit, MessageBound bound) {
  const absl::Time deadline = MonotonicNow() + limit;
  Head head{};
  FLOWAWR_RETURN_IF_ERROR(Read(&head, sizeof head, deadline));
  if (head.text_bytes > static_cast<uint64_t>(bound.text_bytes))
    return absl::InvalidArgumentError(absl::StrCat("what was sent is no rank's: a text of ", head.text_bytes,
                                                   " bytes, at most ", bound.text_bytes, " are taken"));
  RankMessage message{.word = static_cast<RankWord>(head.word), .text = std::string(head.text_bytes, '\0')};
  FLOWAWR_RETURN_IF_ERROR(Read(message.text.data(), message.text.size(), deadline));
  return message;
}

}  // namespace flowawr
