#include "common/base/host_port.h"

#include <arpa/inet.h>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"

namespace flowawr {

bool HostPort::is_loopback() const {
  if (absl::EqualsIgnoreCase(host, "localhost")) return true;
  in_addr v4;
  if (inet_pton(AF_INET, host.c_str(), &v4) == 1) return (ntohl(v4.s_addr) >> 24) == 127;
  in6_addr v6;
  return inet_pton(AF_INET6, host.c_str(), &v6) == 1 && IN6_IS_ADDR_LOOPBACK(&v6);
}

std::string HostPort::ToString() const {
  return absl::StrContains(host, ':') ? absl::StrCat("[", host, "]:", port) : absl::StrCat(host, ":", port);
}

absl::StatusOr<HostPort> ParseHostPort(absl::string_view text) {
  const auto error = [text](absl::string_view problem) {
    return absl::InvalidArgumentError(absl::StrCat("\"", text, "\" is not an address (", problem,
                                                   "); write host:port, e.g. 127.0.0.1:50051 or [::1]:50051"));
  };
  const size_t colon = text.rfind(':');
  if (colon == absl::string_view::npos) return error("the port is missing");
  absl::string_view host = text.substr(0, colon);
  const bool is_bracketed = absl::StartsWith(host, "[") && absl::EndsWith(host, "]");
  if (is_bracketed) host = host.substr(1, host.size() - 2);
  if (host.empty()) return error("the host is missing");
  if (!is_bracketed && absl::StrContains(host, ':')) return error("an IPv6 host needs brackets");
  if (host.find_first_of(" /[]\t") != absl::string_view::npos) return error("the host is malformed");
  HostPort result{std::string(host), 0};
  if (!absl::SimpleAtoi(text.substr(colon + 1), &result.port) || result.port < 0 || result.port > 65535)
    return error("the port is not a number from 0 to 65535");
  return result;
}

}  // namespace flowawr
