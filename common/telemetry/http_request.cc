#include "common/telemetry/http_request.h"

#include <arpa/inet.h>
#include <isa-l/igzip_lib.h>

#include <algorithm>
#include <utility>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"

namespace flowawr {
namespace {

constexpr size_t kWorthCompressing = 512;

int DigitOf(char letter) {
  if (letter >= '0' && letter <= '9') return letter - '0';
  const char lower = absl::ascii_tolower(static_cast<unsigned char>(letter));
  return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}

// %41 is A; in a query + is a space. Nullopt: not well written.
std::optional<std::string> Decode(absl::string_view text, bool is_query) {
  std::string decoded;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '+' && is_query) {
      decoded += ' ';
    } else if (text[i] != '%') {
      decoded += text[i];
    } else {
      const int high = i + 2 < text.size() ? DigitOf(text[i + 1]) : -1, low = high < 0 ? -1 : DigitOf(text[i + 2]);
      if (low < 0) return std::nullopt;
      decoded += static_cast<char>(high * 16 + low);
      i += 2;
    }
  }
  return decoded;
}

// False: the target is no good.
bool ReadTarget(absl::string_view target, HttpRequest* request) {
  const std::pair<absl::string_view, absl::string_view> parts = absl::StrSplit(target, absl::MaxSplits('?', 1));
  std::optional<std::string> path = Decode(parts.first, false);
  if (!path || !absl::StartsWith(*path, "/") || absl::StrContains(*path, '\0')) return false;
  request->path = *std::move(path);
  for (const absl::string_view entry : absl::StrSplit(parts.second, '&', absl::SkipEmpty())) {
    const std::pair<absl::string_view, absl::string_view> pair = absl::StrSplit(entry, absl::MaxSplits('=', 1));
    std::optional<std::string> name = Decode(pair.first, true), value = Decode(pair.second, true);
    if (!name || !value) return false;
    request->query.emplace_back(*std::move(name), *std::move(value));
  }
  return true;
}

std::string TokenOf(absl::string_view authorization) {
  const std::pair<absl::string_view, absl::string_view> parts = absl::StrSplit(authorization, absl::MaxSplits(' ', 1));
  const absl::string_view value = absl::StripAsciiWhitespace(parts.second);
  if (absl::EqualsIgnoreCase(parts.first, "bearer")) return std::string(value);
  std::string user_and_password;
  if (!absl::EqualsIgnoreCase(parts.first, "basic") || !absl::Base64Unescape(value, &user_and_password)) return "";
  const size_t colon = user_and_password.find(':');
  return colon == std::string::npos ? "" : user_and_password.substr(colon + 1);
}

std::string HostOf(absl::string_view value) {
  if (absl::ConsumePrefix(&value, "[")) return std::string(value.substr(0, value.find(']')));
  return std::string(value.substr(0, value.find(':')));
}

// "gzip, br" and "gzip;q=0.5" yes, "gzip;q=0" no.
bool TakesGzip(absl::string_view value) {
  for (const absl::string_view each : absl::StrSplit(value, ',')) {
    const std::vector<absl::string_view> parts = absl::StrSplit(each, ';');
    if (!absl::EqualsIgnoreCase(absl::StripAsciiWhitespace(parts[0]), "gzip")) continue;
    double quality = 1;
    for (size_t i = 1; i < parts.size(); ++i) {
      absl::string_view parameter = absl::StripAsciiWhitespace(parts[i]);
      if (absl::ConsumePrefix(&parameter, "q=") && !absl::SimpleAtod(parameter, &quality)) return false;
    }
    return quality > 0;
  }
  return false;
}

ParsedHttpRequest Refused(int code, std::string why) {
  ParsedHttpRequest parsed;
  parsed.refusal = {.code = code, .body = absl::StrCat(why, "\n")};
  return parsed;
}

const char* ReasonOf(int code) {
  switch (code) {
    case 200: return "OK";
    case 302: return "Found";
    case 400: return "Bad Request";
    case 401: return "Unauthorized";
    case 403: return "Forbidden";
    case 404: return "Not Found";
    case 405: return "Method Not Allowed";
    case 421: return "Misdirected Request";
    case 431: return "Request Header Fields Too Large";
    case 500: return "Internal Server Error";
    case 503: return "Service Unavailable";
    default: return "Status";
  }
}

