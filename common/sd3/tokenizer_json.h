// The vocabulary in a tokenizer.json, the one file that the `tokenizers` library writes, in the form of the files that
// a folder without it has. Like transformers, only that is taken from it: how text is normalized and split is the
// tokenizer class's.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "common/sd3/added_tokens.h"
#include "common/sd3/sentencepiece_model.h"

namespace flowawr {

struct BpeFiles {
  std::string vocab;   // vocab.json
  std::string merges;  // merges.txt
  std::vector<AddedToken> added_tokens;
};

struct UnigramFile {
  SentencePieceModel model;  // spiece.model
  std::vector<AddedToken> added_tokens;
};

// InvalidArgument, beginning with `name`, for a file of another kind.
absl::StatusOr<BpeFiles> BpeFromTokenizerJson(absl::string_view text, absl::string_view name);
absl::StatusOr<UnigramFile> UnigramFromTokenizerJson(absl::string_view text, absl::string_view name);

}  // namespace flowawr
