// The text encoders of the embedded model, loaded once a process.
#pragma once

#include <ATen/ops/equal.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>

#include "common/sd3/text_encoders.h"

namespace flowawr {

inline constexpr char kModel[] = "models/tiny-sd3";
inline constexpr char kPrompt[] = "a sign that says \"CAT\"";
inline const TextEncoders::Options kOptions = {.placement = at::kFloat, .max_sequence_length = 12};

inline PromptEmbeds Embeds(const std::string& prompt) {
  static const std::unique_ptr<const TextEncoders> encoders = TextEncoders::Load(kModel, kOptions).value();
  return encoders->EncodePrompts({prompt}).value();
}

inline void ExpectEqual(const PromptEmbeds& a, const PromptEmbeds& b) {
  EXPECT_TRUE(at::equal(a.prompt_embeds, b.prompt_embeds));
  EXPECT_TRUE(at::equal(a.pooled, b.pooled));
}

}  // namespace flowawr
