#include "common/sd3/tokenizer_json.h"

#include <cmath>
#include <nlohmann/json.hpp>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "common/base/status.h"
#include "common/sd3/tokenizer_config.h"
#include "common/tensor/strict_json.h"

namespace flowawr {
namespace {

using nlohmann::json;

absl::Status Invalid(absl::string_view name, absl::string_view what) {
  return absl::InvalidArgumentError(absl::StrCat(name, ": ", what));
}

// The document's model, checked to be of `type`.
absl::StatusOr<json> ParseModel(absl::string_view text, absl::string_view name, const char* type, json& document) {
  FLOWAWR_ASSIGN_OR_RETURN(document, ParseStrictJson(text, name));
  if (!document.is_object() || !document.contains("model") || !document["model"].is_object())
    return Invalid(name, "no model object");
  json model = std::move(document["model"]);
  const json found = model.value("type", json());
  if (found != type) return Invalid(name, absl::StrCat("its model is ", found.dump(), ", expected \"", type, "\""));
  return model;
}

absl::StatusOr<std::string> MergeLine(const json& merge, absl::string_view name) {
  std::string line;
  if (merge.is_string()) {
    line = merge.get<std::string>();
  } else if (merge.is_array() && merge.size() == 2 && merge[0].is_string() && merge[1].is_string()) {
    line = absl::StrCat(merge[0].get<std::string>(), " ", merge[1].get<std::string>());
  } else {
    return Invalid(name, "a merge must be two tokens");
  }
  if (line.find_first_of("\r\n") != line.npos) return Invalid(name, "a merge holds a line break");
  return line;
}

// The first rules of the kind that a SentencePiece model brings along, in base64; empty: none.
absl::StatusOr<std::string> Charsmap(const json& document, absl::string_view name) {
  std::vector<json> normalizers = {document.value("normalizer", json())};
  if (normalizers[0].is_object() && normalizers[0].contains("normalizers") && normalizers[0]["normalizers"].is_array())
    normalizers = normalizers[0]["normalizers"].get<std::vector<json>>();
  for (const json& normalizer : normalizers) {
    if (!normalizer.is_object() || normalizer.value("type", json()) != "Precompiled") continue;
    const json encoded = normalizer.value("precompiled_charsmap", json());
    std::string charsmap;
    if (!encoded.is_string() || !absl::Base64Unescape(encoded.get<std::string>(), &charsmap))
      return Invalid(name, "precompiled_charsmap is not base64");
    return charsmap;
  }
  return "";
}

}  // namespace

absl::StatusOr<BpeFiles> BpeFromTokenizerJson(absl::string_view text, absl::string_view name) {
  json document;
  FLOWAWR_ASSIGN_OR_RETURN(const json model, ParseModel(text, name, "BPE", document));
  if (model.value("end_of_word_suffix", json()) != "</w>")
    return Invalid(name, "end_of_word_suffix must be \"</w>\", as in CLIP's");
  if (!model.contains("vocab") || !model.contains("merges") || !model["merges"].is_array())
    return Invalid(name, "the model has no vocab or no list of merges");
  BpeFiles files{.vocab = model["vocab"].dump(), .merges = "#version\n", .added_tokens = {}};
  for (const json& merge : model["merges"]) {
    FLOWAWR_ASSIGN_OR_RETURN(const std::string line, MergeLine(merge, name));
    absl::StrAppend(&files.merges, line, "\n");
  }
  FLOWAWR_ASSIGN_OR_RETURN(files.added_tokens, ParseAddedTokens(document.value("added_tokens", json()), name));
  return files;
}

absl::StatusOr<UnigramFile> UnigramFromTokenizerJson(absl::string_view text, absl::string_view name) {
  json document;
  FLOWAWR_ASSIGN_OR_RETURN(const json model, ParseModel(text, name, "Unigram", document));
  if (model.value("byte_fallback", json(false)) != false) return Invalid(name, "byte_fallback is not supported");
  const json vocab = model.value("vocab", json());
  if (!vocab.is_array()) return Invalid(name, "the model has no list vocab");
  UnigramFile file;
  for (const json& piece : vocab) {
    if (!piece.is_array() || piece.size() != 2 || !piece[0].is_string() || piece[0].get<std::string>().empty() ||
        !piece[1].is_number() || !std::isfinite(piece[1].get<float>()))
      return Invalid(name, absl::StrCat("piece ", file.model.pieces.size(), " must be a text and its score"));
    file.model.pieces.push_back({piece[0].get<std::string>(), piece[1].get<float>()});
  }
  FLOWAWR_ASSIGN_OR_RETURN(file.model.precompiled_charsmap, Charsmap(document, name));
  FLOWAWR_ASSIGN_OR_RETURN(file.added_tokens, ParseAddedTokens(document.value("added_tokens", json()), name));
  return file;
}

}  // namespace flowawr
