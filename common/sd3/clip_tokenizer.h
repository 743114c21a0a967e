// CLIP's byte-level BPE: transformers' CLIPTokenizer.
//
// NFC, white space to single spaces, lower case; words by the pattern
//   's|'t|'re|'ve|'m|'ll|'d|\p{L}+|\p{N}|[^\s\p{L}\p{N}]+
// whose bytes, written as printable characters, are merged in the order of merges.txt; "</w>" ends a word.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "common/sd3/tokenizer.h"

namespace flowawr {

class ClipTokenizer : public Tokenizer {
 public:
  // The contents of vocab.json and merges.txt. `folder` begins every error.
  static absl::StatusOr<std::unique_ptr<const Tokenizer>> Parse(TokenizerConfig config, absl::string_view vocab,
                                                                absl::string_view merges, absl::string_view folder);

 private:
  using Vocabulary = absl::flat_hash_map<std::string, int64_t>;
  struct Merge {
    int64_t rank;  // lower goes first
    int64_t id;    // of the joined token
  };
  using Merges = absl::flat_hash_map<std::pair<int64_t, int64_t>, Merge>;

  ClipTokenizer(TokenizerConfig config, Frame frame, int64_t size, Vocabulary vocabulary, Merges merges,
                int64_t unknown);

  static absl::StatusOr<Vocabulary> ParseVocabulary(absl::string_view json, absl::string_view name);
  static absl::StatusOr<Merges> ParseMerges(absl::string_view text, const Vocabulary& vocabulary,
                                            absl::string_view name);

  std::string Normalize(absl::string_view text) const override;
  void EncodeNormalized(absl::string_view text, std::vector<int64_t>& ids) const override;
  void EncodeWord(absl::string_view word, std::vector<int64_t>& ids) const;

  const Merges merges_;
  const int64_t unknown_;
  std::array<int64_t, 256> inner_, last_;  // ids of the one-byte tokens, without and with "</w>"
};

}  // namespace flowawr
