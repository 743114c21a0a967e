#include "common/sd3/config_fields.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/base/file.h"
#include "common/base/status.h"
#include "common/tensor/strict_json.h"

namespace flowawr {
namespace {

bool IsIntWithin(const nlohmann::json& value, int64_t min, int64_t max) {
  if (!value.is_number_integer() || (value.is_number_unsigned() && value.get<uint64_t>() > INT64_MAX)) return false;
  return value.get<int64_t>() >= min && value.get<int64_t>() <= max;
}

bool IsString(const nlohmann::json& value) { return value.is_string(); }

}  // namespace

absl::StatusOr<ConfigFields> ConfigFields::Load(const std::string& path) {
  FLOWAWR_ASSIGN_OR_RETURN(const std::string text, ReadFile(path, size_t{64} << 20));
  return Parse(text, path);
}

absl::StatusOr<ConfigFields> ConfigFields::Parse(absl::string_view text, const std::string& name_for_errors) {
  ConfigFields fields;
  FLOWAWR_ASSIGN_OR_RETURN(fields.json_, ParseStrictJson(text, name_for_errors));
  if (!fields.json_.is_object())
    return absl::InvalidArgumentError(absl::StrCat(name_for_errors, ": expected an object"));
  fields.name_ = name_for_errors;
  return fields;
}

const nlohmann::json* ConfigFields::Find(const std::string& field) {
  known_.insert(field);
  const auto found = json_.find(field);
  return found == json_.end() || found->is_null() ? nullptr : &*found;
}

void ConfigFields::WrongType(const std::string& field, absl::string_view expected) {
  complaints_.push_back(absl::StrCat(field, " must be ", expected, "; it is ", json_[field].dump()));
}

int64_t ConfigFields::Int(const std::string& field, int64_t fallback, int64_t min, int64_t max) {
  const nlohmann::json* value = Find(field);
  if (value == nullptr) return fallback;
  if (IsIntWithin(*value, min, max)) return value->get<int64_t>();
  WrongType(field, absl::StrCat("a whole number from ", min, " to ", max));
  return fallback;
}

double ConfigFields::Number(const std::string& field, double fallback, double min) {
  const nlohmann::json* value = Find(field);
  if (value == nullptr) return fallback;
  if (value->is_number() && value->get<double>() >= min) return value->get<double>();
  WrongType(field, min > -1e300 ? absl::StrCat("a number from ", min) : "a number");
  return fallback;
}

bool ConfigFields::Bool(const std::string& field, bool fallback) {
  const nlohmann::json* value = Find(field);
  if (value == nullptr) return fallback;
  if (value->is_boolean()) return value->get<bool>();
  WrongType(field, "true or false");
  return fallback;
}

std::string ConfigFields::String(const std::string& field, const std::string& fallback) {
  const nlohmann::json* value = Find(field);
  if (value == nullptr) return fallback;
  if (value->is_string()) return value->get<std::string>();
  WrongType(field, "a string");
  return fallback;
}

std::vector<int64_t> ConfigFields::Ints(const std::string& field, std::vector<int64_t> fallback) {
  const nlohmann::json* value = Find(field);
  if (value == nullptr) return fallback;
  const auto is_size = [](const nlohmann::json& item) { return IsIntWithin(item, 0, kMostInt); };
  if (value->is_array() && std::all_of(value->begin(), value->end(), is_size))
    return value->get<std::vector<int64_t>>();
  WrongType(field, absl::StrCat("a list of whole numbers from 0 to ", kMostInt));
  return fallback;
}

std::vector<std::string> ConfigFields::Strings(const std::string& field) {
  const nlohmann::json* value = Find(field);
  if (value == nullptr) return {};
  if (value->is_array() && std::all_of(value->begin(), value->end(), IsString))
    return value->get<std::vector<std::string>>();
  WrongType(field, "a list of strings");
  return {};
}

void ConfigFields::MustBeOff(const std::string& field) {
  const nlohmann::json* value = Find(field);
  Require(value == nullptr || *value == false, absl::StrCat(field, " is set; it is not supported"));
}

void ConfigFields::Require(bool holds, absl::string_view complaint) {
  if (!holds) complaints_.push_back(std::string(complaint));
}

void ConfigFields::RequireClass(const std::string& class_name, bool may_be_absent) {
  const std::string found = String("_class_name", may_be_absent ? class_name : "");
  Require(found == class_name, absl::StrCat("_class_name is \"", found, "\", expected ", class_name));
}

void ConfigFields::RefuseUnknown() {
  for (const auto& [field, value] : json_.items())
    Require(known_.contains(field) || value.is_null() || field.starts_with('_'),
            absl::StrCat("field \"", field, "\" is not known here and might change the result"));
}

absl::Status ConfigFields::Finish() const {
  if (complaints_.empty()) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(name_, ": ", absl::StrJoin(complaints_, "; ")));
}

}  // namespace flowawr
