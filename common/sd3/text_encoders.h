// The text side of a Stable Diffusion 3 pipeline: two CLIPs and, where the folder has it, T5, with their tokenizers.
//
//                  CLIP (hidden) | CLIP 2 (hidden) | zeros   [clip_length, joint_attention_dim]
//   prompt_embeds = ------------------------------------
//                                T5                          [max_sequence_length, joint_attention_dim]
//   pooled        =  CLIP (pooled) | CLIP 2 (pooled)         [pooled_projection_dim]
//
// Source: diffusers, StableDiffusion3Pipeline.encode_prompt.
#pragma once

#include <ATen/core/Tensor.h>

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/sd3/clip_text_encoder.h"
#include "common/sd3/component_loader.h"
#include "common/sd3/prompt_embeds.h"
#include "common/sd3/t5_encoder.h"
#include "common/sd3/tokenizer.h"
#include "common/sd3/transformer_config.h"
#include "common/tensor/placement.h"

namespace flowawr {

// Frozen, immutable once loaded, and then thread-safe.
class TextEncoders {
 public:
  struct Options {
    Placement placement = at::kFloat;      // of all weights
    int max_sequence_length = 128;         // T5 tokens a prompt is padded or cut to, 1 to 512
    ComponentProgress progress = nullptr;  // told of the weights that are read; may be null

    absl::Status Check() const;  // InvalidArgument
  };

  // Reads the tokenizers and encoders that model_index.json of `folder` names, and of the transformer the configuration
  // alone. InvalidArgument lists, one a line, everything that is missing, malformed or does not fit together. Without
  // text_encoder_3 its part of the prompt embeddings is zeros.
  static absl::StatusOr<std::unique_ptr<const TextEncoders>> Load(const std::string& folder, const Options& options);

  // Load()'s steps, for who loads more than the text side and wants to tell all that is wrong at once. The small files
  // come first; they must fit each other and the transformer before any weights are read.
  static std::unique_ptr<TextEncoders> LoadSmallFiles(const Options& options, ComponentLoader& loader);
  void LoadWeights(ComponentLoader& loader);

  // What encode_prompt returns for each prompt, on the host, in the encoders' dtype. No gradients.
  // InvalidArgument for an empty list or a prompt that is not UTF-8, with its position.
  absl::StatusOr<PromptEmbeds> EncodePrompts(const std::vector<std::string>& prompts) const;

  // What of `prompt` is too long for the encoders, for a warning: a line for each kind that does not read all of it,
  // with the words that it leaves out, and whether they hold quoted text, which the picture should show.
  std::vector<std::string> DescribeCut(const std::string& prompt) const;

  // EncodePrompts() for many prompts in little memory: each encoder in turn is loaded, meets all prompts, `batch` at a
  // time, and is freed. Meanwhile the CLIPs' part of every prompt stays in memory, 77 x 2048 numbers. `tell_cut`
  // gets what DescribeCut() says of them, first of all; `progress` is told after every batch of every encoder, and a
  // `false` ends it all with Cancelled; `take` gets [1, T, D] and [1, P] of each prompt as soon as they are known, and
  // its error ends it too.
  struct Step {
    std::string component;
    size_t done = 0;  // prompts that it has met, of all
    size_t all = 0;
  };
  static absl::Status EncodeInTurn(const std::string& folder, const Options& options,
                                   const std::vector<std::string>& prompts, size_t batch,
                                   absl::FunctionRef<void(const std::string&)> tell_cut,
                                   absl::FunctionRef<bool(const Step&)> progress,
                                   absl::FunctionRef<absl::Status(size_t prompt, PromptEmbeds)> take);

 private:
  struct ClipPart {
    std::unique_ptr<const Tokenizer> tokenizer;
    std::optional<ClipTextConfig> config;
    std::unique_ptr<const ClipTextEncoder> encoder;
  };

  bool HasT5() const { return t5_tokenizer_ != nullptr; }
  void CheckFit(const TransformerConfig& transformer, ComponentLoader& loader) const;
  void LoadClip(int i, ComponentLoader& loader);
  void LoadT5(ComponentLoader& loader);
  // Both CLIP encoders take the length of the first tokenizer, as in diffusers.
  int clip_length() const { return clip_[0].tokenizer->model_max_length(); }
  // Where the encoders are.
  absl::StatusOr<ClipTextEncoder::Output> EncodeByClip(int i, const std::vector<std::string>& prompts) const;
  // Likewise, of the T5 part of the embeddings: zeros without T5.
  absl::StatusOr<at::Tensor> EncodeByT5(const std::vector<std::string>& prompts) const;
  // The CLIPs' part of prompt_embeds.
  at::Tensor PadClip(const at::Tensor& first, const at::Tensor& second) const;

  Options options_;
  int64_t width_ = 0;  // the transformer's joint_attention_dim
  ClipPart clip_[2];
  std::unique_ptr<const Tokenizer> t5_tokenizer_;  // null without text_encoder_3
  std::optional<T5Config> t5_config_;
  std::unique_ptr<const T5Encoder> t5_encoder_;
};

}  // namespace flowawr
