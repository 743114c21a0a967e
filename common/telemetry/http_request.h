// Reading what an HTTP client sends, and writing the head of an answer. Pure.
#pragma once

#include <optional>
#include <string>

#include "absl/strings/string_view.h"
#include "common/telemetry/http_server.h"

namespace flowawr {

struct ParsedHttpRequest {
  HttpRequest request;
  bool is_head = false;
  bool takes_gzip = false;
  std::string token;          // of "Authorization", empty: none
  std::string host;           // of "Host", without its port
  std::optional<HttpResponse> refusal;  // the answer to a request that is no good; then nothing else counts
};

// `head`: the request up to and with its empty line.
ParsedHttpRequest ParseHttpRequest(absl::string_view head);

// Whether `host` names this machine by an address or as localhost, or names nothing.
bool IsNoOtherName(absl::string_view host);

// The answer as it goes out, its body compressed if `request` takes that and it is worth it.
std::string FormatHttpResponse(const HttpResponse& response, const ParsedHttpRequest& request);

}  // namespace flowawr
