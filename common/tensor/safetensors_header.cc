#include "common/tensor/safetensors_header.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>

#include "absl/base/internal/endian.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/base/status.h"
#include "common/base/utf8.h"
#include "common/tensor/strict_json.h"

namespace flowawr {
namespace {

using nlohmann::json;

constexpr uint64_t kMaxHeaderBytes = 100'000'000;
constexpr size_t kMostShownBytes = 256;  // of a name, in messages
constexpr int kMaxDepth = 127;           // as deep as the published library reads fields that nobody knows

constexpr std::pair<absl::string_view, int> kDtypeBits[] = {
    {"F64", 64},    {"C64", 64},    {"F32", 32},        {"F16", 16},       {"BF16", 16}, {"F8_E4M3", 8},
    {"F8_E5M2", 8}, {"F8_E8M0", 8}, {"F6_E2M3", 6},     {"F6_E3M2", 6},    {"F4", 4},    {"I64", 64},
    {"I32", 32},    {"I16", 16},    {"I8", 8},          {"U64", 64},       {"U32", 32},  {"U16", 16},
    {"U8", 8},      {"BOOL", 8},    {"F8_E4M3FNUZ", 8}, {"F8_E5M2FNUZ", 8}};

absl::Status Invalid(absl::string_view file, absl::string_view tensor, absl::string_view what) {
  return absl::InvalidArgumentError(
      absl::StrCat(file, ": tensor \"", TruncateUtf8(tensor, kMostShownBytes), "\" ", what));
}

std::string ShapeText(const std::vector<uint64_t>& shape) {
  constexpr size_t kMost = 16;
  if (shape.size() <= kMost) return absl::StrCat("[", absl::StrJoin(shape, ","), "]");
  return absl::StrCat("[", absl::StrJoin(shape.begin(), shape.begin() + kMost, ","), ",...]");
}

absl::StatusOr<SafetensorsEntry> ParseEntry(const json& value, absl::string_view file, absl::string_view tensor) {
  if (!value.is_object() || !value.contains("dtype") || !value.contains("shape") || !value.contains("data_offsets"))
    return Invalid(file, tensor, "must have the fields dtype, shape and data_offsets");
  const json& dtype = value["dtype"];
  const json& shape = value["shape"];
  const json& offsets = value["data_offsets"];
  SafetensorsEntry entry;
  if (!dtype.is_string()) return Invalid(file, tensor, "has a dtype that is not a string");
  entry.dtype = dtype.get<std::string>();
  const uint64_t dtype_bits = SafetensorsDtypeBits(entry.dtype);
  if (dtype_bits == 0)
    return Invalid(file, tensor, absl::StrCat("has the unknown dtype \"", TruncateUtf8(entry.dtype, 64), "\""));

  if (!shape.is_array()) return Invalid(file, tensor, "has a shape that is not a list of sizes");
  uint64_t bits = 1;
  bool overflows = false;
  for (const json& size : shape) {
    if (!size.is_number_unsigned()) return Invalid(file, tensor, "has a size that is not a whole number from 0");
    entry.shape.push_back(size.get<uint64_t>());
    overflows = overflows || __builtin_mul_overflow(bits, entry.shape.back(), &bits);
  }
  if (overflows || __builtin_mul_overflow(bits, dtype_bits, &bits))
    return Invalid(file, tensor, "has a shape whose product overflows");
  if (bits % 8 != 0)
    return Invalid(file, tensor,
                   absl::StrCat("takes ", bits, " bits as ", entry.dtype, " ", ShapeText(entry.shape),
                                ", which is no whole number of bytes"));
  const uint64_t bytes = bits / 8;
  if (!offsets.is_array() || offsets.size() != 2 || !offsets[0].is_number_unsigned() ||
      !offsets[1].is_number_unsigned())
    return Invalid(file, tensor, "has data_offsets that are not two whole numbers from 0");
  entry.begin = offsets[0].get<uint64_t>();
  entry.end = offsets[1].get<uint64_t>();
  if (entry.end < entry.begin || entry.end - entry.begin != bytes)
    return Invalid(file, tensor,
                   absl::StrCat("has data_offsets [", entry.begin, ", ", entry.end, "], but ", entry.dtype, " ",
                                ShapeText(entry.shape), " takes ", bytes, " bytes"));
  return entry;
}

absl::StatusOr<std::map<std::string, std::string>> ParseMetadata(const json& value, absl::string_view file) {
  std::map<std::string, std::string> metadata;
  if (value.is_null()) return metadata;
  if (!value.is_object()) return absl::InvalidArgumentError(absl::StrCat(file, ": __metadata__ is not an object"));
  for (const auto& [key, text] : value.items()) {
    if (!text.is_string())
      return absl::InvalidArgumentError(absl::StrCat(file, ": __metadata__ \"", key, "\" is not a string"));
    metadata[key] = text.get<std::string>();
  }
  return metadata;
}

// In the order of their offsets the tensors must tile the data exactly.
absl::Status CheckTiling(const SafetensorsHeader& header, uint64_t data_bytes, absl::string_view file) {
  std::vector<std::pair<std::pair<uint64_t, uint64_t>, const std::string*>> spans;
  for (const auto& [name, entry] : header.tensors) spans.push_back({{entry.begin, entry.end}, &name});
  std::sort(spans.begin(), spans.end());
  uint64_t at = 0;
  for (const auto& [span, name] : spans) {
    if (span.first < at) return Invalid(file, *name, absl::StrCat("overlaps another at data byte ", span.first));
    if (span.first > at)
      return Invalid(file, *name, absl::StrCat("leaves a hole before it, data bytes ", at, " to ", span.first));
    at = span.second;
  }
  if (at != data_bytes)
    return absl::InvalidArgumentError(absl::StrCat(file, ": the tensors take ", at, " bytes of data but the file has ",
                                                   data_bytes,
                                                   at > data_bytes ? "; it is cut short, fetch it again" : ""));
  return absl::OkStatus();
}

}  // namespace

int SafetensorsDtypeBits(absl::string_view dtype) {
  for (const auto& [name, bits] : kDtypeBits)
    if (name == dtype) return bits;
  return 0;
}

absl::StatusOr<SafetensorsHeader> ParseSafetensorsHeader(absl::string_view file, absl::string_view name) {
  if (file.size() < 8)
    return absl::InvalidArgumentError(
        absl::StrCat(name, ": ", file.size(), " bytes are too few for a safetensors file; fetch it again"));
  if (absl::StartsWith(file, "version https://git-lfs"))
    return absl::InvalidArgumentError(
        absl::StrCat(name, ": a Git LFS pointer, not the file itself; run git lfs pull in its repository"));
  const uint64_t header_bytes = absl::little_endian::Load64(file.data());
  if (header_bytes > kMaxHeaderBytes)
    return absl::InvalidArgumentError(
        absl::StrCat(name, ": a header of ", header_bytes, " bytes; at most ", kMaxHeaderBytes, " are read"));
  if (header_bytes > file.size() - 8)
    return absl::InvalidArgumentError(absl::StrCat(name, ": the header should take ", header_bytes, " bytes, but only ",
                                                   file.size() - 8, " follow; the file is cut short, fetch it again"));
  const absl::string_view text = file.substr(8, header_bytes);
  const size_t begin = text.find_first_not_of(" \t\r\n");  // the parser would overlook a byte order mark
  if (begin == text.npos || text[begin] != '{')
    return absl::InvalidArgumentError(absl::StrCat(name, ": the header does not begin with '{'"));
  FLOWAWR_ASSIGN_OR_RETURN(const json document, ParseStrictJson(text, name, kMaxDepth));

  SafetensorsHeader header;
  header.data_begin = 8 + header_bytes;
  for (const auto& [key, value] : document.items()) {
    if (key == "__metadata__") {
      FLOWAWR_ASSIGN_OR_RETURN(header.metadata, ParseMetadata(value, name));
      continue;
    }
    FLOWAWR_ASSIGN_OR_RETURN(header.tensors[key], ParseEntry(value, name, key));
  }
  FLOWAWR_RETURN_IF_ERROR(CheckTiling(header, file.size() - header.data_begin, name));
  return header;
}

}  // namespace flowawr
