#include "common/sd3/t5_tokenizer.h"

#include <algorithm>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/base/status.h"
#include "common/sd3/unicode.h"

namespace flowawr {
namespace {

constexpr int64_t kUnknown = 2;         // transformers fixes it for T5
constexpr double kUnknownPenalty = 10;  // below the worst piece
constexpr absl::string_view kWordStart = "\u2581";

}  // namespace

void T5Tokenizer::PieceTrie::Add(absl::string_view piece, int64_t id) {
  int64_t node = 0;
  for (const char c : piece) {
    const auto [child, is_new] = children_.try_emplace(node * 256 + static_cast<unsigned char>(c), pieces_.size());
    node = child->second;
    if (is_new) pieces_.push_back(-1);
  }
  pieces_[node] = id;
}

int64_t T5Tokenizer::PieceTrie::Child(int64_t node, char byte) const {
  const auto child = children_.find(node * 256 + static_cast<unsigned char>(byte));
  return child == children_.end() ? -1 : child->second;
}

absl::StatusOr<std::unique_ptr<const Tokenizer>> T5Tokenizer::Parse(TokenizerConfig config, absl::string_view bytes,
                                                                    absl::string_view folder) {
  const std::string name = absl::StrCat(folder, "/spiece.model");
  FLOWAWR_ASSIGN_OR_RETURN(SentencePieceModel model, ParseSentencePieceModel(bytes, name));
  return Make(std::move(config), std::move(model), folder, name);
}

absl::StatusOr<std::unique_ptr<const Tokenizer>> T5Tokenizer::Make(TokenizerConfig config, SentencePieceModel model,
                                                                   absl::string_view folder, absl::string_view name) {
  if (model.model_type != 1)
    return absl::InvalidArgumentError(
        absl::StrCat(name, ": model type ", model.model_type, "; only Unigram (1) is read"));
  FLOWAWR_ASSIGN_OR_RETURN(PrecompiledCharsmap charsmap, PrecompiledCharsmap::Parse(model.precompiled_charsmap, name));
  // The sentinels follow the model's pieces, the last one first, and are pieces of score 0 themselves.
  auto is_there = [&](const std::string& text) {
    return std::any_of(model.pieces.begin(), model.pieces.end(), [&](const auto& piece) { return piece.text == text; });
  };
  const bool has_sentinels = config.extra_ids > 0 && is_there("<extra_id_0>");
  for (int i = config.extra_ids - 1; i >= 0; --i) {
    const std::string sentinel = absl::StrCat("<extra_id_", i, ">");
    if (!has_sentinels) model.pieces.push_back({sentinel, 0});
    config.AddToken({.content = sentinel});
  }
  const std::pair<std::string*, const char*> defaults[] = {
      {&config.eos_token, "</s>"}, {&config.unk_token, "<unk>"}, {&config.pad_token, "<pad>"}};
  for (const auto& [token, value] : defaults) {
    if (!token->empty()) continue;
    *token = value;
    config.AddToken({.content = value});
  }
  if (model.pieces.size() <= kUnknown || model.pieces[kUnknown].text != config.unk_token)
    return absl::InvalidArgumentError(absl::StrCat(name, ": piece ", kUnknown, " must be ", config.unk_token));

  PieceTrie trie;
  std::vector<double> scores;
  absl::flat_hash_map<std::string, int64_t> ids;
  for (const SentencePieceModel::Piece& piece : model.pieces) {
    const int64_t id = scores.size();
    if (!ids.emplace(piece.text, id).second)
      return absl::InvalidArgumentError(absl::StrCat(name, ": the piece \"", piece.text, "\" is there twice"));
    trie.Add(piece.text, id);
    scores.push_back(piece.score);
  }
  auto find = [&](const std::string& token) -> std::optional<int64_t> {
    const auto found = ids.find(token);
    if (found == ids.end()) return std::nullopt;
    return found->second;
  };
  FLOWAWR_ASSIGN_OR_RETURN(const int64_t size, config.ResolveIds(find, scores.size(), folder));
  const Frame frame{{}, {config.IdOf(config.eos_token)}, config.IdOf(config.pad_token)};
  return std::unique_ptr<const Tokenizer>(
      new T5Tokenizer(std::move(config), frame, size, std::move(trie), std::move(scores), std::move(charsmap)));
}

T5Tokenizer::T5Tokenizer(TokenizerConfig config, Frame frame, int64_t size, PieceTrie trie, std::vector<double> scores,
                         PrecompiledCharsmap charsmap)
    : Tokenizer(std::move(config), std::move(frame), size),
      trie_(std::move(trie)),
      scores_(std::move(scores)),
      unknown_score_(*std::min_element(scores_.begin(), scores_.end()) - kUnknownPenalty),
      charsmap_(std::move(charsmap)) {}

void T5Tokenizer::EncodeNormalized(absl::string_view text, std::vector<int64_t>& ids) const {
  std::string word;
  auto finish_word = [&] {
    if (!word.empty()) EncodeWord(word, ids);
    word.clear();
  };
  for (size_t at = 0; at < text.size();) {
    const size_t begin = at;
    const UChar32 c = NextCodePoint(text, at);
    if (IsWhiteSpace(c)) {
      finish_word();
      continue;
    }
    const absl::string_view character = text.substr(begin, at - begin);
    if (character == kWordStart) finish_word();
    if (word.empty() && character != kWordStart) word = std::string(kWordStart);
    word.append(character.data(), character.size());
  }
  finish_word();
}

int64_t T5Tokenizer::IdOfPiece(absl::string_view piece) const {
  int64_t node = 0;
  for (size_t i = 0; i < piece.size() && node >= 0; ++i) node = trie_.Child(node, piece[i]);
  return node >= 0 && trie_.PieceAt(node) >= 0 ? trie_.PieceAt(node) : kUnknown;
}

void T5Tokenizer::EncodeWord(absl::string_view word, std::vector<int64_t>& ids) const {
  // The best way to reach each byte; begin -1: not reached.
  struct Node {
    int64_t begin = -1;
    int64_t id = kUnknown;
    double score = 0;
  };
  std::vector<Node> best(word.size() + 1);
  auto reach = [&](size_t begin, size_t end, int64_t id, double score) {
    const double total = best[begin].score + score;
    if (best[end].begin < 0 || total > best[end].score) best[end] = {static_cast<int64_t>(begin), id, total};
  };
  for (size_t begin = 0; begin < word.size();) {
    size_t next = begin;
    NextCodePoint(word, next);
    bool has_single = false;
    int64_t node = 0;
    for (size_t end = begin; end < word.size();) {
      node = trie_.Child(node, word[end]);
      if (node < 0) break;
      ++end;
      const int64_t id = trie_.PieceAt(node);
      if (id < 0) continue;
      reach(begin, end, id, scores_[id]);
      has_single |= end == next;
    }
    if (!has_single) reach(begin, next, kUnknown, unknown_score_);
    begin = next;
  }
  const size_t first = ids.size();
  for (int64_t end = word.size(); end > 0;) {
    if (best[end].id != kUnknown) {
      ids.push_back(best[end].id);
      end = best[end].begin;
      continue;
    }
    int64_t begin = end;  // a run of unknowns is one token
    while (begin > 0 && best[begin].id == kUnknown) begin = best[begin].begin;
    ids.push_back(IdOfPiece(word.substr(begin, end - begin)));
    end = begin;
  }
  std::reverse(ids.begin() + first, ids.end());
}

}  // namespace flowawr
