#include "common/sd3/config_fields.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/base/status.h"
#include "common/tensor/strict_json.h"

namespace flowawr {

absl::StatusOr<ConfigFields> ConfigFields::Load(const std::string& path) {
  ConfigFields fields;
  FLOWAWR_ASSIGN_OR_RETURN(fields.json_, ReadStrictJson(path));
  if (!fields.json_.is_object()) return absl::InvalidArgumentError(absl::StrCat(path, ": expected an object"));
  fields.path_ = path;
  return fields;
}

const nlohmann::json* ConfigFields::Find(const char* field) const {
  const auto found = json_.find(field);
  return found == json_.end() || found->is_null() ? nullptr : &*found;
}

int64_t ConfigFields::Int(const char* field, int64_t fallback, int64_t min, int64_t max) {
  const nlohmann::json* value = Find(field);
  if (value == nullptr) return fallback;
  const bool is_int =
      value->is_number_integer() && !(value->is_number_unsigned() && value->get<uint64_t>() > INT64_MAX);
  if (is_int && value->get<int64_t>() >= min && value->get<int64_t>() <= max) return value->get<int64_t>();
  complaints_.push_back(absl::StrCat(field, " must be a whole number from ", min, " to ", max));
  return fallback;
}

double ConfigFields::Number(const char* field, double fallback, double min) {
  const nlohmann::json* value = Find(field);
  if (value == nullptr) return fallback;
  if (value->is_number() && value->get<double>() >= min) return value->get<double>();
  complaints_.push_back(absl::StrCat(field, " must be a number", min > -1e300 ? absl::StrCat(" from ", min) : ""));
  return fallback;
}

std::string ConfigFields::String(const char* field, const std::string& fallback) {
  const nlohmann::json* value = Find(field);
  if (value == nullptr) return fallback;
  if (value->is_string()) return value->get<std::string>();
  complaints_.push_back(absl::StrCat(field, " must be a string"));
  return fallback;
}

void ConfigFields::MustBeOff(const char* field) {
  const nlohmann::json* value = Find(field);
  Require(value == nullptr || *value == false, absl::StrCat(field, " is set; it is not supported"));
}

void ConfigFields::Require(bool holds, absl::string_view complaint) {
  if (!holds) complaints_.push_back(std::string(complaint));
}

absl::Status ConfigFields::Finish() const {
  if (complaints_.empty()) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(path_, ": ", absl::StrJoin(complaints_, "; ")));
}

}  // namespace flowawr
