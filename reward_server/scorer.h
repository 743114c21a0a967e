// A scorer: one reward model inside a reward server.
//
// To add one: a file pair in scorers/ and its line in scorer_kinds.cc.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/types/span.h"
#include "flowawr/v1/reward.pb.h"

namespace flowawr {

using PromptMetadata = google::protobuf::Map<std::string, std::string>;

// Whether the result of item `i` of a Score() call is still waited for: OK, or why not. Thread-safe, cheap, valid during
// the call.
using StillWanted = absl::FunctionRef<absl::Status(size_t i)>;
inline constexpr auto kAlwaysWanted = [](size_t) { return absl::OkStatus(); };

// What a scorer is given when it is loaded.
struct ScorerContext {
  int threads = 1;  // of the processor that it may keep busy, all its Score() calls together
  std::string device = "auto";  // where its model computes, as FindDevice() reads it
  int batch = 0;                // images of one Score() call, at most; 0: what it recommends
};

// Thread-safe: parallel_calls() threads of a ScorerRunner call Score() side by side. Owned by shared_ptr; a scorer that
// is unloaded lives until its last Score() has returned.
class Scorer {
 public:
  virtual ~Scorer() = default;

  // One result an item, in order; each a finite reward or a typed error. Every item's image has been checked: positive
  // sides, bytes as many as they ask for.
  //
  // The same item gives the same reward whatever was scored before it, with it, or on other threads. An exception or a
  // reward that is not finite makes the runner answer BROKEN.
  //
  // What may take longer than about a second asks `still_wanted` several times a second and then returns soon, with any
  // result or an error that holds what it said: the caller has gone, the server stops, or the image takes too long.
  virtual std::vector<v1::ScoreResult> Score(absl::Span<const v1::ScoreItem* const> items,
                                             StillWanted still_wanted) = 0;

  // InvalidArgument, with the reason, when no image of this prompt can ever be scored. Asked before a run begins, of
  // all its prompts: quick.
  virtual absl::Status CheckPrompt(const std::string& /*prompt*/, const PromptMetadata& /*metadata*/) const {
    return absl::OkStatus();
  }

  // Engine and model, as people and records need it, e.g. "tesseract 5.3.0 eng".
  virtual const std::string& version() const = 0;

  // SHA-256 in hexadecimal of the weights that score; empty for a scorer that has none.
  virtual std::string weights_sha256() const { return ""; }

  // Of its weights, those that it shares with other scorers included.
  virtual size_t memory_bytes() const { return 0; }

  // What Score() calls used beside time since it was last asked, by what, for /metrics: e.g. {"prompt_tokens": 812}.
  virtual std::map<std::string, double> TakeUse() { return {}; }

  // What is scored once before the scorer is served: it makes the libraries and memory ready, and a scorer that answers
  // it with anything but a reward or BAD_INPUT is not loaded. The default is a small picture with a prompt in quotes.
  virtual v1::ScoreItem ProbeItem() const;

  // How many items one Score() call is best given: 1 for what works image by image, more for what batches on a device.
  virtual int recommended_batch() const { return 1; }

  // How many Score() calls may run side by side. What works on one thread says context.threads; a model whose products
  // run on several threads themselves says 1, and sets their number, for the thread that calls it, in Score().
  virtual int parallel_calls() const = 0;
};

v1::ScoreResult RewardResult(double reward);
v1::ScoreResult ErrorResult(v1::ScoreError::Kind kind, std::string message);

}  // namespace flowawr
