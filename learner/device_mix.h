// Which kinds of devices a run's actors sample on. Between unlike ones the bits differ, so that a run of several kinds
// cannot be repeated bit by bit: who happens to get a lease then matters.
#pragma once

#include <set>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"

namespace flowawr {

// Thread-safe.
class DeviceMix {
 public:
  // What to warn of now that an actor samples on `device`, as DescribeDevice() names it: the first of a kind unlike those
  // before. Empty: nothing new. An actor of an older release names none.
  std::string Add(const std::string& actor_id, const std::string& device) {
    if (device.empty()) return "";
    const std::string kind = KindOf(device);
    absl::MutexLock lock(&mutex_);
    const std::string other = kinds_.empty() ? kind : *kinds_.begin();
    if (!kinds_.insert(kind).second || other == kind) return "";
    return absl::StrCat("actor ", actor_id, " samples on ", device, ", others on ", other,
                        ": a lease's bits depend on who gets it, so that the run cannot be repeated bit by bit");
  }

  // The card where `device` names it, else the device without its number: "NVIDIA H100 80GB HBM3", "cuda", "cpu".
  static std::string KindOf(const std::string& device) {
    const size_t begin = device.find('('), end = device.rfind(')');
    if (begin != std::string::npos && end != std::string::npos && begin < end)
      return device.substr(begin + 1, end - begin - 1);
    return device.substr(0, device.find(':'));
  }

 private:
  absl::Mutex mutex_;
  std::set<std::string> kinds_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace flowawr
