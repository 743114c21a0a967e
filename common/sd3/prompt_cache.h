// Prompt embeddings on disk, so that a text encoder meets a prompt once and not once in every process.
//
//   DIR/ENCODERS/encoders.json     what the text encoders and tokenizers were that made the entries, part by part
//   DIR/ENCODERS/KEY.safetensors   prompt_embeds [T, joint_attention_dim] and pooled [pooled_projection_dim]; as
//                                  metadata the prompt, and the SHA-256 of both tensors' bytes
//
// KEY is the SHA-256 of everything that fixes an entry: the encoders, dtype, max_sequence_length and the prompt's
// bytes. ENCODERS is that of the parts: all files of each tokenizer; each encoder's configuration; and samples of its
// weights, however they are sharded (component_fingerprints.h). Whoever changes single rows of an embedding by hand,
// which the samples need not see, takes another DIR.
//
// Parts whose files are not there (an actor needs no text encoder) are taken from the one ENCODERS that agrees with the
// rest.
//
// Entries are written beside their place and renamed, so any number of processes and machines may share DIR: those that
// write the same entry write the same, up to last bits where they compute on unlike devices or by other instructions.
// Entries serve all of them: whoever needs the same bits in every run fills DIR beforehand (`flowawr encode`).
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/sd3/component_fingerprints.h"
#include "common/sd3/prompt_embeds.h"

namespace flowawr {

// Thread-safe.
class PromptCache {
 public:
  // Of `model_folder`'s text encoders, whose weights are not loaded. Nothing is made on disk before Prepare() or Put().
  // FailedPrecondition when the folder lacks parts and no entries, or those of several, in `dir` agree with the rest.
  static absl::StatusOr<std::unique_ptr<PromptCache>> Open(const std::string& dir, const std::string& model_folder,
                                                           at::ScalarType dtype, int max_sequence_length);

  // [1, T, D] and [1, P], in memory. NotFound when the prompt has no entry, DataLoss, naming the file, when it has one
  // that is cut short, changed in any byte, of another shape or type, or of another prompt; errors of reading as they
  // are.
  absl::StatusOr<PromptEmbeds> Get(const std::string& prompt) const;

  // Makes the folder and what it needs beside entries: tells before long work whether it can be written.
  absl::Status Prepare() const;

  // Takes [1, T, D] and [1, P], and replaces what is there. InvalidArgument for values that are not finite.
  absl::Status Put(const std::string& prompt, const PromptEmbeds& embeds);

  // What all entries of these encoders take.
  struct Usage {
    int64_t entries = 0;
    int64_t bytes = 0;
  };
  Usage usage() const;

  // Of every tokenizer and text encoder, also of those whose files are not there.
  const ComponentFingerprints& parts() const { return parts_; }

  // DIR/ENCODERS.
  const std::string& folder() const { return folder_; }
  std::string PathOf(const std::string& prompt) const;

 private:
  PromptCache() = default;

  ComponentFingerprints parts_;
  std::string folder_, identity_;
  std::string description_;  // what encoders.json holds
  at::ScalarType dtype_ = at::kFloat;
  int max_sequence_length_ = 0;
  int64_t width_ = 0, pooled_width_ = 0;
};

}  // namespace flowawr
