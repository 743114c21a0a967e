// From a prompt to the token ids that a text encoder takes, exactly as transformers computes them.
//
// Tokenizers are immutable and thread-safe. Two kinds are known: CLIPTokenizer (vocab.json and merges.txt) and
// T5Tokenizer (spiece.model); of a folder without those files tokenizer.json is read. Both need tokenizer_config.json.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "common/sd3/tokenizer_config.h"

namespace flowawr {

class Tokenizer {
 public:
  // Reads a tokenizer folder; tokenizer_class in its configuration picks the kind. NotFound or InvalidArgument that
  // names the file.
  static absl::StatusOr<std::unique_ptr<const Tokenizer>> Load(const std::string& folder);
  virtual ~Tokenizer() = default;

  // Exactly `max_length` ids: special tokens in place, too long a text cut at the end, padded on the right.
  // InvalidArgument for text that is not UTF-8 or a `max_length` without room for the special tokens.
  absl::StatusOr<std::vector<int64_t>> Encode(absl::string_view text, int max_length) const;

  // The end of `text` that Encode() with the same arguments leaves out, for a warning: what follows the longest
  // beginning of as many tokens as there is room for. Empty when all of it is encoded, or when Encode() fails.
  std::string CutOff(absl::string_view text, int max_length) const;

  // The longest sequence the tokenizer's folder declares.
  int model_max_length() const { return config_.model_max_length; }

  // Every id is below this.
  int64_t vocabulary_size() const { return vocabulary_size_; }

 protected:
  // What the kinds differ in.
  struct Frame {
    std::vector<int64_t> before;
    std::vector<int64_t> after;
    int64_t pad = 0;
  };
  Tokenizer(TokenizerConfig config, Frame frame, int64_t vocabulary_size)
      : config_(std::move(config)), frame_(std::move(frame)), vocabulary_size_(vocabulary_size) {}

  virtual std::string Normalize(absl::string_view text) const = 0;
  // Appends the ids of normalized text that holds no added token.
  virtual void EncodeNormalized(absl::string_view text, std::vector<int64_t>& ids) const = 0;

 private:
  // The ids of valid UTF-8, without the special tokens around them.
  std::vector<int64_t> EncodeBody(absl::string_view text) const;

  const TokenizerConfig config_;
  const Frame frame_;
  const int64_t vocabulary_size_;
};

}  // namespace flowawr
