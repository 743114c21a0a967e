// A Stable Diffusion 3 pipeline read from a diffusers folder: everything that an actor needs to turn prompts into
// images.
//
//   prompts --EncodePrompts--> PromptEmbeds --+
//   InitialNoise -------------------------> SampleLatents(Transformer::Forward) --> Vae::Decode --> images
#pragma once

#include <ATen/core/Tensor.h>

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "common/sd3/latent_shape.h"
#include "common/sd3/prompt_embeds.h"
#include "common/sd3/scheduler.h"
#include "common/sd3/text_encoders.h"
#include "common/sd3/transformer.h"
#include "common/sd3/vae.h"
#include "common/telemetry/read_progress.h"

namespace flowawr {

// Frozen, immutable, thread-safe.
class Pipeline {
 public:
  struct Options {
    at::ScalarType dtype = at::kFloat;     // of all weights
    int max_sequence_length = 128;         // T5 tokens a prompt is padded or cut to, 1 to 512
    ComponentProgress progress = nullptr;  // told of the weights that are read; may be null
    bool has_text_encoders = true;  // without them the pipeline encodes no prompts, and their files may be absent
  };

  // Reads model_index.json of `folder` and what it names. InvalidArgument lists, one a line, everything that is
  // missing, malformed or does not fit together. Without text_encoder_3 its part of the prompt embeddings is zeros.
  static absl::StatusOr<std::unique_ptr<Pipeline>> Load(const std::string& folder, Options options);

  // What StableDiffusion3Pipeline.encode_prompt returns for each prompt, in the pipeline's dtype. No gradients.
  // InvalidArgument for an empty list or a prompt that is not UTF-8, with its position; FailedPrecondition without text
  // encoders.
  absl::StatusOr<PromptEmbeds> EncodePrompts(const std::vector<std::string>& prompts) const;

  // Null where they are not wanted.
  const TextEncoders* text_encoders() const { return text_encoders_.get(); }
  const Transformer& transformer() const { return *transformer_; }
  const Vae& vae() const { return *vae_; }
  double scheduler_shift() const { return scheduler_.shift; }
  int num_train_timesteps() const { return scheduler_.num_train_timesteps; }

 private:
  Options options_;
  std::unique_ptr<const TextEncoders> text_encoders_;  // null if not wanted
  std::shared_ptr<const Transformer> transformer_;
  std::shared_ptr<const Vae> vae_;
  SchedulerConfig scheduler_;
};

}  // namespace flowawr
