// Binds the tensors of a weights file by name, and reports everything that does not fit in one error.
#pragma once

#include <ATen/core/Tensor.h>

#include <map>
#include <set>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace flowawr {

// Not thread-safe; lives while a model is loaded.
class WeightBinder {
 public:
  // `file` is named in errors. Tensors are converted to `dtype` when taken.
  WeightBinder(std::map<std::string, at::Tensor> tensors, at::ScalarType dtype, std::string file);

  // Reads `folder`/`stem`.safetensors, or the shards that `stem`.safetensors.index.json lists.
  static absl::StatusOr<WeightBinder> Open(const std::string& folder, const std::string& stem, at::ScalarType dtype);

  // The tensor called `name`. Missing, mis-shaped or not floating-point: an undefined tensor, and a line in Finish().
  at::Tensor Take(const std::string& name, at::IntArrayRef shape);

  // Takes no offence at a tensor called `name`.
  void Ignore(const std::string& name) { taken_.insert(name); }

  // Adds a complaint about a tensor to Finish()'s error.
  void Refuse(const std::string& name, const std::string& complaint);

  bool Has(const std::string& name) const { return tensors_.contains(name); }
  const std::map<std::string, at::Tensor>& tensors() const { return tensors_; }

  // InvalidArgument that lists all complaints, and the tensors that nobody took.
  absl::Status Finish() const;

 private:
  std::map<std::string, at::Tensor> tensors_;
  at::ScalarType dtype_;
  std::string file_;
  std::set<std::string> taken_;
  std::vector<std::string> complaints_;
};

}  // namespace flowawr
