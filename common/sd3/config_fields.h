// Reads the config.json of a model, or a scheduler's, field by field.
#pragma once

#include <cstdint>
#include <limits>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace flowawr {

// Getters return the fallback for a field that is absent or null, and note what is wrong for Finish().
class ConfigFields {
 public:
  static constexpr int64_t kMostInt = int64_t{1} << 20;  // keeps products of a few sizes within 64 bits

  // NotFound, or InvalidArgument when the file is not one JSON object.
  static absl::StatusOr<ConfigFields> Load(const std::string& path);
  static absl::StatusOr<ConfigFields> Parse(absl::string_view text, const std::string& name_for_errors);

  int64_t Int(const std::string& field, int64_t fallback, int64_t min = 1, int64_t max = kMostInt);
  double Number(const std::string& field, double fallback, double min = std::numeric_limits<double>::lowest());
  bool Bool(const std::string& field, bool fallback);
  std::string String(const std::string& field, const std::string& fallback);
  std::vector<int64_t> Ints(const std::string& field, std::vector<int64_t> fallback);  // each from 0 to kMostInt
  std::vector<std::string> Strings(const std::string& field);

  // The field must be absent, null or false: other values ask for something that this code does not do.
  void MustBeOff(const std::string& field);
  // The field changes nothing in what we compute.
  void Ignore(const std::string& field) { known_.insert(field); }
  void Require(bool holds, absl::string_view complaint);
  // The class that `_class_name` names. A file without the field passes if `may_be_absent`.
  void RequireClass(const std::string& class_name, bool may_be_absent);
  // The class that `architectures` of a transformers model names, and the `model_type`. Both may be absent.
  void RequireArchitecture(const std::string& class_name, const std::string& model_type);
  // Passes over the fields that any transformers configuration may have and that change nothing in what an encoder
  // computes: those of training, of generating text, of labels, and how the file was written.
  void IgnoreTransformersNotes();
  // Complains of fields that were neither read nor ignored: they might change the result. Not of null and of names that
  // begin with `_`, which are notes.
  void RefuseUnknown();

  // InvalidArgument with every complaint.
  absl::Status Finish() const;

 private:
  const nlohmann::json* Find(const std::string& field);
  void WrongType(const std::string& field, absl::string_view expected);

  std::string name_;
  nlohmann::json json_;
  std::set<std::string> known_;
  std::vector<std::string> complaints_;
};

}  // namespace flowawr
