#include "common/process/option_values.h"

#include <cmath>
#include <string>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "common/base/host_port.h"

namespace flowawr {
namespace {

// Checks by `problem_of`, which says what is wrong or nothing.
template <typename Problem>
CLI::Validator Named(const std::string& accepted, Problem problem_of) {
  return CLI::Validator([problem_of](std::string& text) -> std::string { return problem_of(text); }, accepted);
}

std::string Refuse(const std::string& text, const std::string& accepted) {
  return absl::StrCat("\"", text, "\" is not ", accepted);
}

}  // namespace

CLI::Validator WholeNumber(int64_t least, uint64_t most) {
  const std::string range = absl::StrCat(least, " to ", most);
  return Named(range, [=](std::string& text) {
    int64_t negative = 0;
    uint64_t number = 0;
    if (absl::SimpleAtoi(text, &number) && number <= most && (least < 0 || number >= static_cast<uint64_t>(least))) {
      text = absl::StrCat(number);
      return std::string();
    }
    if (absl::SimpleAtoi(text, &negative) && negative < 0 && negative >= least) {
      text = absl::StrCat(negative);
      return std::string();
    }
    return Refuse(text, absl::StrCat("a whole number from ", range));
  });
}

CLI::Validator Number(double least, double most) {
  const std::string range = absl::StrCat(least, " to ", most);
  return Named(range, [=](const std::string& text) {
    double number = 0;
    const bool is_in_range = absl::SimpleAtod(text, &number) && number >= least && number <= most;  // no NaN is
    return is_in_range ? std::string() : Refuse(text, absl::StrCat("a number from ", range));
  });
}

CLI::Validator AddressToListenOn() {
  return Named("", [](const std::string& text) { return std::string(ParseHostPort(text).status().message()); });
}

CLI::Validator AddressToReach() {
  return Named("", [](const std::string& text) {
    const absl::StatusOr<HostPort> address = ParseHostPort(text);
    if (address.ok() && address->port == 0)
      return Refuse(text, "an address to reach: its port must be from 1 to 65535");
    return std::string(address.status().message());
  });
}

}  // namespace flowawr
