// A SentencePiece model file (spiece.model): a protobuf message, read here without its schema.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace flowawr {

struct SentencePieceModel {
  struct Piece {
    std::string text;
    float score = 0;
  };
  std::vector<Piece> pieces;         // by id
  std::string precompiled_charsmap;  // the normalization rules; empty: none
  int model_type = 1;                // 1: Unigram
};

// InvalidArgument, beginning with `name`, for bytes that are not such a message or hold no pieces.
absl::StatusOr<SentencePieceModel> ParseSentencePieceModel(absl::string_view bytes, absl::string_view name);

}  // namespace flowawr
