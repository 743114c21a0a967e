// CLIP: pictures and texts embedded in one space, so that their cosine tells how well they go together.
//
// Two published layouts of a folder are read:
//   HF        config.json (transformers' CLIPModel) and model.safetensors or its shards
//   OpenCLIP  open_clip_config.json and open_clip_model.safetensors (or open_clip_pytorch_model.safetensors)
// and a tokenizer beside them, in the folder itself or in its subfolder `tokenizer`: tokenizer_config.json with
// vocab.json and merges.txt, or with tokenizer.json. A folder that has both layouts is read as HF's.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "common/clip/clip_config.h"
#include "common/clip/clip_transformer.h"
#include "common/nn/read_progress.h"
#include "common/tensor/placement.h"

namespace flowawr {

class ClipTextEncoder;
class Tokenizer;
struct ClipVisionTower;

// Frozen, immutable, thread-safe. No gradients. On the CPU, work is shared out among at::get_num_threads() threads of
// whoever calls; for one number of threads an embedding has the same bits whatever else is asked for.
//
// `batch` of the pictures, or texts, go through a tower together: always as many, the last ones with copies of the last
// item. 1: one by one, as on the CPU; for more see clip_batch.h. A batch goes up to a device as one tensor, and what is made
// of all of them comes down as one.
class ClipModel {
 public:
  // Inputs and results are on the host wherever it computes. NotFound when the folder, or a file of it, is missing, with the
  // command that fetches it; InvalidArgument that lists every tensor and field that does not fit.
  static absl::StatusOr<std::unique_ptr<const ClipModel>> Load(const std::string& folder, Placement placement,
                                                               ReadProgress progress = nullptr);
  ~ClipModel();
  ClipModel(const ClipModel&) = delete;
  ClipModel& operator=(const ClipModel&) = delete;

  // Of pictures that are made ready by clip_preprocess.h, each [3, image_size(), image_size()] f32.
  // [pictures, projection_dim()] f32: projected, not normalised.
  at::Tensor ImageEmbeds(absl::Span<const at::Tensor> pixels) const;
  // The same, given up with the error of `keep_going`.
  absl::StatusOr<at::Tensor> ImageEmbeds(absl::Span<const at::Tensor> pixels, KeepGoing keep_going,
                                         int batch = 1) const;

  // [texts, projection_dim()] f32: projected, not normalised. A text that has more tokens than the model takes (77 as
  // published) loses its end. InvalidArgument for text that is not UTF-8. An empty text has an embedding, too.
  absl::StatusOr<at::Tensor> TextEmbeds(absl::Span<const std::string> texts) const;
  absl::StatusOr<at::Tensor> TextEmbeds(absl::Span<const std::string> texts, KeepGoing keep_going,
                                        int batch = 1) const;

  // The end of a text that TextEmbeds() leaves out; empty if it takes all of it.
  std::string CutOff(const std::string& text) const;

  // exp() of the learnt scale of the cosines: about 100 in published models.
  double logit_scale() const { return logit_scale_; }
  int64_t image_size() const { return config_.vision.image_size; }
  int64_t projection_dim() const { return config_.projection_dim; }
  const ClipConfig& config() const { return config_; }

  // See WeightsSha256().
  const std::string& weights_sha256() const { return weights_sha256_; }
  size_t memory_bytes() const { return memory_bytes_; }  // of the weights

 private:
  ClipModel();

  ClipConfig config_;
  Placement placement_;
  std::unique_ptr<const ClipVisionTower> vision_;
  std::unique_ptr<const ClipTextEncoder> text_;
  std::unique_ptr<const Tokenizer> tokenizer_;
  double logit_scale_ = 0;
  std::string weights_sha256_;
  size_t memory_bytes_ = 0;
};

// `embeds` [n, dim], each row divided by its length.
at::Tensor Normalised(const at::Tensor& embeds);

}  // namespace flowawr
