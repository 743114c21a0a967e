// T5's Unigram tokenizer: transformers' T5Tokenizer, from spiece.model.
//
// The rules of the model file normalize; white space separates words; a word begins with U+2581; the segmentation with
// the highest sum of scores is taken (Viterbi), a stretch without pieces becoming one <unk>.
//
// The model file is read without libsentencepiece: the published models go through the `tokenizers` library, which
// differs from it in normalization (see precompiled_charsmap.h), white space and special tokens.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "common/sd3/precompiled_charsmap.h"
#include "common/sd3/sentencepiece_model.h"
#include "common/sd3/tokenizer.h"

namespace flowawr {

class T5Tokenizer : public Tokenizer {
 public:
  // The content of spiece.model. `folder` begins every error.
  static absl::StatusOr<std::unique_ptr<const Tokenizer>> Parse(TokenizerConfig config, absl::string_view model,
                                                                absl::string_view folder);
  // The same, parsed from the file called `name`.
  static absl::StatusOr<std::unique_ptr<const Tokenizer>> Make(TokenizerConfig config, SentencePieceModel model,
                                                               absl::string_view folder, absl::string_view name);

 private:
  // All pieces as a tree of bytes; 0 is the root.
  class PieceTrie {
   public:
    void Add(absl::string_view piece, int64_t id);
    // The node below `node`, or -1.
    int64_t Child(int64_t node, char byte) const;
    // The piece that ends at `node`, or -1.
    int64_t PieceAt(int64_t node) const { return pieces_[node]; }

   private:
    absl::flat_hash_map<int64_t, int64_t> children_;  // by node * 256 + byte
    std::vector<int64_t> pieces_ = {-1};
  };

  T5Tokenizer(TokenizerConfig config, Frame frame, int64_t size, PieceTrie trie, std::vector<double> scores,
              PrecompiledCharsmap charsmap);

  std::string Normalize(absl::string_view text) const override { return charsmap_.Normalize(text); }
  void EncodeNormalized(absl::string_view text, std::vector<int64_t>& ids) const override;
  void EncodeWord(absl::string_view word, std::vector<int64_t>& ids) const;
  int64_t IdOfPiece(absl::string_view piece) const;

  const PieceTrie trie_;
  const std::vector<double> scores_;
  const double unknown_score_;
  const PrecompiledCharsmap charsmap_;
};

}  // namespace flowawr
