// Images of prompts, drawn in this process: what `flowawr sample` does once its inputs are known.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "cli/adapter_choice.h"
#include "cli/caption.h"
#include "cli/sample_progress.h"
#include "common/nn/lora_import.h"
#include "common/sd3/latent_shape.h"
#include "common/sd3/pipeline.h"
#include "common/tensor/image.h"
#include "flowawr/v1/config.pb.h"

namespace flowawr {

struct SampleRequest {
  std::vector<std::string> prompts;
  int count = 1;  // images of each prompt
  std::string negative_prompt;
  double guidance = 1;  // 1: none, and the negative prompt does not matter
  uint64_t seed = 1;
  // Initial noise instead of the seed's, [N, C, H, W] f32: a row an image, prompt by prompt, or `count` rows that all
  // prompts share.
  at::Tensor noise;
  v1::Solver solver = v1::EULER;
  int steps = 40;
  int height = 0;
  int width = 0;
  int batch = 0;  // images of one forward pass; 0: by their size
  // Of passes of at most so many images a device records the step and replays it (common/sd3/step_graphs.h); 0: of none.
  int graph_batch = 0;

  size_t images() const { return prompts.size() * static_cast<size_t>(count); }
};

// InvalidArgument when `request.noise` is not what images of this shape begin with. Pure.
absl::Status CheckNoise(const SampleRequest& request, const LatentShape& shape);

// What the text encoders make of a request's prompts; they are not needed afterwards.
struct EncodedPrompts {
  std::vector<PromptEmbeds> prompts;  // one row each
  PromptEmbeds negative;              // undefined without guidance
};

// [1, T, D] and [1, P] of one text.
using PromptEncode = absl::FunctionRef<absl::StatusOr<PromptEmbeds>(const std::string&)>;

// Encodes every text once, by itself: its bits do not depend on the others. Tells `progress` what is done.
absl::StatusOr<EncodedPrompts> EncodePrompts(const SampleRequest& request, PromptEncode encode,
                                             absl::FunctionRef<void(size_t done, size_t all)> progress);

struct SampledImage {
  size_t prompt = 0;  // index in the request
  int sample = 0;     // 0 to count - 1
  Image image;
  at::Tensor latents;  // x0, [C, H, W] f32
};

// Calls `take` for every image, prompt by prompt, and stops at its first error. The noise of an image is fixed by
// (seed, index of the prompt, sample), and its bits depend neither on `batch` nor on `graph_batch`. A null `adapter` is the
// base model. On a device what was asked before is waited for, and all is done on a stream of its own when this returns.
//
// `is_wanted` is asked before every step and before every image that is decoded; Cancelled once it says no.
// InvalidArgument for sizes that the model does not accept and for noise that does not fit the request, Internal for
// latents that are not finite.
absl::Status SampleImages(const Pipeline& pipeline, const std::shared_ptr<const BoundAdapter>& adapter,
                          const EncodedPrompts& prompts, const SampleRequest& request,
                          absl::FunctionRef<bool(const SampleStep&)> is_wanted,
                          absl::FunctionRef<absl::Status(SampledImage)> take);

// The images of one forward pass, when nobody says how many: as many as have the pixels of one of 1024x1024, half of
// that with guidance, at most 64. Pure.
int BatchForSize(int height, int width, bool is_guided);

// `alpha_if_untold` is for the files of old checkpoints. Errors as of ReadLora().
absl::StatusOr<std::vector<ImportedLora>> ReadAdapters(const std::vector<AdapterChoice>& adapters,
                                                       std::optional<double> alpha_if_untold);

// What was read of `adapters`, merged into the transformer's weights. InvalidArgument lists the modules that are not
// there in this model.
absl::StatusOr<BoundAdapter> BindAdapters(const Transformer& transformer, const std::vector<AdapterChoice>& adapters,
                                          const std::vector<ImportedLora>& read);

// Where an image goes. Pure.
std::string SampleFileName(size_t prompt, int sample);

// What made the images beside the request, as their metadata says it.
struct SampleSource {
  std::string model;
  std::vector<AdapterChoice> adapters;  // none: the base model
  std::string dtype;
  int max_sequence_length = 0;
  std::string noise_file;  // empty: the seed's noise
};
// Of the request's first `images` together, with `prompts` as a JSON list of text; and of one of them. Pure.
std::map<std::string, std::string> ImagesMetadata(const SampleRequest& request, const SampleSource& source,
                                                  size_t images);
std::map<std::string, std::string> ImageMetadata(const SampleRequest& request, const SampleSource& source,
                                                 size_t prompt, int sample);

// The image's prompt; where a prompt has several images, also which one it is and the seed. Pure.
Caption ImageCaption(const SampleRequest& request, size_t prompt, int sample);

}  // namespace flowawr
