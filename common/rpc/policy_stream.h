// How an adapter travels, from the learner as from another actor: a stream of its header, then its bytes in chunks.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "absl/functional/any_invocable.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "common/base/spare_bytes.h"
#include "common/rpc/blob_stream.h"
#include "common/rpc/idle_watch.h"
#include "flowawr/v1/policy.pb.h"
#include "grpcpp/support/byte_buffer.h"
#include "grpcpp/support/server_callback.h"

namespace flowawr {

// As it came over the wire, its digest matching `header.blob`.
struct FetchedPolicy {
  v1::PolicyHeader header;
  std::shared_ptr<const std::string> bytes;  // adapter_model.safetensors of a PEFT folder; null: nothing was fetched
};

// The sending end, of messages v1::FetchPolicyResponse: as buffers that refer to the adapter's bytes, which are copied
// nowhere on their way to the socket. Deletes itself when the call is over; ended by `idle` when the receiver does not
// read.
class PolicyStream final : public grpc::ServerWriteReactor<grpc::ByteBuffer> {
 public:
  // `owner` keeps `bytes` alive. `ended` is called once, as the last thing: whether everything was sent.
  using Ended = absl::AnyInvocable<void(bool is_whole)>;
  PolicyStream(const v1::PolicyHeader& header, absl::string_view bytes, std::shared_ptr<const void> owner,
               IdleWatch& idle, grpc::CallbackServerContext& context, Ended ended);

  void OnWriteDone(bool ok) override;
  void OnDone() override;

 private:
  void Write(grpc::ByteBuffer message);

  const absl::string_view bytes_;
  const std::shared_ptr<const void> owner_;
  IdleWatch::Call idle_;
  Ended ended_;
  grpc::ByteBuffer message_;
  uint64_t offset_ = 0;
  bool is_whole_ = false;
};

// A call that ends with an error, or with one answer.
class PolicyAnswerStream final : public grpc::ServerWriteReactor<grpc::ByteBuffer> {
 public:
  explicit PolicyAnswerStream(const absl::Status& error);
  PolicyAnswerStream(const v1::FetchPolicyResponse& answer, IdleWatch& idle, grpc::CallbackServerContext& context);

  void OnDone() override { delete this; }

 private:
  std::optional<IdleWatch::Call> idle_;
  grpc::ByteBuffer message_;
};

// A method, e.g. "PolicyStore", "FetchPolicy", whose answers are these streams, for grpc::Service::MarkMethodRawCallback():
// where it stands among its service's, and what serves it. (What gRPC generates for raw answers takes raw requests, too.)
int MethodIndex(const char* service, const char* method);
template <typename Request>
using PolicyStreamHandler = grpc::internal::CallbackServerStreamingHandler<Request, grpc::ByteBuffer>;

// The receiving end. Not thread-safe. After an error the adapter is lost: drop the assembler.
class PolicyAssembler {
 public:
  // `spare` is given the bytes to keep, and must outlive the assembler. `sha256`: for an adapter with this digest and no
  // other.
  PolicyAssembler(uint64_t max_bytes, SpareBytes& spare, std::optional<std::string> sha256 = std::nullopt)
      : max_bytes_(max_bytes), spare_(spare), sha256_(std::move(sha256)) {}

  // DataLoss for a part that does not come next, or a header of another digest; else as BlobAssembler.
  absl::Status Add(const v1::FetchPolicyResponse& part);
  // Call once, last. DataLoss for a stream that was cut short, or bytes with another digest than announced.
  absl::StatusOr<FetchedPolicy> Finish();

 private:
  const uint64_t max_bytes_;
  SpareBytes& spare_;
  const std::optional<std::string> sha256_;
  v1::PolicyHeader header_;
  std::optional<BlobAssembler> blob_;
};

}  // namespace flowawr
