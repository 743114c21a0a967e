// Images of prompts, drawn in this process: what `flowawr sample` does once its inputs are known.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/sd3/pipeline.h"
#include "common/tensor/image.h"
#include "flowawr/v1/config.pb.h"

namespace flowawr {

struct SampleRequest {
  std::vector<std::string> prompts;
  int count = 1;  // images of each prompt
  uint64_t seed = 1;
  v1::Solver solver = v1::EULER;
  int steps = 40;
  int height = 0;
  int width = 0;
};

struct SampledImage {
  size_t prompt = 0;  // index in the request
  int sample = 0;     // 0 to count - 1
  Image image;
};

// Calls `take` for every image, prompt by prompt, as soon as it is there, and stops at its first error. The noise of an
// image is fixed by (seed, index of the prompt, sample). A null `adapter` is the base model.
//
// InvalidArgument for sizes that the model does not accept, Internal for latents that are not finite.
absl::Status SampleImages(const Pipeline& pipeline, const BoundAdapter* adapter, const SampleRequest& request,
                          absl::FunctionRef<absl::Status(SampledImage)> take);

// An adapter for `transformer` from a PEFT folder of any rank and any modules. InvalidArgument when the folder asks for
// something else than plain LoRA on modules that are there.
absl::StatusOr<BoundAdapter> BindPeftFolder(const Transformer& transformer, const std::string& folder);

// The same from a checkpoint's file, whose layout the run's configuration tells.
absl::StatusOr<BoundAdapter> BindAdapterFile(const Transformer& transformer, const std::string& file,
                                             const v1::LoraConfig& lora);

// Where an image goes and what its text metadata says. Pure.
std::string SampleFileName(size_t prompt, int sample);
std::map<std::string, std::string> SampleMetadata(const SampleRequest& request, size_t prompt, int sample,
                                                  const std::string& model, const std::string& adapter);

// "euler", "dpm_solver_pp_2m" and back; nullopt for any other name.
std::string SolverName(v1::Solver solver);
std::optional<v1::Solver> SolverFromName(const std::string& name);

}  // namespace flowawr
