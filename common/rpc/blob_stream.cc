#include "common/rpc/blob_stream.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/large_pages.h"

namespace flowawr {
namespace {

// Room that is taken before anything has come, so that an adapter is not copied as it grows; of pages that nothing is
// written to the machine gives none.
constexpr uint64_t kReservedAtOnce = uint64_t{64} << 20;

}  // namespace

v1::BlobHeader MakeBlobHeader(absl::string_view blob) {
  v1::BlobHeader header;
  header.set_size(blob.size());
  header.set_sha256(Sha256(blob));
  return header;
}

v1::BlobChunk ChunkAt(absl::string_view blob, uint64_t offset) {
  v1::BlobChunk chunk;
  chunk.set_offset(offset);
  chunk.set_data(std::string(blob.substr(offset, kMaxChunkBytes)));
  return chunk;
}

absl::Status SendBlob(absl::string_view blob, absl::FunctionRef<bool(v1::BlobChunk&&)> write) {
  for (uint64_t offset = 0; offset < blob.size(); offset += kMaxChunkBytes) {
    if (!write(ChunkAt(blob, offset)))
      return absl::CancelledError(
          absl::StrCat("the receiver closed the stream after ", offset, " of ", blob.size(), " bytes"));
  }
  return absl::OkStatus();
}

absl::StatusOr<BlobAssembler> BlobAssembler::Create(const v1::BlobHeader& header, uint64_t max_bytes,
                                                    std::string room) {
  if (header.size() > max_bytes)
    return absl::ResourceExhaustedError(
        absl::StrCat("a blob of ", header.size(), " bytes is announced; at most ", max_bytes, " are accepted here"));
  if (header.sha256().size() != 32)
    return absl::InvalidArgumentError(
        absl::StrCat("the blob's sha256 has ", header.sha256().size(), " bytes, expected 32"));
  BlobAssembler blob(header, std::move(room));
  blob.received_.clear();
  if (const uint64_t wanted = std::min(header.size(), kReservedAtOnce); blob.received_.capacity() < wanted) {
    blob.received_.reserve(wanted);
    PreferLargePages(blob.received_.data(), blob.received_.capacity());
  }
  return blob;
}

absl::Status BlobAssembler::Add(const v1::BlobChunk& chunk) {
  const uint64_t size = chunk.data().size();
  if (size == 0) return absl::InvalidArgumentError("a blob chunk is empty");
  if (size > kMaxChunkBytes)
    return absl::InvalidArgumentError(
        absl::StrCat("a blob chunk has ", size, " bytes; at most ", kMaxChunkBytes, " are accepted"));
  if (chunk.offset() != received_.size())
    return absl::FailedPreconditionError(
        absl::StrCat("a blob chunk starts at byte ", chunk.offset(), ", expected ", received_.size(), ": a chunk was ",
                     chunk.offset() > received_.size() ? "lost" : "repeated", " or they were reordered"));
  if (size > header_.size() - received_.size())
    return absl::OutOfRangeError(absl::StrCat("the blob is longer than the ", header_.size(), " bytes announced"));
  received_.append(chunk.data());
  hasher_.Update(chunk.data());
  return absl::OkStatus();
}

absl::StatusOr<std::string> BlobAssembler::Finish() {
  if (received_.size() != header_.size())
    return absl::DataLossError(
        absl::StrCat("the blob was cut: ", received_.size(), " of ", header_.size(), " bytes came"));
  if (hasher_.Finish() != header_.sha256())
    return absl::DataLossError("the blob has another sha256 than announced: it was changed on the way");
  return std::move(received_);
}

}  // namespace flowawr
