#include "common/rpc/call_counts.h"

#include <google/protobuf/message_lite.h>

#include <array>
#include <atomic>
#include <map>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/strip.h"
#include "absl/synchronization/mutex.h"
#include "grpcpp/support/server_interceptor.h"

namespace flowawr {
namespace {

using grpc::experimental::InterceptionHookPoints;
using grpc::experimental::InterceptorBatchMethods;

// Other services, health and reflection, send messages of other kinds.
constexpr absl::string_view kOurs = "/flowawr.v1.";
constexpr int kCodes = static_cast<int>(grpc::StatusCode::UNAUTHENTICATED) + 1;

struct Counters {
  std::atomic<uint64_t> received_bytes = 0, sent_bytes = 0;
  std::array<std::atomic<uint64_t>, kCodes> ended{};
};

// Entries are made once and never removed: there are as many as the services have methods.
class Table {
 public:
  Counters& Of(bool is_server, absl::string_view method) {
    absl::MutexLock lock(&mutex_);
    return counters_[{is_server, std::string(absl::StripPrefix(method, kOurs))}];
  }
  std::vector<CallCounts> Read() {
    absl::MutexLock lock(&mutex_);
    std::vector<CallCounts> all;
    for (const auto& [key, counters] : counters_) {
      CallCounts& counts = all.emplace_back();
      std::tie(counts.is_server, counts.method) = key;
      counts.received_bytes = counters.received_bytes;
      counts.sent_bytes = counters.sent_bytes;
      for (int code = 0; code < kCodes; ++code)
        if (const uint64_t calls = counters.ended[code]; calls > 0)
          counts.ended.push_back({absl::StatusCodeToString(static_cast<absl::StatusCode>(code)), calls});
    }
    return all;
  }

 private:
  absl::Mutex mutex_;
  std::map<std::pair<bool, std::string>, Counters> counters_ ABSL_GUARDED_BY(mutex_);
};

Table& Calls() {
  static Table& table = *new Table;  // calls may end after the statics are gone
  return table;
}

class Counter final : public grpc::experimental::Interceptor {
 public:
  Counter(bool is_server, absl::string_view method) : is_server_(is_server), counters_(Calls().Of(is_server, method)) {}
  // Without a status the call was cancelled, or refused before its handler saw it.
  ~Counter() override {
    if (!has_ended_) End(grpc::StatusCode::CANCELLED);
  }

  void Intercept(InterceptorBatchMethods* methods) override {
    using Hook = InterceptionHookPoints;
    if (methods->QueryInterceptionHookPoint(Hook::PRE_SEND_MESSAGE))
      if (const grpc::ByteBuffer* message = methods->GetSerializedSendMessage())
        counters_.sent_bytes += message->Length();
    if (methods->QueryInterceptionHookPoint(Hook::POST_RECV_MESSAGE))
      if (const void* message = methods->GetRecvMessage())
        // Every message of these services is one of protobuf's, whose classes have a single chain of bases.
        counters_.received_bytes += static_cast<const google::protobuf::MessageLite*>(message)->ByteSizeLong();
    if (is_server_ && methods->QueryInterceptionHookPoint(Hook::PRE_SEND_STATUS))
      End(methods->GetSendStatus().error_code());
    if (!is_server_ && methods->QueryInterceptionHookPoint(Hook::POST_RECV_STATUS))
      if (const grpc::Status* status = methods->GetRecvStatus()) End(status->error_code());
    methods->Proceed();
  }

 private:
  void End(int code) {
    if (std::exchange(has_ended_, true)) return;
    ++counters_.ended[code >= 0 && code < kCodes ? code : static_cast<int>(grpc::StatusCode::UNKNOWN)];
  }

  const bool is_server_;
  Counters& counters_;
  bool has_ended_ = false;
};

class ServerCounters final : public grpc::experimental::ServerInterceptorFactoryInterface {
 public:
  grpc::experimental::Interceptor* CreateServerInterceptor(grpc::experimental::ServerRpcInfo* info) override {
    return absl::StartsWith(info->method(), kOurs) ? new Counter(true, info->method()) : nullptr;
  }
};

class ClientCounters final : public grpc::experimental::ClientInterceptorFactoryInterface {
 public:
  grpc::experimental::Interceptor* CreateClientInterceptor(grpc::experimental::ClientRpcInfo* info) override {
    return absl::StartsWith(info->method(), kOurs) ? new Counter(false, info->method()) : nullptr;
  }
};

}  // namespace

std::vector<CallCounts> CountedCalls() { return Calls().Read(); }

void CountCallsOf(grpc::ServerBuilder& builder) {
  std::vector<std::unique_ptr<grpc::experimental::ServerInterceptorFactoryInterface>> creators;
  creators.push_back(std::make_unique<ServerCounters>());
  builder.experimental().SetInterceptorCreators(std::move(creators));
}

std::vector<std::unique_ptr<grpc::experimental::ClientInterceptorFactoryInterface>> CallCounters() {
  std::vector<std::unique_ptr<grpc::experimental::ClientInterceptorFactoryInterface>> creators;
  creators.push_back(std::make_unique<ClientCounters>());
  return creators;
}

}  // namespace flowawr
