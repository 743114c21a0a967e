// A Stable Diffusion 3 pipeline read from a diffusers folder: everything that an actor needs to turn prompts into
// images.
//
//   prompts --EncodePrompts--> PromptEmbeds --+
//   InitialNoise ------------------------------> Sample(Transformer::Forward) --> Vae::Decode --> images
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

namespace flowawr {

// Frozen, immutable, thread-safe.
class Pipeline {
 public:
  using Options = TextEncoders::Options;

  // Reads model_index.json of `folder` and what it names. InvalidArgument lists, one a line, everything that is
  // missing, malformed or does not fit together. Without text_encoder_3 its part of the prompt embeddings is zeros.
  static absl::StatusOr<std::unique_ptr<Pipeline>> Load(const std::string& folder, const Options& options);

  // The same without text encoders, whose files may be absent: encodes no prompts.
  static absl::StatusOr<std::unique_ptr<Pipeline>> LoadImageSide(const std::string& folder, const Options& options);

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
  static absl::StatusOr<std::unique_ptr<Pipeline>> LoadParts(const std::string& folder, const Options& options,
                                                             bool has_text_encoders);

  std::unique_ptr<const TextEncoders> text_encoders_;  // null if not wanted
  std::shared_ptr<const Transformer> transformer_;
  std::shared_ptr<const Vae> vae_;
  SchedulerConfig scheduler_;
};

}  // namespace flowawr
