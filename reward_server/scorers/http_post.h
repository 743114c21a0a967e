// HTTP POST of JSON by libcurl, over a connection that is kept for the next one.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "common/base/keep_going.h"

namespace flowawr {

struct HttpAnswer {
  int code = 0;
  std::string body;
  std::optional<absl::Duration> retry_after;  // what the header of that name says, in either form
};

// Not thread-safe: one thread at a time.
class HttpPoster {
 public:
  HttpPoster();
  ~HttpPoster();
  HttpPoster(const HttpPoster&) = delete;
  HttpPoster& operator=(const HttpPoster&) = delete;

  // The answer, whatever its code; redirects are not followed: they would carry the key elsewhere. `headers` as
  // "Name: value". Unavailable when there is no connection or it breaks; DeadlineExceeded after `timeout`;
  // ResourceExhausted for an answer above 4 MiB; what `keep_going` says, which is asked ten times a second.
  absl::StatusOr<HttpAnswer> Post(const std::string& url, const std::vector<std::string>& headers,
                                  const std::string& body, absl::Duration timeout, KeepGoing keep_going);

 private:
  struct Handles;
  const std::unique_ptr<Handles> handles_;
};

}  // namespace flowawr
