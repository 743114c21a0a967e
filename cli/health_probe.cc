#include "cli/health_probe.h"

#include <curl/curl.h>

#include <memory>

#include "absl/strings/str_cat.h"
#include "common/base/host_port.h"
#include "common/base/status.h"
#include "common/rpc/channel.h"
#include "common/rpc/peer.h"
#include "common/rpc/status.h"
#include "common/rpc/tls_check.h"
#include "common/rpc/token.h"
#include "common/rpc/token_travel.h"
#include "google/protobuf/wrappers.pb.h"
#include "grpcpp/completion_queue.h"
#include "grpcpp/generic/generic_stub.h"
#include "grpcpp/impl/codegen/proto_utils.h"

namespace flowawr {
namespace {

constexpr char kCheck[] = "/grpc.health.v1.Health/Check";
constexpr int kServing = 1;  // of grpc.health.v1.HealthCheckResponse.ServingStatus

absl::Status Silent(const std::string& address, absl::string_view why) {
  return absl::UnavailableError(absl::StrCat(address, " does not answer: ", why));
}

// Of a token that opens /metrics, the one that may do least; empty: none.
const std::string& LookersTokenFile(const v1::NetworkConfig& network) {
  for (const std::string* file : {&network.read_only_token_file(), &network.operator_token_file()})
    if (!file->empty()) return *file;
  return network.token_file();
}

size_t Discard(char*, size_t size, size_t count, void*) { return size * count; }

}  // namespace

absl::Status ProbeHealth(const Endpoint& endpoint, const std::string& service, const v1::NetworkConfig& network,
                         absl::Duration limit) {
  FLOWAWR_ASSIGN_OR_RETURN(const auto channel, MakeChannel(endpoint.address, network));
  const std::unique_ptr<grpc::ClientContext> context = MakeContext(limit, network);
  MeantFor(endpoint.identity, context.get());
  // Wrappers have the fields, and so the bytes, of HealthCheckRequest and HealthCheckResponse: one of number 1.
  grpc::TemplatedGenericStub<google::protobuf::StringValue, google::protobuf::Int32Value> stub(channel);
  google::protobuf::StringValue request;
  request.set_value(service);
  google::protobuf::Int32Value response;
  grpc::Status answer;
  grpc::CompletionQueue queue;
  const auto call = stub.PrepareUnaryCall(context.get(), kCheck, request, &queue);
  call->StartCall();
  call->Finish(&response, &answer, nullptr);
  void* tag = nullptr;
  bool is_ok = false;
  queue.Next(&tag, &is_ok);
  const std::string what = service.empty() ? endpoint.address : absl::StrCat(service, " at ", endpoint.address);
  if (answer.ok()) {
    if (response.value() == kServing) return absl::OkStatus();
    return absl::UnavailableError(absl::StrCat(what, " does not serve now"));
  }
  if (answer.error_code() == grpc::StatusCode::NOT_FOUND)
    return absl::UnavailableError(absl::StrCat(endpoint.address, " has no ", service));
  const absl::Status error = FromGrpc(answer);
  if (IsAnotherPeer(error)) return absl::UnavailableError(absl::StrCat("another process answers at ", endpoint.address));
  if (absl::IsDeadlineExceeded(error))
    return Silent(endpoint.address, absl::StrCat("nothing within ", absl::FormatDuration(limit)));
  const absl::Status explained = ExplainFailure(error, endpoint.address, network);
  return absl::IsUnavailable(explained) ? Silent(endpoint.address, explained.message())
                                        : Annotate(explained, endpoint.address);
}

absl::Status ProbeMetrics(const std::string& address, const v1::NetworkConfig& network, absl::Duration limit) {
  FLOWAWR_ASSIGN_OR_RETURN(const HostPort host_port, ParseHostPort(address));
  std::string authorization;
  if (const std::string& token_file = LookersTokenFile(network); !token_file.empty()) {
    FLOWAWR_RETURN_IF_ERROR(MaySendToken(host_port, network.metrics_tls(), network.insecure(), "network.metrics_tls"));
    FLOWAWR_ASSIGN_OR_RETURN(const std::string token, ReadToken(token_file));
    authorization = absl::StrCat("Authorization: Bearer ", token);
  }
  const std::unique_ptr<CURL, void (*)(CURL*)> easy(curl_easy_init(), curl_easy_cleanup);
  if (easy == nullptr) return absl::InternalError("libcurl does not start");
  const std::unique_ptr<curl_slist, void (*)(curl_slist*)> headers(
      authorization.empty() ? nullptr : curl_slist_append(nullptr, authorization.c_str()), curl_slist_free_all);
  const std::string url =
      absl::StrCat(network.metrics_tls() ? "https://" : "http://", host_port.ToString(), "/metrics");
  char problem[CURL_ERROR_SIZE] = "";
  CURL* const call = easy.get();
  curl_easy_setopt(call, CURLOPT_URL, url.c_str());
  curl_easy_setopt(call, CURLOPT_HTTPHEADER, headers.get());
  curl_easy_setopt(call, CURLOPT_TIMEOUT_MS, static_cast<long>(absl::ToInt64Milliseconds(limit)));
  curl_easy_setopt(call, CURLOPT_NOSIGNAL, 1L);
  curl_easy_setopt(call, CURLOPT_PROXY, "");
  curl_easy_setopt(call, CURLOPT_WRITEFUNCTION, Discard);
  curl_easy_setopt(call, CURLOPT_ERRORBUFFER, problem);
  if (!network.tls_ca().empty()) curl_easy_setopt(call, CURLOPT_CAINFO, network.tls_ca().c_str());
  const CURLcode done = curl_easy_perform(call);
  if (done == CURLE_PEER_FAILED_VERIFICATION || done == CURLE_SSL_CACERT_BADFILE)
    return absl::PermissionDeniedError(
        absl::StrCat(address, ": ", problem, "; set network.tls_ca to the authority of that server's certificate"));
  if (done != CURLE_OK) return Silent(address, problem[0] != '\0' ? problem : curl_easy_strerror(done));
  long code = 0;
  curl_easy_getinfo(call, CURLINFO_RESPONSE_CODE, &code);
  if (code == 200) return absl::OkStatus();
  if (code == 401 || code == 403)
    return absl::UnauthenticatedError(
        absl::StrCat(address, " refuses the token; use the network.read_only_token_file of that process"));
  return absl::UnavailableError(absl::StrCat(address, " answers /metrics with ", code));
}

}  // namespace flowawr
