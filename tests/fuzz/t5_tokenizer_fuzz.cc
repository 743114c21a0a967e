// Model files and prompts of any bytes: tokenizer_config.json and the prompt, each ended by a zero byte, then
// spiece.model. Whatever is accepted encodes to exactly the asked number of ids, each within the vocabulary.
#include <cstdint>
#include <cstdlib>
#include <string>
#include <vector>

#include "absl/strings/str_split.h"
#include "common/sd3/t5_tokenizer.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  constexpr int kLength = 12;
  const absl::string_view input(reinterpret_cast<const char*>(data), size);
  std::vector<absl::string_view> parts = absl::StrSplit(input, absl::MaxSplits('\0', 2));
  parts.resize(3);
  auto config = flowawr::ParseTokenizerConfig(parts[0], "fuzz");
  if (!config.ok()) return 0;
  const auto tokenizer = flowawr::T5Tokenizer::Parse(*std::move(config), parts[2], "fuzz");
  if (!tokenizer.ok()) return 0;
  const auto ids = (*tokenizer)->Encode(parts[1], kLength);
  if (!ids.ok()) return 0;
  if (ids->size() != kLength) abort();
  for (const int64_t id : *ids)
    if (id < 0 || id >= (*tokenizer)->vocabulary_size()) abort();
  return 0;
}
