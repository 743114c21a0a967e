#include "learner/ranks/gloo_link.h"

#include <torch/types.h>

#include <utility>
#include <vector>

#include "absl/strings/cord.h"
#include "absl/strings/str_cat.h"
#include "common/base/clock.h"
#include "common/base/status.h"
#include "common/tensor/device_error.h"
#include "common/tensor/transfer.h"
#include "learner/ranks/c10d_errors.h"
#include "learner/ranks/tensor_heads.h"

namespace flowawr {
namespace {

constexpr int kTag = 0;
constexpr int64_t kMagic = 0x464c4f5741570002;  // of the first of a message's four numbers: the language and its version

std::chrono::milliseconds Milliseconds(absl::Duration duration) { return absl::ToChronoMilliseconds(duration); }

at::Tensor View(const std::string& text) {
  return at::from_blob(const_cast<char*>(text.data()), {static_cast<int64_t>(text.size())}, at::TensorOptions(at::kByte));
}

TensorHead HeadOf(const std::string& name, const at::Tensor& tensor, bool is_vector, bool is_by_device) {
  return {name, tensor.scalar_type(), tensor.sizes().vec(), is_vector, is_by_device};
}

constexpr char kIsDeviceLineError[] = "flowawr/device_line_error";

absl::Status Broken() { return absl::CancelledError("the link was given up"); }

}  // namespace

GlooLink::GlooLink(c10::intrusive_ptr<c10d::Backend> group, int peer, std::unique_ptr<DeviceLine> line)
    : group_(std::move(group)), peer_(peer), line_(std::move(line)) {}

absl::Status GlooLink::Send(const RankMessage& message, absl::Duration limit) {
  const absl::Time begin = MonotonicNow();
  const absl::Status sent = SendAll(message, limit);
  const absl::MutexLock lock(&mutex_);
  spent_.sending += absl::ToDoubleSeconds(MonotonicNow() - begin);
  return sent;
}

absl::Status GlooLink::SendAll(const RankMessage& message, absl::Duration limit) {
  std::vector<TensorHead> heads;
  std::vector<at::Tensor> payloads;  // in the order of the heads
  const auto add = [&](const std::string& name, const at::Tensor& tensor, bool is_vector) {
    const bool is_by_device = is_vector && line_ != nullptr;
    const at::Device to = is_by_device ? line_->device() : at::Device(at::kCPU);
    return OnDevice("sending to another rank", tensor.device().is_cpu() ? to : tensor.device(), [&] {
      payloads.push_back(MovedTo(tensor.detach(), to).contiguous());
      heads.push_back(HeadOf(name, tensor, is_vector, is_by_device));
      return absl::OkStatus();
    });
  };
  for (const auto& [name, tensor] : message.tensors) FLOWAWR_RETURN_IF_ERROR(add(name, tensor, /*is_vector=*/false));
  for (const auto& [name, vector] : message.vectors) FLOWAWR_RETURN_IF_ERROR(add(name, vector, /*is_vector=*/true));
  const std::string table = SerializeHeads(heads);
  FLOWAWR_RETURN_IF_ERROR(Move(at::tensor({kMagic, static_cast<int64_t>(message.word),
                                           static_cast<int64_t>(message.text.size()), static_cast<int64_t>(table.size())}),
                               /*is_send=*/true, limit));
  FLOWAWR_RETURN_IF_ERROR(Move(View(message.text), /*is_send=*/true, limit));
  FLOWAWR_RETURN_IF_ERROR(Move(View(table), /*is_send=*/true, limit));
  for (size_t i = 0; i < heads.size(); ++i)
    FLOWAWR_RETURN_IF_ERROR(heads[i].is_by_device ? MoveByDevice(payloads[i], /*is_send=*/true, limit)
                                                  : Move(payloads[i], /*is_send=*/true, limit));
  return absl::OkStatus();
}

absl::StatusOr<RankMessage> GlooLink::Receive(absl::Duration limit, MessageBound bound) {
  const at::Tensor head = at::zeros({4}, at::kLong);
  FLOWAWR_RETURN_IF_ERROR(Move(head, /*is_send=*/false, limit));
  const absl::Time begin = MonotonicNow();
  absl::StatusOr<RankMessage> message = ReceiveAfter(head, limit, bound);
  const absl::MutexLock lock(&mutex_);
  spent_.receiving += absl::ToDoubleSeconds(MonotonicNow() - begin);
  return message;
}

absl::StatusOr<RankMessage> GlooLink::ReceiveAfter(const at::Tensor& head, absl::Duration limit, MessageBound bound) {
  const int64_t* const numbers = head.const_data_ptr<int64_t>();
  const int64_t text_bytes = numbers[2], table_bytes = numbers[3];
  if (numbers[0] != kMagic) return absl::InvalidArgumentError("the other end speaks another language");
  if (text_bytes < 0 || table_bytes < 0 || text_bytes > bound.text_bytes || table_bytes > bound.text_bytes - text_bytes)
    return absl::InvalidArgumentError(absl::StrCat("a rank's message: ", text_bytes, " and ", table_bytes,
                                                   " bytes of text, where at most ", bound.text_bytes, " may come"));
  RankMessage message{.word = static_cast<RankWord>(numbers[1]), .text = std::string(static_cast<size_t>(text_bytes), '\0')};
  std::string table(static_cast<size_t>(table_bytes), '\0');
  FLOWAWR_RETURN_IF_ERROR(Move(View(message.text), /*is_send=*/false, limit));
  FLOWAWR_RETURN_IF_ERROR(Move(View(table), /*is_send=*/false, limit));
  FLOWAWR_ASSIGN_OR_RETURN(const std::vector<TensorHead> heads, ParseHeads(table, bound.tensor_bytes));
  for (const TensorHead& head_of : heads) {
    if (head_of.is_by_device && line_ == nullptr)
      return absl::InvalidArgumentError("a rank's message: there is no line between devices");
    at::Tensor tensor;
    const at::Device device = head_of.is_by_device ? line_->device() : at::Device(at::kCPU);
    FLOWAWR_RETURN_IF_ERROR(OnDevice("receiving from another rank", device, [&] {
      tensor = at::empty(head_of.dims, at::TensorOptions(head_of.dtype).device(device));
      return absl::OkStatus();
    }));
    FLOWAWR_RETURN_IF_ERROR(head_of.is_by_device ? MoveByDevice(tensor, /*is_send=*/false, limit)
                                                 : Move(tensor, /*is_send=*/false, limit));
    (head_of.is_vector ? message.vectors : message.tensors).emplace(head_of.name, std::move(tensor));
  }
  return message;
}

void GlooLink::Break() {
  const absl::MutexLock lock(&mutex_);
  is_broken_ = true;
  if (under_way_) under_way_->abort();
  if (line_) line_->Break();
}

TransferSeconds GlooLink::spent() const {
  const absl::MutexLock lock(&mutex_);
  return spent_;
}

absl::Status GlooLink::Move(at::Tensor tensor, bool is_send, absl::Duration limit) {
  if (tensor.numel() == 0) return absl::OkStatus();
  bool is_done = false;
  FLOWAWR_RETURN_IF_ERROR(WithoutExceptions(is_send ? "sending" : "receiving", limit, [&] {
    std::vector<at::Tensor> tensors = {std::move(tensor)};
    c10::intrusive_ptr<c10d::Work> work;
    {
      const absl::MutexLock lock(&mutex_);
      if (is_broken_) return;
      work = under_way_ = is_send ? group_->send(tensors, peer_, kTag) : group_->recv(tensors, peer_, kTag);
    }
    is_done = work->wait(Milliseconds(limit));
    const absl::MutexLock lock(&mutex_);
    under_way_.reset();
  }));
  return is_done ? absl::OkStatus() : Broken();
}

absl::Status GlooLink::MoveByDevice(const at::Tensor& tensor, bool is_send, absl::Duration limit) {
  if (tensor.numel() == 0) return absl::OkStatus();
  const std::string problem =
      is_send ? line_->Send(tensor, Milliseconds(limit)) : line_->Receive(tensor, Milliseconds(limit));
  if (problem.empty()) return absl::OkStatus();
  absl::Status error = absl::UnavailableError(absl::StrCat(is_send ? "sending by NCCL: " : "receiving by NCCL: ", problem));
  error.SetPayload(kIsDeviceLineError, absl::Cord());
  return error;
}

bool IsDeviceLineError(const absl::Status& status) { return status.GetPayload(kIsDeviceLineError).has_value(); }

}  // namespace flowawr
