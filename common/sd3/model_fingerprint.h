// What tells one model from another: the learner resumes only on the one that it began with, and takes only actors that
// have the same.
#pragma once

#include <ATen/core/Tensor.h>

#include <map>
#include <string>

#include "absl/base/call_once.h"
#include "absl/strings/string_view.h"

namespace flowawr {

// Computed when it is asked for and not before: five gigabytes take seconds, and sampling needs none of it.
// Thread-safe.
class ModelFingerprint {
 public:
  // `config` is the canonical text of the model's configuration. `tensors`, as stored, must not be written to; views of
  // a mapped file are let go of once the fingerprint is known.
  ModelFingerprint(std::string config, std::map<std::string, at::Tensor> tensors);

  // Hex SHA-256 over the configuration and, for every tensor in the order of names, its name, type, shape and the
  // SHA-256 of each 4 MiB of its bytes. These are hashed on several threads.
  const std::string& Hex() const;

 private:
  const std::string config_;
  mutable std::map<std::string, at::Tensor> tensors_;
  mutable absl::once_flag once_;
  mutable std::string hex_;
};

}  // namespace flowawr
