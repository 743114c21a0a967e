#include "common/sd3/model_config.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

namespace flowawr {

absl::StatusOr<ModelConfigReader> ModelConfigReader::Parse(absl::string_view json, const std::string& class_name,
                                                           std::string name_for_errors) {
  ModelConfigReader reader;
  reader.name_ = std::move(name_for_errors);
  reader.json_ = nlohmann::json::parse(json.begin(), json.end(), nullptr, /*allow_exceptions=*/false);
  if (!reader.json_.is_object()) {
    return absl::InvalidArgumentError(absl::StrCat(reader.name_, ": not a JSON object"));
  }
  const std::string found = reader.String("_class_name", class_name);
  reader.Require(found == class_name, absl::StrCat("_class_name is ", found, ", expected ", class_name));
  return reader;
}

const nlohmann::json* ModelConfigReader::Find(const std::string& field) {
  known_.insert(field);
  const auto found = json_.find(field);
  return found == json_.end() || found->is_null() ? nullptr : &*found;
}

void ModelConfigReader::WrongType(const std::string& field, absl::string_view expected) {
  complaints_.push_back(absl::StrCat(field, " is ", json_[field].dump(), ", expected ", expected));
}

int64_t ModelConfigReader::Int(const std::string& field, int64_t fallback) {
  const nlohmann::json* value = Find(field);
  if (value == nullptr) return fallback;
  // The bound keeps products of a few sizes within 64 bits.
  if (value->is_number_integer() && *value >= 0 && *value <= (int64_t{1} << 20)) return value->get<int64_t>();
  WrongType(field, "an integer from 0 to 1048576");
  return fallback;
}

double ModelConfigReader::Double(const std::string& field, double fallback) {
  const nlohmann::json* value = Find(field);
  if (value == nullptr) return fallback;
  if (value->is_number()) return value->get<double>();
  WrongType(field, "a number");
  return fallback;
}

bool ModelConfigReader::Bool(const std::string& field, bool fallback) {
  const nlohmann::json* value = Find(field);
  if (value == nullptr) return fallback;
  if (value->is_boolean()) return value->get<bool>();
  WrongType(field, "true or false");
  return fallback;
}

std::string ModelConfigReader::String(const std::string& field, const std::string& fallback) {
  const nlohmann::json* value = Find(field);
  if (value == nullptr) return fallback;
  if (value->is_string()) return value->get<std::string>();
  WrongType(field, "a string");
  return fallback;
}

std::vector<int64_t> ModelConfigReader::Ints(const std::string& field, std::vector<int64_t> fallback) {
  const nlohmann::json* value = Find(field);
  if (value == nullptr) return fallback;
  const auto is_size = [](const nlohmann::json& item) {
    return item.is_number_integer() && item >= 0 && item <= (int64_t{1} << 20);
  };
  if (value->is_array() && std::all_of(value->begin(), value->end(), is_size)) {
    return value->get<std::vector<int64_t>>();
  }
  WrongType(field, "a list of integers");
  return fallback;
}

std::vector<std::string> ModelConfigReader::Strings(const std::string& field) {
  const nlohmann::json* value = Find(field);
  if (value == nullptr) return {};
  if (value->is_array() && std::all_of(value->begin(), value->end(), [](const auto& item) { return item.is_string(); })) {
    return value->get<std::vector<std::string>>();
  }
  WrongType(field, "a list of strings");
  return {};
}

void ModelConfigReader::Require(bool holds, const std::string& complaint) {
  if (!holds) complaints_.push_back(complaint);
}

absl::Status ModelConfigReader::Finish() const {
  std::vector<std::string> lines = complaints_;
  for (const auto& [field, value] : json_.items()) {
    if (known_.contains(field) || value.is_null() || field.starts_with('_')) continue;
    lines.push_back(absl::StrCat("field \"", field, "\" is not known here and might change the result"));
  }
  if (lines.empty()) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(name_, ": ", absl::StrJoin(lines, "; ")));
}

}  // namespace flowawr
