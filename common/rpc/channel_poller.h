// Keeps connections moving while nobody calls.
#pragma once

#include <memory>

#include "grpcpp/channel.h"

namespace flowawr {

// The same channel, watched by a thread of this process as long as the returned pointer or a copy of it lives.
//
// gRPC works on a channel's sockets only while some thread waits in a call. A client that tries, is told "unavailable",
// and pauses before it tries again leaves the connection alone in between, but for a look every five seconds: a TCP
// connection may come about so, a TLS handshake of several round trips never does. The thread that watches is the one
// that always waits. Thread-safe.
std::shared_ptr<grpc::Channel> KeepPolled(std::shared_ptr<grpc::Channel> channel);

}  // namespace flowawr
