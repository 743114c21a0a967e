#include "learner/ranks/tensor_heads.h"

#include <limits>
#include <nlohmann/json.hpp>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"

namespace flowawr {
namespace {

constexpr c10::ScalarType kTypes[] = {c10::ScalarType::Float, c10::ScalarType::Double, c10::ScalarType::Long,
                                      c10::ScalarType::Byte};
constexpr size_t kMostDims = 8;

absl::Status Refused(const std::string& why) {
  return absl::InvalidArgumentError(absl::StrCat("a rank's message: ", why));
}

bool IsKnown(int64_t dtype) {
  for (const c10::ScalarType known : kTypes)
    if (static_cast<int64_t>(known) == dtype) return true;
  return false;
}

// -1: more than `most`.
int64_t BytesWithin(const std::vector<int64_t>& dims, int64_t element, int64_t most) {
  int64_t bytes = element;
  for (const int64_t dim : dims) {
    if (dim < 0 || (dim > 0 && bytes > most / dim)) return -1;
    bytes *= dim;
  }
  return bytes <= most ? bytes : -1;
}

}  // namespace

int64_t TensorHead::bytes() const {
  return BytesWithin(dims, static_cast<int64_t>(c10::elementSize(dtype)), std::numeric_limits<int64_t>::max());
}

std::string SerializeHeads(const std::vector<TensorHead>& heads) {
  nlohmann::json json = nlohmann::json::array();
  for (const TensorHead& head : heads)
    json.push_back({head.name, static_cast<int64_t>(head.dtype), head.dims, head.is_vector, head.is_by_device});
  return json.dump();
}

absl::StatusOr<std::vector<TensorHead>> ParseHeads(const std::string& text, int64_t most_bytes) {
  std::vector<TensorHead> heads;
  std::set<std::string> names;
  try {
    for (const nlohmann::json& entry : nlohmann::json::parse(text)) {
      const int64_t dtype = entry.at(1);
      if (!IsKnown(dtype)) return Refused(absl::StrCat("no tensor's type is ", dtype));
      TensorHead head{.name = entry.at(0),
                      .dtype = static_cast<c10::ScalarType>(dtype),
                      .dims = entry.at(2),
                      .is_vector = entry.at(3),
                      .is_by_device = entry.at(4)};
      if (head.dims.size() > kMostDims) return Refused(absl::StrCat(head.name, " has ", head.dims.size(), " dimensions"));
      const int64_t bytes = BytesWithin(head.dims, static_cast<int64_t>(c10::elementSize(head.dtype)), most_bytes);
      if (bytes < 0) return Refused(absl::StrCat(head.name, " is larger than what may come"));
      most_bytes -= bytes;
      if (!names.insert(head.name).second) return Refused(absl::StrCat(head.name, " comes twice"));
      if (head.is_vector && (head.dtype != c10::ScalarType::Float || head.dims.size() != 1))
        return Refused(absl::StrCat(head.name, " is no vector"));
      if (head.is_by_device && !head.is_vector) return Refused(absl::StrCat(head.name, " is none that devices exchange"));
      heads.push_back(std::move(head));
    }
  } catch (const nlohmann::json::exception& error) {
    return Refused(error.what());
  }
  return heads;
}

}  // namespace flowawr
