// What was loaded or replaced while a server ran, kept in a file, so that the server that is started after it has it,
// too.
//
// A run may have been swapped to such scorers: without them every one of its groups would fail after a crash. A line of
// the file is a LoadScorerRequest as JSON. What the command line loads is not in it until it is replaced.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "flowawr/v1/reward.pb.h"

namespace flowawr {

// Thread-safe.
class ScorerMemory {
 public:
  // A file that is not there yet is empty. Lines that cannot be read are left out, named by complaints(), and stay in
  // the file: one bad line must not keep the others from being served.
  static absl::StatusOr<std::unique_ptr<ScorerMemory>> Open(const std::string& file);

  std::vector<v1::LoadScorerRequest> scorers() const;
  const std::vector<std::string>& complaints() const { return complaints_; }
  // Both write the whole file anew, atomically. Add() replaces what has the same name.
  absl::Status Add(const v1::LoadScorerRequest& scorer);
  absl::Status Remove(const std::string& name);

 private:
  explicit ScorerMemory(std::string file) : file_(std::move(file)) {}
  void Forget(const std::string& name) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::Status Write() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const std::string file_;
  std::vector<std::string> complaints_, unreadable_;  // not changed after Open()
  mutable absl::Mutex mutex_;
  std::vector<v1::LoadScorerRequest> scorers_ ABSL_GUARDED_BY(mutex_);  // in the order in which they were loaded
};

}  // namespace flowawr
