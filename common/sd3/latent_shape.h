// Which picture sizes a model takes, and what latents they have. Read from the configurations alone, so that a size is
// refused before any weight is loaded.
#pragma once

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/sd3/transformer_config.h"
#include "flowawr/v1/config.pb.h"

namespace flowawr {

struct LatentShape {
  int64_t channels = 0;
  int64_t height = 0;
  int64_t width = 0;
};

// The latents of a height x width image. InvalidArgument when the sides do not divide into patches or exceed the
// position table: says what is accepted, and which sizes near it.
absl::StatusOr<LatentShape> LatentShapeFor(const TransformerConfig& transformer, int vae_downscale, int height,
                                           int width);

// What a diffusers folder says of picture sizes.
struct PictureSizes {
  TransformerConfig transformer;
  int vae_downscale = 1;

  absl::StatusOr<LatentShape> LatentShapeFor(int height, int width) const {
    return flowawr::LatentShapeFor(transformer, vae_downscale, height, width);
  }
  // What the model was made for, in pixels, and the T5 tokens of its prompts (0: not told). By `flowawr.json` of the
  // model folder, which diffusers passes over; without it the square of the transformer's sample_size.
  int usual_height = 0, usual_width = 0;
  int usual_sequence_length = 0;
};

// Reads transformer/config.json, vae/config.json and, if it is there, flowawr.json of `model_folder`: an object with
// any of `height`, `width` and `max_sequence_length`. InvalidArgument when the model does not take its size.
absl::StatusOr<PictureSizes> ReadPictureSizes(const std::string& model_folder);

// The T5 tokens of a prompt by the folder's flowawr.json alone; `otherwise` where it tells none.
absl::StatusOr<int> ReadSequenceLength(const std::string& model_folder, int otherwise);

// What a run does with a model that tells no max_sequence_length.
constexpr int kUsualSequenceLength = 128;

// Writes what the model was made for into those of `height`, `width` and `max_sequence_length` that are 0. Pure.
void FillInModelDefaults(const PictureSizes& sizes, v1::ModelConfig* model);
// The same, by the folder model->path(), which is read only if one of them is 0. Errors as of ReadPictureSizes().
absl::Status FillInModelDefaults(v1::ModelConfig* model);

}  // namespace flowawr
