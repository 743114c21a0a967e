#include "common/sd3/sentencepiece_model.h"

#include <bit>
#include <cmath>
#include <cstdint>

#include "absl/base/internal/endian.h"
#include "absl/strings/str_cat.h"
#include "common/base/status.h"
#include "common/base/utf8.h"
#include "common/sd3/unicode.h"

namespace flowawr {
namespace {

// One field of a protobuf message on the wire.
struct Field {
  uint64_t number = 0;
  uint64_t value = 0;       // of a varint, fixed32 or fixed64
  absl::string_view bytes;  // of a length-delimited field
};

// Takes fields off the front of a message; false at its end or where it is malformed.
class FieldReader {
 public:
  explicit FieldReader(absl::string_view message) : rest_(message) {}

  bool Next(Field& field) {
    uint64_t tag;
    if (rest_.empty() || !Varint(tag)) return false;
    field = {.number = tag >> 3};
    switch (tag & 7) {
      case 0:
        return Varint(field.value);
      case 1:
        return Fixed(8, field.value);
      case 2:
        return Delimited(field.bytes);
      case 5:
        return Fixed(4, field.value);
      default:
        return Fail();
    }
  }
  bool failed() const { return failed_; }

 private:
  bool Fail() {
    failed_ = true;
    return false;
  }
  bool Varint(uint64_t& value) {
    value = 0;
    for (int shift = 0; shift < 64 && !rest_.empty(); shift += 7) {
      const auto byte = static_cast<unsigned char>(rest_[0]);
      rest_.remove_prefix(1);
      value |= uint64_t{byte & 0x7fu} << shift;
      if (byte < 0x80) return true;
    }
    return Fail();
  }
  bool Fixed(size_t size, uint64_t& value) {
    if (rest_.size() < size) return Fail();
    value = size == 8 ? absl::little_endian::Load64(rest_.data()) : absl::little_endian::Load32(rest_.data());
    rest_.remove_prefix(size);
    return true;
  }
  bool Delimited(absl::string_view& bytes) {
    uint64_t size;
    if (!Varint(size)) return false;
    if (size > rest_.size()) return Fail();
    bytes = rest_.substr(0, size);
    rest_.remove_prefix(size);
    return true;
  }

  absl::string_view rest_;
  bool failed_ = false;
};

}  // namespace

absl::StatusOr<SentencePieceModel> ParseSentencePieceModel(absl::string_view bytes, absl::string_view name) {
  SentencePieceModel model;
  const absl::Status malformed = absl::InvalidArgumentError(absl::StrCat(name, ": not a SentencePiece model"));
  FieldReader message(bytes);
  Field field;
  while (message.Next(field)) {
    FieldReader inner(field.bytes);
    Field part;
    if (field.number == 1) {  // SentencePiece: piece = 1, score = 2
      SentencePieceModel::Piece piece;
      while (inner.Next(part)) {
        if (part.number == 1) piece.text = std::string(part.bytes);
        if (part.number == 2) piece.score = std::bit_cast<float>(static_cast<uint32_t>(part.value));
      }
      if (piece.text.empty() || !IsValidUtf8(piece.text) || !std::isfinite(piece.score))
        return absl::InvalidArgumentError(
            absl::StrCat(name, ": piece ", model.pieces.size(), " is empty, not UTF-8 or without a finite score"));
      model.pieces.push_back(std::move(piece));
    } else if (field.number == 2) {  // TrainerSpec: model_type = 3
      while (inner.Next(part))
        if (part.number == 3) model.model_type = static_cast<int>(part.value);
    } else if (field.number == 3) {  // NormalizerSpec: precompiled_charsmap = 2
      while (inner.Next(part))
        if (part.number == 2) model.precompiled_charsmap = std::string(part.bytes);
    }
    if (inner.failed() && field.number <= 3) return malformed;
  }
  if (message.failed() || model.pieces.empty()) return malformed;
  return model;
}

}  // namespace flowawr
