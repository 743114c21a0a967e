// Reads the config.json of a diffusers model field by field and refuses what it was not asked about.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace flowawr {

// Getters return the default for a field that is absent or null, and remember a wrong type for Finish().
class ModelConfigReader {
 public:
  // `class_name` is what a `_class_name` field must say.
  static absl::StatusOr<ModelConfigReader> Parse(absl::string_view json, const std::string& class_name,
                                                 std::string name_for_errors);

  int64_t Int(const std::string& field, int64_t fallback);
  double Double(const std::string& field, double fallback);
  bool Bool(const std::string& field, bool fallback);
  std::string String(const std::string& field, const std::string& fallback);
  std::vector<int64_t> Ints(const std::string& field, std::vector<int64_t> fallback);
  std::vector<std::string> Strings(const std::string& field);

  // The field changes nothing in what we compute.
  void Ignore(const std::string& field) { known_.insert(field); }
  // Adds `complaint` to Finish()'s error unless `holds`.
  void Require(bool holds, const std::string& complaint);

  // InvalidArgument that lists every complaint and every field that was neither read, nor ignored, nor null. Names that
  // begin with `_` are notes.
  absl::Status Finish() const;

 private:
  const nlohmann::json* Find(const std::string& field);
  void WrongType(const std::string& field, absl::string_view expected);

  nlohmann::json json_;
  std::string name_;
  std::set<std::string> known_;
  std::vector<std::string> complaints_;
};

}  // namespace flowawr
