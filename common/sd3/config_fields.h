// Reads the config.json of a transformers model or of a scheduler field by field.
#pragma once

#include <cstdint>
#include <limits>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace flowawr {

// Getters return the fallback for a field that is absent or null, and note what is wrong for Finish(). Fields that
// nobody asks for are ignored: such files carry many that concern training or generation alone.
class ConfigFields {
 public:
  static absl::StatusOr<ConfigFields> Load(const std::string& path);

  int64_t Int(const char* field, int64_t fallback, int64_t min = 1, int64_t max = int64_t{1} << 24);
  double Number(const char* field, double fallback, double min = std::numeric_limits<double>::lowest());
  std::string String(const char* field, const std::string& fallback);

  // The field must be absent, null or false: other values ask for something that this code does not do.
  void MustBeOff(const char* field);
  void Require(bool holds, absl::string_view complaint);

  // InvalidArgument with every complaint.
  absl::Status Finish() const;

 private:
  const nlohmann::json* Find(const char* field) const;

  std::string path_;
  nlohmann::json json_;
  std::vector<std::string> complaints_;
};

}  // namespace flowawr
