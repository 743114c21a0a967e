#include "common/rpc/blob_stream.h"

#include <algorithm>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace flowawr {
namespace {

using ::testing::HasSubstr;

std::string SomeBlob(size_t size) {
  std::string blob(size, '\0');
  for (size_t i = 0; i < size; ++i) blob[i] = static_cast<char>(i * 31 + i / 251);
  return blob;
}

std::vector<v1::BlobChunk> Chunks(const std::string& blob) {
  std::vector<v1::BlobChunk> chunks;
  EXPECT_TRUE(SendBlob(blob, [&](v1::BlobChunk&& chunk) {
                chunks.push_back(std::move(chunk));
                return true;
              }).ok());
  return chunks;
}

// The first error, or what Finish() says.
absl::StatusOr<std::string> Assemble(const v1::BlobHeader& header, const std::vector<v1::BlobChunk>& chunks) {
  absl::StatusOr<BlobAssembler> assembler = BlobAssembler::Create(header, 1 << 30);
  if (!assembler.ok()) return assembler.status();
  for (const v1::BlobChunk& chunk : chunks)
    if (absl::Status added = assembler->Add(chunk); !added.ok()) return added;
  return assembler->Finish();
}

void ExpectError(const absl::StatusOr<std::string>& result, absl::StatusCode code, const std::string& message) {
  EXPECT_EQ(result.status().code(), code) << result.status();
  EXPECT_THAT(std::string(result.status().message()), HasSubstr(message));
}

TEST(BlobStream, CarriesBlobsOfEverySize) {
  for (const size_t size :
       {size_t{0}, size_t{1}, kMaxChunkBytes - 1, kMaxChunkBytes, kMaxChunkBytes + 1, 3 * kMaxChunkBytes + 17}) {
    const std::string blob = SomeBlob(size);
    const std::vector<v1::BlobChunk> chunks = Chunks(blob);
    EXPECT_EQ(chunks.size(), (size + kMaxChunkBytes - 1) / kMaxChunkBytes);
    const auto got = Assemble(MakeBlobHeader(blob), chunks);
    ASSERT_TRUE(got.ok()) << got.status();
    EXPECT_TRUE(*got == blob) << "of " << size << " bytes";
  }
}

TEST(BlobStream, RefusesABlobAboveTheLimitBeforeAnyChunk) {
  v1::BlobHeader header = MakeBlobHeader("abc");
  header.set_size(uint64_t{1} << 62);
  ExpectError(BlobAssembler::Create(header, 1000).status(), absl::StatusCode::kResourceExhausted, "at most 1000");
}

TEST(BlobStream, RefusesADigestOfTheWrongLength) {
  v1::BlobHeader header = MakeBlobHeader("abc");
  header.set_sha256("short");
  ExpectError(Assemble(header, {}), absl::StatusCode::kInvalidArgument, "5 bytes, expected 32");
}

TEST(BlobStream, NoticesACutBlob) {
  const std::string blob = SomeBlob(3 * kMaxChunkBytes);
  std::vector<v1::BlobChunk> chunks = Chunks(blob);
  chunks.pop_back();
  ExpectError(Assemble(MakeBlobHeader(blob), chunks), absl::StatusCode::kDataLoss, "cut");
}

TEST(BlobStream, NoticesReorderedChunks) {
  const std::string blob = SomeBlob(3 * kMaxChunkBytes);
  std::vector<v1::BlobChunk> chunks = Chunks(blob);
  std::swap(chunks[1], chunks[2]);
  ExpectError(Assemble(MakeBlobHeader(blob), chunks), absl::StatusCode::kFailedPrecondition, "lost");
}

TEST(BlobStream, NoticesARepeatedChunk) {
  const std::string blob = SomeBlob(3 * kMaxChunkBytes);
  std::vector<v1::BlobChunk> chunks = Chunks(blob);
  chunks.insert(chunks.begin() + 1, chunks[0]);
  ExpectError(Assemble(MakeBlobHeader(blob), chunks), absl::StatusCode::kFailedPrecondition, "repeated");
}

TEST(BlobStream, NoticesMoreBytesThanAnnounced) {
  v1::BlobHeader header = MakeBlobHeader("abcd");
  header.set_size(3);
  ExpectError(Assemble(header, Chunks("abcd")), absl::StatusCode::kOutOfRange, "3 bytes announced");
}

TEST(BlobStream, NoticesAChangedByte) {
  const std::string blob = SomeBlob(100);
  std::vector<v1::BlobChunk> chunks = Chunks(blob);
  (*chunks[0].mutable_data())[50] ^= 1;
  ExpectError(Assemble(MakeBlobHeader(blob), chunks), absl::StatusCode::kDataLoss, "sha256");
}

TEST(BlobStream, RefusesOversizedAndEmptyChunks) {
  const std::string blob = SomeBlob(kMaxChunkBytes + 1);
  v1::BlobChunk whole;
  whole.set_data(blob);
  ExpectError(Assemble(MakeBlobHeader(blob), {whole}), absl::StatusCode::kInvalidArgument, "at most 1048576");
  ExpectError(Assemble(MakeBlobHeader(blob), {v1::BlobChunk()}), absl::StatusCode::kInvalidArgument, "empty");
}

TEST(BlobStream, StopsWhenTheReceiverHasGone) {
  int written = 0;
  const absl::Status status = SendBlob(SomeBlob(5 * kMaxChunkBytes), [&](v1::BlobChunk&&) { return ++written < 2; });
  EXPECT_EQ(status.code(), absl::StatusCode::kCancelled);
  EXPECT_EQ(written, 2);
}

}  // namespace
}  // namespace flowawr
