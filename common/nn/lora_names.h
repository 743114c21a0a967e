// The names under which LoRA matrices are stored: by peft, by diffusers of today and before, by kohya's scripts and
// OneTrainer, and with what wrappers around a model (torch.compile, DistributedDataParallel, FSDP, ComfyUI) add to
// them.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace flowawr {

struct LoraTensorName {
  enum class Part { kA, kB, kAlpha };
  enum class Prefix {
    kNone,
    kTransformer,  // "transformer.": diffusers, a pipeline's file
    kPeft,         // "base_model.model.": peft
  };

  std::string module;  // "transformer_blocks.0.attn.to_q"
  Part part = Part::kA;
  Prefix prefix = Prefix::kNone;
  std::string adapter;                // "default" in "...lora_A.default.weight"; else empty
  std::vector<std::string> stripped;  // what else was taken out of the name: "_orig_mod.", "diffusion_model.", ...
};

// Takes out what wrappers add to a module's name, wherever it stands; `stripped`, if given, gets what it was. Pure.
std::string StripWrapperNames(absl::string_view name, std::vector<std::string>* stripped = nullptr);

// InvalidArgument for a name that is not of a LoRA matrix: the message says, without the name, what it is then. Pure.
absl::StatusOr<LoraTensorName> ParseLoraTensorName(absl::string_view name);

}  // namespace flowawr
