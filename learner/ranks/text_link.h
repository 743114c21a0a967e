// A link over a socket, for what is said before there is one of c10d's: texts, and no tensors.
#pragma once

#include <atomic>

#include "learner/ranks/rank_link.h"

namespace flowawr {

class TextLink final : public RankLink {
 public:
  // Owns the socket, which must not block.
  explicit TextLink(int socket_fd) : socket_fd_(socket_fd) {}
  ~TextLink() override;
  TextLink(const TextLink&) = delete;
  TextLink& operator=(const TextLink&) = delete;

  // Without the message's tensors.
  absl::Status Send(const RankMessage& message, absl::Duration limit) override;
  absl::StatusOr<RankMessage> Receive(absl::Duration limit, MessageBound bound) override;
  void Break() override;
  TransferSeconds spent() const override { return {}; }

 private:
  absl::Status Await(short event, absl::Time deadline) const;
  absl::Status Write(const void* bytes, size_t size, absl::Time deadline) const;
  absl::Status Read(void* bytes, size_t size, absl::Time deadline) const;

  const int socket_fd_;
  std::atomic<bool> is_broken_ = false;
};

}  // namespace flowawr
