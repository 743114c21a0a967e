// One ClipModel of the process for all who ask for the same folder in the same placement, and a memory of its last
// embeddings: scorers of one batch that share a tower share its weights and its forward pass.
//
//   pickscore --+                     +-- ClipModel (weights)
//               +--> SharedClip ------+
//   geneval ----+                     +-- embeddings of the last pictures and texts
//
// Weights are freed when the last scorer that has them is gone. Embeddings are remembered on the host, when the stream of
// the device that made them was waited for: callers on other streams may use them as they are.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "common/clip/clip_model.h"
#include "common/clip/embedding_memory.h"
#include "common/nn/read_progress.h"
#include "common/tensor/placement.h"

namespace flowawr {

// Thread-safe.
class SharedClip {
 public:
  // Loads the model unless somebody has it; two calls at once load it once. A folder whose files have changed is
  // another one. Errors as ClipModel::Load().
  static absl::StatusOr<std::shared_ptr<SharedClip>> Open(const std::string& folder, Placement placement,
                                                          ReadProgress progress = nullptr);

  // As ClipModel's, to the bit while all callers have the same number of threads. What is remembered, or being computed
  // for another caller, is not computed again: the same pixels (compared by SHA-256), the same text, by the same
  // `batch`, as another one may give other last bits.
  absl::StatusOr<at::Tensor> ImageEmbeds(absl::Span<const at::Tensor> pixels, KeepGoing keep_going = kToTheEnd,
                                         int batch = 1);
  absl::StatusOr<at::Tensor> TextEmbeds(absl::Span<const std::string> texts, KeepGoing keep_going = kToTheEnd,
                                        int batch = 1);

  const ClipModel& model() const { return *model_; }

  // What was really computed so far.
  int64_t images_embedded() const { return images_.computed(); }
  int64_t texts_embedded() const { return texts_.computed(); }

 private:
  explicit SharedClip(std::unique_ptr<const ClipModel> model);

  const std::unique_ptr<const ClipModel> model_;
  EmbeddingMemory images_, texts_;
};

}  // namespace flowawr
