// How many calls of this project's services this process has served and made, with how many bytes, by method: for its
// metrics. Process-wide: servers, channels and pages of a process count together. Thread-safe. What a server refuses before
// it looks at the call, such as a message that is too large, is counted at its client only.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "grpcpp/server_builder.h"
#include "grpcpp/support/client_interceptor.h"

namespace flowawr {

struct CallCounts {
  bool is_server = false;
  std::string method;  // "Rollout/SubmitGroup"
  uint64_t received_bytes = 0, sent_bytes = 0;  // of messages, as they are serialised
  struct Ended {
    std::string code;  // "OK", "UNAVAILABLE"; of a call that its server saw end before it had answered, "CANCELLED"
    uint64_t calls = 0;
  };
  std::vector<Ended> ended;
};

// Of every method that was called.
std::vector<CallCounts> CountedCalls();

// The calls that a server answers count from now on.
void CountCallsOf(grpc::ServerBuilder& builder);
// For a channel: the calls that are made through it count.
std::vector<std::unique_ptr<grpc::experimental::ClientInterceptorFactoryInterface>> CallCounters();

}  // namespace flowawr
