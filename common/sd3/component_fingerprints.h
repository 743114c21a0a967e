// What tells every part of a pipeline from another one's: whatever shapes a sample, apart from the transformer, which
// knows its own (model_fingerprint.h).
//
// The same latents decoded by another VAE are other images with other rewards; the same prompt read by another encoder
// or tokenizer has other embeddings. So an actor that has the run's transformer and another VAE must not take part.
#pragma once

#include <map>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace flowawr {

using ComponentFingerprints = std::map<std::string, std::string>;  // hex SHA-256 by component

// Of the components that the diffusers folder has:
//   vae, text_encoder, text_encoder_2, text_encoder_3: config.json and, for every tensor, name, type, shape and bytes,
//     hashed on all cores, at the speed of reading them;
//   tokenizer, tokenizer_2, tokenizer_3: vocabulary, merges and settings;
//   scheduler: its configuration.
// Configurations count by their values, not by their layout or by who wrote them. Errors name the file.
absl::StatusOr<ComponentFingerprints> FingerprintComponents(const std::string& model_folder);

// FailedPrecondition that names the components in which `theirs` differs from `ours`. A part of the text side that only
// one of them has differs unless `may_lack_text`: prompts may come from a cache of embeddings.
absl::Status CompareComponents(const ComponentFingerprints& ours, const ComponentFingerprints& theirs,
                               bool may_lack_text);

}  // namespace flowawr
