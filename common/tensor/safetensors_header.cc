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
constexpr size_t kMaxNameBytes = 1024;
constexpr size_t kMaxRank = 8;
constexpr int kMaxDepth = 4;  // {name: {"shape": [..]}} needs three

constexpr std::pair<absl::string_view, int> kDtypes[] = {
    {"F64", 8}, {"F32", 4}, {"F16", 2}, {"BF16", 2}, {"F8_E4M3", 1}, {"F8_E5M2", 1}, {"I64", 8}, {"I32", 4},
    {"I16", 2}, {"I8", 1},  {"U64", 8}, {"U32", 4},  {"U16", 2},     {"U8", 1},      {"BOOL", 1}};

absl::Status Invalid(absl::string_view file, absl::string_view tensor, absl::string_view what) {
  return absl::InvalidArgumentError(absl::StrCat(file, ": tensor \"", tensor, "\" ", what));
}

absl::StatusOr<SafetensorsEntry> ParseEntry(const json& value, absl::string_view file, absl::string_view tensor) {
  if (!value.is_object() || value.size() != 3 || !value.contains("dtype") || !value.contains("shape") ||
      !value.contains("data_offsets"))
    return Invalid(file, tensor, "must have exactly the fields dtype, shape and data_offsets");
  const json& dtype = value["dtype"];
  const json& shape = value["shape"];
  const json& offsets = value["data_offsets"];
  SafetensorsEntry entry;
  if (!dtype.is_string()) return Invalid(file, tensor, "has a dtype that is not a string");
  entry.dtype = dtype.get<std::string>();
  const uint64_t dtype_bytes = SafetensorsDtypeBytes(entry.dtype);
  if (dtype_bytes == 0) return Invalid(file, tensor, absl::StrCat("has the unknown dtype \"", entry.dtype, "\""));

  if (!shape.is_array() || shape.size() > kMaxRank)
    return Invalid(file, tensor, absl::StrCat("has a shape that is not a list of at most ", kMaxRank, " sizes"));
  uint64_t bytes = dtype_bytes, strides = dtype_bytes;  // strides: 0 taken for 1, as LibTorch computes them
  for (const json& size : shape) {
    if (!size.is_number_unsigned()) return Invalid(file, tensor, "has a size that is not a whole number from 0");
    const uint64_t extent = size.get<uint64_t>();
    if (extent > INT64_MAX || __builtin_mul_overflow(strides, std::max<uint64_t>(extent, 1), &strides) ||
        strides > INT64_MAX)
      return Invalid(file, tensor, "has a shape whose product overflows");
    bytes *= extent;
    entry.shape.push_back(extent);
  }
  if (!offsets.is_array() || offsets.size() != 2 || !offsets[0].is_number_unsigned() ||
      !offsets[1].is_number_unsigned())
    return Invalid(file, tensor, "has data_offsets that are not two whole numbers from 0");
  entry.begin = offsets[0].get<uint64_t>();
  entry.end = offsets[1].get<uint64_t>();
  if (entry.end < entry.begin || entry.end - entry.begin != bytes)
    return Invalid(file, tensor,
                   absl::StrCat("has data_offsets [", entry.begin, ", ", entry.end, "], but ", entry.dtype, " [",
                                absl::StrJoin(entry.shape, ","), "] takes ", bytes, " bytes"));
  return entry;
}

absl::StatusOr<std::map<std::string, std::string>> ParseMetadata(const json& value, absl::string_view file) {
  std::map<std::string, std::string> metadata;
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

int SafetensorsDtypeBytes(absl::string_view dtype) {
  for (const auto& [name, bytes] : kDtypes)
    if (name == dtype) return bytes;
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
  if (text.empty() || text[0] != '{')
    return absl::InvalidArgumentError(absl::StrCat(name, ": the header does not begin with '{'"));
  FLOWAWR_ASSIGN_OR_RETURN(const json document, ParseStrictJson(text, name, kMaxDepth));

  SafetensorsHeader header;
  header.data_begin = 8 + header_bytes;
  for (const auto& [key, value] : document.items()) {
    if (key == "__metadata__") {
      FLOWAWR_ASSIGN_OR_RETURN(header.metadata, ParseMetadata(value, name));
      continue;
    }
    if (key.size() > kMaxNameBytes)
      return Invalid(name, TruncateUtf8(key, 64),
                     absl::StrCat("... has a name of ", key.size(), " bytes; at most ", kMaxNameBytes));
    FLOWAWR_ASSIGN_OR_RETURN(header.tensors[key], ParseEntry(value, name, key));
  }
  FLOWAWR_RETURN_IF_ERROR(CheckTiling(header, file.size() - header.data_begin, name));
  return header;
}

}  // namespace flowawr