// Empty when it cannot be had.
std::string Gzip(const std::string& text) {
  std::vector<uint8_t> work(ISAL_DEF_LVL1_DEFAULT);
  std::string packed(text.size() + text.size() / 1000 + 1024, '\0');
  isal_zstream stream;
  isal_deflate_stateless_init(&stream);
  stream.gzip_flag = IGZIP_GZIP;
  stream.level = 1;
  stream.level_buf = work.data();
  stream.level_buf_size = static_cast<uint32_t>(work.size());
  stream.end_of_stream = 1;
  stream.flush = NO_FLUSH;
  stream.next_in = const_cast<uint8_t*>(reinterpret_cast<const uint8_t*>(text.data()));
  stream.avail_in = static_cast<uint32_t>(text.size());
  stream.next_out = reinterpret_cast<uint8_t*>(packed.data());
  stream.avail_out = static_cast<uint32_t>(packed.size());
  if (isal_deflate_stateless(&stream) != COMP_OK) return "";
  packed.resize(stream.total_out);
  return packed;
}

}  // namespace

ParsedHttpRequest ParseHttpRequest(absl::string_view head) {
  std::vector<absl::string_view> lines = absl::StrSplit(head, '\n');
  const std::vector<absl::string_view> words = absl::StrSplit(absl::StripAsciiWhitespace(lines[0]), ' ');
  if (words.size() != 3 || !absl::StartsWith(words[2], "HTTP/1.")) return Refused(400, "this is no HTTP/1 request");
  ParsedHttpRequest parsed;
  parsed.is_head = words[0] == "HEAD";
  if (words[0] != "GET" && !parsed.is_head) {
    ParsedHttpRequest refused = Refused(405, "pages here can be looked at (GET), and nothing else");
    refused.refusal->headers.emplace_back("Allow", "GET, HEAD");
    return refused;
  }
  if (!ReadTarget(words[1], &parsed.request)) return Refused(400, "the address is not well written");
  for (const auto& [name, value] : parsed.request.query)
    if (name == "token" || name == "access_token")
      return Refused(400, "a token in an address ends up in logs; send it as \"Authorization: Bearer TOKEN\"");
  for (size_t i = 1; i < lines.size(); ++i) {
    const std::pair<absl::string_view, absl::string_view> header = absl::StrSplit(lines[i], absl::MaxSplits(':', 1));
    const absl::string_view value = absl::StripAsciiWhitespace(header.second);
    if (absl::EqualsIgnoreCase(header.first, "authorization")) parsed.token = TokenOf(value);
    if (absl::EqualsIgnoreCase(header.first, "host")) parsed.host = HostOf(value);
    if (absl::EqualsIgnoreCase(header.first, "accept-encoding")) parsed.takes_gzip = TakesGzip(value);
  }
  return parsed;
}

bool IsNoOtherName(absl::string_view host) {
  if (host.empty() || absl::EqualsIgnoreCase(host, "localhost")) return true;
  in6_addr address;
  const std::string text(host);
  return inet_pton(AF_INET, text.c_str(), &address) == 1 || inet_pton(AF_INET6, text.c_str(), &address) == 1;
}

std::string FormatHttpResponse(const HttpResponse& response, const ParsedHttpRequest& request) {
  const bool can_shrink = response.body.size() >= kWorthCompressing && response.body.size() < (size_t{1} << 31) &&
                          !absl::StartsWith(response.content_type, "image/");
  const std::string packed = request.takes_gzip && can_shrink ? Gzip(response.body) : "";
  const std::string& body = packed.empty() ? response.body : packed;
  std::string text = absl::StrCat("HTTP/1.1 ", response.code, " ", ReasonOf(response.code),
                                  "\r\nContent-Type: ", response.content_type, "\r\nContent-Length: ", body.size(),
                                  "\r\nConnection: close\r\nVary: Accept-Encoding",
                                  "\r\nX-Content-Type-Options: nosniff\r\nReferrer-Policy: no-referrer\r\n");
  const bool says_how_long_to_keep = std::any_of(response.headers.begin(), response.headers.end(),
                                                 [](const auto& header) { return header.first == "Cache-Control"; });
  if (!says_how_long_to_keep) absl::StrAppend(&text, "Cache-Control: no-store\r\n");
  if (!packed.empty()) absl::StrAppend(&text, "Content-Encoding: gzip\r\n");
  for (const auto& [name, value] : response.headers) absl::StrAppend(&text, name, ": ", value, "\r\n");
  absl::StrAppend(&text, "\r\n");
  if (!request.is_head) absl::StrAppend(&text, body);
  return text;
}

}  // namespace flowawr
