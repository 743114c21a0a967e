#include "common/base/device_list.h"

#include <algorithm>
#include <cstddef>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/string_view.h"

namespace flowawr {
namespace {

constexpr size_t kMostNamedInARow = 8;

// "cuda:1 (NVIDIA H100)" in its parts; a name without a number, as cpu, has no row.
struct Parts {
  absl::string_view name;  // with the number
  absl::string_view type, rest;
  int number = -1;
};

Parts PartsOf(absl::string_view device) {
  const size_t colon = device.find(':');
  if (colon == absl::string_view::npos) return {.name = device};
  const absl::string_view after = device.substr(colon + 1);
  const auto end = std::find_if_not(after.begin(), after.end(), absl::ascii_isdigit);
  const auto digits = static_cast<size_t>(end - after.begin());
  Parts parts{.name = device.substr(0, colon + 1 + digits),
              .type = device.substr(0, colon),
              .rest = after.substr(digits)};
  if (!absl::SimpleAtoi(after.substr(0, digits), &parts.number)) parts.number = -1;
  return parts;
}

// How many from `begin` on follow each other.
size_t LengthOfRow(const std::vector<std::string>& devices, size_t begin) {
  const Parts first = PartsOf(devices[begin]);
  size_t length = 1;
  for (; first.number >= 0 && begin + length < devices.size(); ++length) {
    const Parts next = PartsOf(devices[begin + length]);
    const bool follows = next.number == first.number + static_cast<int>(length);
    if (!follows || next.type != first.type || next.rest != first.rest) break;
  }
  return length;
}

}  // namespace

std::string DeviceListText(const std::vector<std::string>& devices) {
  std::vector<std::string> texts;
  for (size_t begin = 0; begin < devices.size();) {
    const size_t end = begin + LengthOfRow(devices, begin);
    if (end - begin > kMostNamedInARow)
      texts.push_back(absl::StrCat(PartsOf(devices[begin]).name, " to ", devices[end - 1]));
    else
      texts.insert(texts.end(), devices.begin() + static_cast<std::ptrdiff_t>(begin),
                   devices.begin() + static_cast<std::ptrdiff_t>(end));
    begin = end;
  }
  return absl::StrJoin(texts, ", ");
}

}  // namespace flowawr
