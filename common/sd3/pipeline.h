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
#include "common/sd3/clip_text_encoder.h"
#include "common/sd3/latent_shape.h"
#include "common/sd3/scheduler.h"
#include "common/sd3/t5_encoder.h"
#include "common/sd3/tokenizer.h"
#include "common/sd3/transformer.h"
#include "common/sd3/vae.h"
#include "common/telemetry/read_progress.h"

namespace flowawr {

// What the transformer is conditioned on, for B prompts.
struct PromptEmbeds {
  at::Tensor prompt_embeds;  // [B, T, joint_attention_dim]; T = CLIP's length + max_sequence_length
  at::Tensor pooled;         // [B, pooled_projection_dim]
};

// Frozen, immutable, thread-safe.
class Pipeline {
 public:
  struct Options {
    at::ScalarType dtype = at::kFloat;     // of all weights
    int max_sequence_length = 128;         // T5 tokens a prompt is padded or cut to, 1 to 512
    ComponentProgress progress = nullptr;  // told of the weights that are read; may be null
  };

  // Reads model_index.json of `folder` and what it names. InvalidArgument lists, one a line, everything that is
  // missing, malformed or does not fit together. Without text_encoder_3 its part of the prompt embeddings is zeros.
  static absl::StatusOr<std::unique_ptr<Pipeline>> Load(const std::string& folder, Options options);

  // What StableDiffusion3Pipeline.encode_prompt returns for each prompt, in the pipeline's dtype. No gradients.
  // InvalidArgument for an empty list or a prompt that is not UTF-8, with its position.
  absl::StatusOr<PromptEmbeds> EncodePrompts(const std::vector<std::string>& prompts) const;

  const Transformer& transformer() const { return *transformer_; }
  const Vae& vae() const { return *vae_; }
  double scheduler_shift() const { return scheduler_.shift; }
  int num_train_timesteps() const { return scheduler_.num_train_timesteps; }

 private:
  struct ClipPart {
    std::unique_ptr<const Tokenizer> tokenizer;
    std::unique_ptr<const ClipTextEncoder> encoder;
  };
  class Loader;

  // Of all components together, once each one is loaded: one line a disagreement.
  std::vector<std::string> Disagreements() const;
  absl::StatusOr<at::Tensor> Tokenize(const Tokenizer& tokenizer, const std::vector<std::string>& prompts,
                                      int length) const;

  Options options_;
  ClipPart clip_[2];
  std::unique_ptr<const Tokenizer> t5_tokenizer_;  // null without text_encoder_3
  std::unique_ptr<const T5Encoder> t5_encoder_;
  std::shared_ptr<const Transformer> transformer_;
  std::shared_ptr<const Vae> vae_;
  SchedulerConfig scheduler_;
};

}  // namespace flowawr
