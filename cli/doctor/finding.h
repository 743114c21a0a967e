// What the doctor says: one finding a line. Pure.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"

namespace flowawr {

enum class FindingLevel {
  kOk,
  kWarn,  // a run would begin, and somebody may wish it had not
  kBad,   // it would not begin, or fail later
};

struct Finding {
  FindingLevel level = FindingLevel::kOk;
  std::string subject;  // a word or two, e.g. "disk"
  std::string what;     // one line, with what to do unless all is well

  bool operator==(const Finding&) const = default;
};

// `ok` says what is well; an error what is not.
Finding FindingOf(const std::string& subject, const absl::Status& status, const std::string& ok,
                  FindingLevel otherwise = FindingLevel::kBad);

// "warn  disk         ...", and as a JSON object.
std::string FindingText(const Finding& finding);
std::string FindingsJson(const std::vector<Finding>& findings);

// "3 of 14 checks are bad, 1 warns".
std::string SumUp(const std::vector<Finding>& findings);
// FailedPrecondition when one is bad.
absl::Status Verdict(const std::vector<Finding>& findings);

// The decisions. Bytes; `advice` is what would fit, for people.
Finding JudgeMemory(int64_t needed, int64_t has, const std::string& advice);
// `folder` is where `needed` bytes will be written, `free` what its disk has.
Finding JudgeDisk(const std::string& folder, int64_t needed, int64_t free);
Finding JudgeTime(double seconds, int64_t updates);
// Of the certificate in `file`.
Finding JudgeExpiry(const std::string& file, absl::Duration left);
// Whether two servers of one machine that are to listen there (HOST:PORT) would want one port.
bool WantOnePort(const std::string& one, const std::string& other);
// Of `all` prompts of a file, `faults` that a reward can never score, the first being `example`.
Finding JudgeScorable(const std::string& file, size_t faults, size_t all, const std::string& example, bool skips_bad);

}  // namespace flowawr
