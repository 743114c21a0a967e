// The process of served_learner.h, as its parent sees it.
#pragma once

#include <sys/types.h>

#include <cstdio>
#include <nlohmann/json.hpp>
#include <string>

namespace flowawr {

// Not thread-safe.
class LearnerProcess {
 public:
  // Starts this program again with `argument`.
  explicit LearnerProcess(const std::string& argument);
  // Ends it and waits.
  ~LearnerProcess();
  LearnerProcess(const LearnerProcess&) = delete;
  LearnerProcess& operator=(const LearnerProcess&) = delete;

  const std::string& endpoint() const { return endpoint_; }
  // Its answer.
  nlohmann::json Ask(const std::string& word);

 private:
  nlohmann::json ReadLine();

  pid_t pid_ = 0;
  FILE* to_ = nullptr;
  FILE* from_ = nullptr;
  std::string endpoint_;
};

}  // namespace flowawr
