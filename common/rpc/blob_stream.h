// Large payloads in a stream of messages: a header that tells size and digest, then chunks in order.
#pragma once

#include <cstdint>
#include <string>
#include <utility>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "common/base/sha256.h"
#include "flowawr/v1/tensor.pb.h"

namespace flowawr {

inline constexpr uint64_t kMaxChunkBytes = 1 << 20;

v1::BlobHeader MakeBlobHeader(absl::string_view blob);

// The chunk that begins at `offset`, below the blob's size.
v1::BlobChunk ChunkAt(absl::string_view blob, uint64_t offset);

// Calls `write` for every chunk in order. Cancelled when `write` returns false: the receiver has closed the stream, and
// the call's own status says why.
absl::Status SendBlob(absl::string_view blob, absl::FunctionRef<bool(v1::BlobChunk&&)> write);

// The receiving end. Not thread-safe. After an error the blob is lost: drop the assembler.
class BlobAssembler {
 public:
  // ResourceExhausted when the header announces more than `max_bytes`; InvalidArgument for a digest of the wrong
  // length. The blob is put into the memory of `room` as far as that goes.
  static absl::StatusOr<BlobAssembler> Create(const v1::BlobHeader& header, uint64_t max_bytes, std::string room = {});

  // InvalidArgument: an empty or oversized chunk. FailedPrecondition: a chunk that does not follow the last one
  // (lost, repeated or reordered). OutOfRange: more bytes than announced.
  absl::Status Add(const v1::BlobChunk& chunk);

  // The blob. Call once, last. DataLoss when it was cut short or has another digest than announced.
  absl::StatusOr<std::string> Finish();

 private:
  BlobAssembler(const v1::BlobHeader& header, std::string room) : header_(header), received_(std::move(room)) {}

  v1::BlobHeader header_;
  std::string received_;
  Sha256Hasher hasher_;
};

}  // namespace flowawr
