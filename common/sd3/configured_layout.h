// The adapter that a run's configuration asks for, on a transformer.
#pragma once

#include <memory>

#include "absl/status/statusor.h"
#include "common/nn/lora_adapter.h"
#include "common/sd3/transformer.h"
#include "flowawr/v1/config.pb.h"

namespace flowawr {

// Errors as Transformer::MakeLoraLayout().
inline absl::StatusOr<std::shared_ptr<const LoraLayout>> LayoutOf(const v1::LoraConfig& lora,
                                                                  const Transformer& transformer) {
  return transformer.MakeLoraLayout({lora.target_modules().begin(), lora.target_modules().end()}, lora.rank(),
                                    lora.alpha());
}

}  // namespace flowawr
