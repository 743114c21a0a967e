// The live page of a run, in a browser: GET / of the learner's metrics address. Read-only.
//
//   /                          the page, one file without outside parts; it asks for the others by itself
//   /api/status.json           the status, as `flowawr status --json` prints it
//   /api/history.json          the curves so far, bounded: LiveHistory::ToJson()
//   /api/pictures.json         which held-out pictures there are, and what the scorer said of them
//   /images/SET/NNN.png        one of them; SET: base, latest, final, update-000010
//
// Nothing else of the run's folder can be asked for.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "common/telemetry/http_server.h"
#include "flowawr/v1/control.pb.h"
#include "learner/live_history.h"

namespace flowawr {

// Thread-safe. Answers from what the run has written and told: it never asks the run loop for anything.
class LivePage {
 public:
  // `status` is asked at most four times a second, whatever the number of browsers.
  LivePage(std::string run_dir, std::function<v1::Status()> status);

  HttpResponse Answer(const HttpRequest& request);

 private:
  HttpResponse Picture(absl::string_view path) const;
  std::string Pictures() const;
  std::string Status();
  std::string History();
  // Takes lines of metrics.jsonl that are new, some megabytes at once; from the first one when it is another file.
  void ReadMore() ABSL_EXCLUSIVE_LOCKS_REQUIRED(history_mutex_);

  const std::string run_dir_;
  const std::function<v1::Status()> status_;
  const std::string security_policy_;
  absl::Mutex status_mutex_;
  std::string status_json_ ABSL_GUARDED_BY(status_mutex_);
  absl::Time status_until_ ABSL_GUARDED_BY(status_mutex_) = absl::InfinitePast();  // as of MonotonicNow()
  absl::Mutex history_mutex_;
  LiveHistory history_ ABSL_GUARDED_BY(history_mutex_);
  uint64_t history_inode_ ABSL_GUARDED_BY(history_mutex_) = 0;
  uint64_t history_read_ ABSL_GUARDED_BY(history_mutex_) = 0;  // bytes, whole lines
};

// The page as long as this lives, instead of nothing.
class LivePageAt {
 public:
  LivePageAt(HttpServer& server, LivePage& page) : server_(server) {
    server_.Handle("/", [&page](const HttpRequest& request) { return page.Answer(request); });
  }
  ~LivePageAt() { server_.Handle("/", nullptr); }
  LivePageAt(const LivePageAt&) = delete;
  LivePageAt& operator=(const LivePageAt&) = delete;

 private:
  HttpServer& server_;
};

}  // namespace flowawr
