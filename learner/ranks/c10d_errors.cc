#include "learner/ranks/c10d_errors.h"

#include <c10/util/Exception.h>

#include <exception>

#include "absl/strings/str_cat.h"
#include "common/base/clock.h"

namespace flowawr {
namespace {

// Without where in Gloo's source it was thrown and without its advice.
std::string Plain(std::string words) {
  words = words.substr(0, words.find(". This is typically"));
  const size_t place = words.starts_with('[') ? words.find("] ") : std::string::npos;
  return place == std::string::npos ? words : words.substr(place + 2);
}

}  // namespace

absl::Status WithoutExceptions(const std::string& what, absl::Duration limit, absl::FunctionRef<void()> call) {
  const absl::Time since = MonotonicNow();
  std::string words;
  try {
    call();
    return absl::OkStatus();
  } catch (const c10::Error& error) {
    words = error.what_without_backtrace();
  } catch (const std::exception& error) {
    words = error.what();
  }
  if (MonotonicNow() - since >= limit * 0.95)
    return absl::DeadlineExceededError(absl::StrCat(what, ": nothing for ", absl::FormatDuration(limit)));
  return absl::UnavailableError(absl::StrCat(what, ": ", Plain(words)));
}

}  // namespace flowawr
