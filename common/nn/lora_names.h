// The names under which LoRA matrices are stored: by peft, by diffusers of today and before, and with kohya's alphas.
#pragma once

#include <string>

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
  std::string adapter;  // "default" in "...lora_A.default.weight"; else empty
};

// InvalidArgument for a name that is not of a LoRA matrix: the message says, without the name, what it is then. Pure.
absl::StatusOr<LoraTensorName> ParseLoraTensorName(absl::string_view name);

}  // namespace flowawr
