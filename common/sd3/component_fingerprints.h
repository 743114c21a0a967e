// What tells every part of a model from another one's: whatever shapes a sample beside its lease.
//
// The same latents decoded by another VAE are other images with other rewards; the same prompt read by another encoder
// or tokenizer has other embeddings. So an actor that has the run's transformer and another VAE must not take part, and
// a run that goes on with another tokenizer is another run. What a lease names (prompt, seeds, solver, steps, policy,
// rewards) is the learner's word and needs no comparison.
//
//   transformer                  configuration and every byte of the weights (model_fingerprint.h)
//   vae                          the same
//   scheduler                    its values, as they are
//   tokenizer, _2, _3            every byte of every file
//   text_encoder configuration, text_encoder weights, _2, _3
//                                every byte of the first, samples of the second: see below
//   text_encoder_3               "none" where model_index.json says that there is none
//   dtype                        of the frozen weights and activations
//   software                     what computes: LibTorch, and a number of ours
//
// Of the text encoders' weights, ten gigabytes, names, types and shapes of all tensors count, with three samples of
// 4 KiB from each (first, middle, last). Other training, rounding or merging changes every tensor that it touches
// nearly everywhere, so that the samples see it. They do not see a hand that changes single rows of an embedding.
#pragma once

#include <c10/core/ScalarType.h>

#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "common/sd3/component_loader.h"
#include "common/sd3/transformer.h"

namespace flowawr {

// By the part's name: a hex SHA-256, or for scheduler, dtype and software a text.
using ComponentFingerprints = std::map<std::string, std::string>;

// Of the tokenizers and text encoders that `index` names; an empty text where the files of a part are not there. No
// weights are loaded. Errors name the part.
absl::StatusOr<ComponentFingerprints> FingerprintTextSide(const ComponentLoader& index);

// Of the diffusers folder `folder`, whose transformer is loaded and computes in `dtype`. Parts whose files are not
// there are left out. Reads the VAE's weights once, on all cores, and megabytes of the text encoders'.
absl::StatusOr<ComponentFingerprints> FingerprintModel(const std::string& folder, const Transformer& transformer,
                                                       at::ScalarType dtype);

// The parts in which `theirs` differs from `ours`, each as "vae differs (actor 1a2b3c4d5e6f, run 3c4d5e6f1a2b)", with
// the names of the two sides. What only `theirs` has is no difference: whose folder lacks a part cannot judge it.
std::vector<std::string> DescribeDifferences(const ComponentFingerprints& ours, const std::string& our_name,
                                             const ComponentFingerprints& theirs, const std::string& their_name);

// Whether a part is one of those above.
bool IsPartOfModel(absl::string_view part);

// Whether a part belongs to the model's folder, not to the programs that compute with it.
bool IsOfModelFolder(const std::string& part);

}  // namespace flowawr
