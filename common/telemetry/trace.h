// A timeline of who did what, in the Chrome trace event format: https://ui.perfetto.dev opens it.
//
// An array with one event a line, whole after every write: each one goes over the array's end. So the file is JSON while
// the run goes on and after a kill, for viewers that want the closing bracket and no comma before it, too.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "common/base/steady_cond_var.h"

namespace flowawr {

// What a process did between two moments.
struct TraceSpan {
  std::string process;  // a row of the timeline: "learner", the name of an actor
  std::string track;    // a line of that row: "run", "sample"; what overlaps there gets lines of its own
  std::string name;
  absl::Time start;
  absl::Duration length;
  std::vector<std::pair<std::string, std::string>> details = {};
};

// Sets the lines of one row: spans of one line follow each other or nest, as the format demands, whatever the order in
// which they come. Pure; bounded memory, which is why only the newest spans of a line are known.
class TraceLanes {
 public:
  // The lane, from 0, that has room for the span.
  int Place(absl::Time start, absl::Time end);
  // When the newest of its spans ends.
  absl::Time newest_end() const { return newest_end_; }

 private:
  static constexpr size_t kRemembered = 256;
  static constexpr size_t kMostLanes = 64;
  using Interval = std::pair<absl::Time, absl::Time>;
  std::vector<std::vector<Interval>> lanes_;  // each with its newest intervals
  absl::Time newest_end_ = absl::InfinitePast();
};

// Appends to `folder`/trace.json. Adding a span never waits for the disk: a thread writes. What the disk does not take,
// or what comes faster than it takes, is left out, and counted in the log. Thread-safe.
//
// Bounded: at half of `most_bytes` the file becomes trace.1.json, in place of an older one, and another is begun, which
// forgets rows that nothing happened in of late.
class TraceWriter {
 public:
  // Goes on with the file that is there, without a last line that a kill cut short.
  static absl::StatusOr<std::unique_ptr<TraceWriter>> Open(const std::string& folder, uint64_t most_bytes);
  // Writes what was added.
  ~TraceWriter();
  TraceWriter(const TraceWriter&) = delete;
  TraceWriter& operator=(const TraceWriter&) = delete;

  void Add(const TraceSpan& span);
  // A moment, over the whole timeline: a swap of rewards, a pause.
  void Mark(const std::string& process, const std::string& name, absl::Time at);

 private:
  static constexpr size_t kMostWaiting = size_t{4} << 20;  // bytes
  static constexpr size_t kMostTracks = 4096;

  TraceWriter(std::string folder, uint64_t most_bytes, int fd);
  // The numbers of a track, which are told to the file when they are new.
  struct Track {
    int pid = 0, tid = 0;
  };
  Track FindTrack(const std::string& process, const std::string& track, int lane) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Append(std::string line) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void WriteLoop();
  void Write(const std::string& lines, const std::string& names);
  void ForgetOldTracks();
  void Gap(const absl::Status& why);

  const std::string folder_;
  const uint64_t most_bytes_;
  absl::Mutex mutex_;
  SteadyCondVar changed_;
  std::string waiting_ ABSL_GUARDED_BY(mutex_);
  std::string names_ ABSL_GUARDED_BY(mutex_);  // of the tracks: each file begins with them
  std::set<std::string> processes_ ABSL_GUARDED_BY(mutex_);
  std::map<std::string, Track> tracks_ ABSL_GUARDED_BY(mutex_);
  std::map<std::string, TraceLanes> lanes_ ABSL_GUARDED_BY(mutex_);
  absl::Time newest_end_ ABSL_GUARDED_BY(mutex_) = absl::InfinitePast();  // of all spans
  uint64_t left_out_ ABSL_GUARDED_BY(mutex_) = 0;
  bool is_closing_ ABSL_GUARDED_BY(mutex_) = false;
  int fd_;             // of the writing thread, as are the two below; -1: nothing can be written
  uint64_t end_ = 0;  // of the file's last event; 0: it has none
  bool has_gap_ = false;
  std::thread writer_;
};

}  // namespace flowawr
