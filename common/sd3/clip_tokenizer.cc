#include "common/sd3/clip_tokenizer.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <queue>
#include <tuple>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "common/base/status.h"
#include "common/sd3/clip_unicode.h"
#include "common/sd3/unicode.h"
#include "common/tensor/strict_json.h"

namespace flowawr {
namespace {

// GPT-2's table: printable Latin-1 stands for itself, the other bytes for U+0100 and on.
std::string CharacterOfByte(int byte) {
  auto is_printable = [](int b) { return (b >= 0x21 && b <= 0x7e) || (b >= 0xa1 && b <= 0xac) || b >= 0xae; };
  int code_point = byte;
  if (!is_printable(byte)) {
    code_point = 256;
    for (int b = 0; b < byte; ++b) code_point += !is_printable(b);
  }
  std::string text;
  AppendCodePoint(code_point, text);
  return text;
}

// The one of `candidates` that `text` begins with, or empty.
absl::string_view PrefixAmong(absl::string_view text, std::initializer_list<absl::string_view> candidates) {
  for (absl::string_view candidate : candidates)
    if (absl::StartsWith(text, candidate)) return candidate;
  return "";
}

absl::string_view Contraction(absl::string_view text) {
  return PrefixAmong(text, {"'s", "'t", "'re", "'ve", "'m", "'ll", "'d"});
}

absl::string_view Marker(absl::string_view text) { return PrefixAmong(text, {"<|startoftext|>", "<|endoftext|>"}); }

// One word of the pattern, or a run of white space, at the start of `text`; returns its length.
// `is_word` says which.
size_t NextWord(absl::string_view text, bool& is_word) {
  is_word = true;
  if (const absl::string_view contraction = Contraction(text); !contraction.empty()) return contraction.size();
  auto run = [&](auto&& belongs) {
    size_t end = 0;
    for (size_t at = 0; at < text.size() && belongs(NextCodePoint(text, at));) end = at;
    return end;
  };
  size_t first_end = 0;
  const UChar32 first = NextCodePoint(text, first_end);
  if (IsLetter(first)) return run(IsLetter);
  if (IsNumber(first)) return first_end;
  is_word = !IsWhiteSpace(first);
  if (!is_word) return run(IsWhiteSpace);
  return run([](UChar32 c) { return !IsWhiteSpace(c) && !IsLetter(c) && !IsNumber(c); });
}

}  // namespace

absl::StatusOr<ClipTokenizer::Vocabulary> ClipTokenizer::ParseVocabulary(absl::string_view text,
                                                                         absl::string_view name) {
  FLOWAWR_ASSIGN_OR_RETURN(const nlohmann::json document, ParseStrictJson(text, name));
  if (!document.is_object() || document.empty())
    return absl::InvalidArgumentError(absl::StrCat(name, ": expected an object of tokens and their ids"));
  Vocabulary vocabulary;
  std::vector<bool> is_taken(document.size());
  for (const auto& [token, id] : document.items()) {
    if (!id.is_number_unsigned() || id.get<uint64_t>() >= document.size() || is_taken[id.get<uint64_t>()])
      return absl::InvalidArgumentError(
          absl::StrCat(name, ": the token \"", token, "\" must have an id of its own below ", document.size()));
    is_taken[id.get<uint64_t>()] = true;
    vocabulary[token] = id.get<int64_t>();
  }
  return vocabulary;
}

absl::StatusOr<ClipTokenizer::Merges> ClipTokenizer::ParseMerges(absl::string_view text, const Vocabulary& vocabulary,
                                                                 absl::string_view name) {
  Merges merges;
  int line_number = 0;
  for (absl::string_view line : absl::StrSplit(text, '\n')) {
    ++line_number;
    line = absl::StripSuffix(line, "\r");
    if (line.empty() || (line_number == 1 && absl::StartsWith(line, "#version"))) continue;
    const std::vector<std::string> parts = absl::StrSplit(line, ' ');
    auto invalid = [&](absl::string_view what) {
      return absl::InvalidArgumentError(absl::StrCat(name, ":", line_number, ": ", what));
    };
    if (parts.size() != 2) return invalid("expected two tokens and a space between them");
    const auto left = vocabulary.find(parts[0]), right = vocabulary.find(parts[1]);
    const auto joined = vocabulary.find(absl::StrCat(parts[0], parts[1]));
    if (left == vocabulary.end() || right == vocabulary.end() || joined == vocabulary.end())
      return invalid("the two tokens and their join must be in the vocabulary");
    const Merge merge{static_cast<int64_t>(merges.size()), joined->second};
    if (!merges.emplace(std::pair(left->second, right->second), merge).second) return invalid("the same merge again");
  }
  return merges;
}

absl::StatusOr<std::unique_ptr<const Tokenizer>> ClipTokenizer::Parse(TokenizerConfig config, absl::string_view vocab,
                                                                      absl::string_view merges_text,
                                                                      absl::string_view folder) {
  // transformers' defaults.
  const std::tuple<std::string*, const char*> defaults[] = {{&config.bos_token, "<|startoftext|>"},
                                                            {&config.eos_token, "<|endoftext|>"},
                                                            {&config.unk_token, "<|endoftext|>"},
                                                            {&config.pad_token, "<|endoftext|>"}};
  for (const auto& [token, value] : defaults) {
    if (!token->empty()) continue;
    *token = value;
    config.AddToken({.content = value});
  }
  FLOWAWR_ASSIGN_OR_RETURN(Vocabulary vocabulary, ParseVocabulary(vocab, absl::StrCat(folder, "/vocab.json")));
  FLOWAWR_ASSIGN_OR_RETURN(Merges merges, ParseMerges(merges_text, vocabulary, absl::StrCat(folder, "/merges.txt")));
  auto find = [&](const std::string& token) -> std::optional<int64_t> {
    const auto found = vocabulary.find(token);
    if (found == vocabulary.end()) return std::nullopt;
    return found->second;
  };
  FLOWAWR_ASSIGN_OR_RETURN(const int64_t size, config.ResolveIds(find, vocabulary.size(), folder));
  const Frame frame{{config.IdOf(config.bos_token)}, {config.IdOf(config.eos_token)}, config.IdOf(config.pad_token)};
  const int64_t unknown = config.IdOf(config.unk_token);
  return std::unique_ptr<const Tokenizer>(
      new ClipTokenizer(std::move(config), frame, size, std::move(vocabulary), std::move(merges), unknown));
}

ClipTokenizer::ClipTokenizer(TokenizerConfig config, Frame frame, int64_t size, Vocabulary vocabulary, Merges merges,
                             int64_t unknown)
    : Tokenizer(std::move(config), std::move(frame), size), merges_(std::move(merges)), unknown_(unknown) {
  for (int byte = 0; byte < 256; ++byte) {
    const std::string character = CharacterOfByte(byte);
    auto find = [&](const std::string& token) {
      const auto found = vocabulary.find(token);
      return found == vocabulary.end() ? unknown_ : found->second;
    };
    inner_[byte] = find(character);
    last_[byte] = find(absl::StrCat(character, "</w>"));
  }
}

std::string ClipTokenizer::Normalize(absl::string_view text) const {
  const std::string composed = Composed(text);
  std::string normalized;
  bool is_in_space = false;
  for (size_t at = 0; at < composed.size();) {
    const UChar32 c = NextCodePoint(composed, at);
    if (IsWhiteSpace(c)) {
      if (!is_in_space) normalized += ' ';
    } else {
      AppendLowerCase(c, normalized);
    }
    is_in_space = IsWhiteSpace(c);
  }
  return normalized;
}

void ClipTokenizer::EncodeNormalized(absl::string_view text, std::vector<int64_t>& ids) const {
  while (!text.empty()) {
    // The two markers are words to transformers' first pattern; its second one splits them in three.
    if (const absl::string_view marker = Marker(text); !marker.empty()) {
      EncodeWord("<|", ids);
      EncodeWord(marker.substr(2, marker.size() - 4), ids);
      EncodeWord("|>", ids);
      text.remove_prefix(marker.size());
      continue;
    }
    bool is_word;
    const size_t length = NextWord(text, is_word);
    if (is_word) EncodeWord(text.substr(0, length), ids);
    text.remove_prefix(length);
  }
}

// The pair of lowest rank is joined first, of equal ones the leftmost, until no pair has a rank.
void ClipTokenizer::EncodeWord(absl::string_view word, std::vector<int64_t>& ids) const {
  struct Symbol {
    int64_t id;
    int previous, next;  // -1: none; an absorbed symbol has id -1
  };
  const int size = word.size();
  std::vector<Symbol> symbols(size);
  for (int i = 0; i < size; ++i) {
    const auto byte = static_cast<unsigned char>(word[i]);
    symbols[i] = {i + 1 == size ? last_[byte] : inner_[byte], i - 1, i + 1 == size ? -1 : i + 1};
  }
  using Candidate = std::tuple<int64_t, int, int64_t, int64_t>;  // rank, position, left id, right id
  std::priority_queue<Candidate, std::vector<Candidate>, std::greater<>> candidates;
  auto consider = [&](int left) {
    if (left < 0 || symbols[left].next < 0) return;
    const auto merge = merges_.find({symbols[left].id, symbols[symbols[left].next].id});
    if (merge != merges_.end()) candidates.emplace(merge->second.rank, left, merge->first.first, merge->first.second);
  };
  for (int i = 0; i + 1 < size; ++i) consider(i);
  while (!candidates.empty()) {
    const auto [rank, left, left_id, right_id] = candidates.top();
    candidates.pop();
    const int right = symbols[left].next;
    if (symbols[left].id != left_id || right < 0 || symbols[right].id != right_id)
      continue;  // merged otherwise meanwhile
    symbols[left].id = merges_.find({left_id, right_id})->second.id;
    symbols[left].next = symbols[right].next;
    if (symbols[right].next >= 0) symbols[symbols[right].next].previous = left;
    symbols[right].id = -1;
    consider(symbols[left].previous);
    consider(left);
  }
  for (const Symbol& symbol : symbols)
    if (symbol.id >= 0) ids.push_back(symbol.id);
}

}  // namespace flowawr
