// A Score request as it goes over the wire, which leaves its pictures where they are.
//
// The generated stub copies each picture into a message and that into what gRPC sends, for each scorer and each attempt.
// Here a picture is copied once, into a slice that any number of calls share: gRPC frees it after the last of them,
// however that ended.
#pragma once

#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/impl/codegen/proto_utils.h>
#include <grpcpp/support/byte_buffer.h>
#include <grpcpp/support/slice.h>

#include <string>

#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "flowawr/v1/reward.pb.h"

namespace flowawr {

// The bytes of a ScoreRequest for `scorer` with `items`, to each of which the pixels of the same index are added.
// `items` have no image_rgb, and `pixels` are as many.
grpc::ByteBuffer ScoreMessage(absl::string_view scorer, absl::Span<const v1::ScoreItem> items,
                              absl::Span<const grpc::Slice> pixels);

// Sends them: PrepareUnaryCall(context, ScoreMethod(), message, queue).
using ScoreStub = grpc::TemplatedGenericStub<grpc::ByteBuffer, v1::ScoreResponse>;
const std::string& ScoreMethod();

}  // namespace flowawr
