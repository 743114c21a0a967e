#include "common/rpc/policy_stream.h"

#include <iterator>
#include <utility>

#include "common/base/status.h"
#include "common/rpc/status.h"
#include "google/protobuf/descriptor.h"
#include "grpcpp/support/slice.h"

namespace flowawr {
namespace {

void AppendVarint(uint64_t value, std::string* out) {
  for (; value >= 0x80; value >>= 7) out->push_back(static_cast<char>(value | 0x80));
  out->push_back(static_cast<char>(value));
}

// Of protobuf's wire format: the tag of a field that holds bytes or a message, and its length.
void AppendTagAndLength(int field, uint64_t length, std::string* out) {
  AppendVarint(static_cast<uint64_t>(field) << 3 | 2, out);
  AppendVarint(length, out);
}

grpc::ByteBuffer MessageOf(const v1::FetchPolicyResponse& part) {
  const grpc::Slice slice(part.SerializeAsString());
  return grpc::ByteBuffer(&slice, 1);
}

// What v1::FetchPolicyResponse with the chunk that begins at `offset` is serialised to; `data` is its bytes, not a copy.
grpc::ByteBuffer ChunkMessage(absl::string_view data, uint64_t offset, std::shared_ptr<const void> owner) {
  std::string chunk;
  AppendVarint(v1::BlobChunk::kOffsetFieldNumber << 3, &chunk);
  AppendVarint(offset, &chunk);
  AppendTagAndLength(v1::BlobChunk::kDataFieldNumber, data.size(), &chunk);
  std::string begin;
  AppendTagAndLength(v1::FetchPolicyResponse::kChunkFieldNumber, chunk.size() + data.size(), &begin);
  const grpc::Slice slices[] = {
      grpc::Slice(begin + chunk),
      grpc::Slice(const_cast<char*>(data.data()), data.size(),
                  [](void* held) { delete static_cast<std::shared_ptr<const void>*>(held); },
                  new std::shared_ptr<const void>(std::move(owner)))};
  return grpc::ByteBuffer(slices, std::size(slices));
}

}  // namespace

PolicyStream::PolicyStream(const v1::PolicyHeader& header, absl::string_view bytes, std::shared_ptr<const void> owner,
                           IdleWatch& idle, grpc::CallbackServerContext& context, Ended ended)
    : bytes_(bytes), owner_(std::move(owner)), idle_(idle, context), ended_(std::move(ended)) {
  v1::FetchPolicyResponse part;
  *part.mutable_header() = header;
  Write(MessageOf(part));
}

void PolicyStream::Write(grpc::ByteBuffer message) {
  message_ = std::move(message);
  idle_.Begin();
  StartWrite(&message_);
}

void PolicyStream::OnWriteDone(bool ok) {
  idle_.End();
  if (!ok) return Finish(ToGrpc(absl::CancelledError("the actor closed the stream")));
  if (offset_ == bytes_.size()) {
    is_whole_ = true;
    return Finish(grpc::Status::OK);
  }
  const absl::string_view data = bytes_.substr(offset_, kMaxChunkBytes);
  const uint64_t begin = std::exchange(offset_, offset_ + data.size());
  Write(ChunkMessage(data, begin, owner_));
}

void PolicyStream::OnDone() {
  ended_(is_whole_);
  delete this;
}

PolicyAnswerStream::PolicyAnswerStream(const absl::Status& error) { Finish(ToGrpc(error)); }

PolicyAnswerStream::PolicyAnswerStream(const v1::FetchPolicyResponse& answer, IdleWatch& idle,
                                       grpc::CallbackServerContext& context)
    : message_(MessageOf(answer)) {
  idle_.emplace(idle, context).Begin();
  StartWriteAndFinish(&message_, grpc::WriteOptions(), grpc::Status::OK);
}

int MethodIndex(const char* service, const char* method) {
  return v1::PolicyVersion::descriptor()->file()->FindServiceByName(service)->FindMethodByName(method)->index();
}

absl::Status PolicyAssembler::Add(const v1::FetchPolicyResponse& part) {
  if (part.has_chunk() && blob_) return blob_->Add(part.chunk());
  if (blob_) return absl::DataLossError("a second header in the stream");
  if (!part.has_header()) return absl::DataLossError("the stream does not begin with a header");
  header_ = part.header();
  if (sha256_ && header_.blob().sha256() != *sha256_)
    return absl::DataLossError("the header tells of another adapter than was asked for");
  FLOWAWR_ASSIGN_OR_RETURN(blob_, BlobAssembler::Create(header_.blob(), max_bytes_, spare_.Take()));
  return absl::OkStatus();
}

absl::StatusOr<FetchedPolicy> PolicyAssembler::Finish() {
  if (!blob_) return absl::DataLossError("the stream ended before its header");
  FLOWAWR_ASSIGN_OR_RETURN(std::string bytes, blob_->Finish());
  return FetchedPolicy{std::move(header_), spare_.Share(std::move(bytes))};
}

}  // namespace flowawr
