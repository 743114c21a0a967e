// An adapter as large as one of Stable Diffusion 3.5 Medium.
#pragma once

#include <memory>
#include <string>
#include <utility>

#include "common/nn/lora_adapter.h"

namespace flowawr {

// 24 blocks, the query, key, value and output projections of both streams, 1536 wide, rank 32: 38 MB of f32.
inline std::shared_ptr<const LoraLayout> MediumLayout() {
  LoraLayout layout{32, 64, {}};
  for (int block = 0; block < 24; ++block)
    for (const char* module : {"to_q", "to_k", "to_v", "to_out.0"})
      layout.modules.push_back({"transformer_blocks." + std::to_string(block) + ".attn." + module, 1536, 1536});
  return std::make_shared<const LoraLayout>(std::move(layout));
}

}  // namespace flowawr
