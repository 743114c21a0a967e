#include "common/scoring/score_message.h"

#include <google/protobuf/io/coded_stream.h>

#include <cstdint>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"

namespace flowawr {
namespace {

constexpr uint32_t kLengthDelimited = 2;  // protobuf's wire type of messages, texts and bytes

// What stands before a field of so many bytes.
std::string FieldStart(int field, size_t bytes) {
  using google::protobuf::io::CodedOutputStream;
  uint8_t start[20];
  const uint32_t tag = static_cast<uint32_t>(field) << 3 | kLengthDelimited;
  uint8_t* end = CodedOutputStream::WriteVarint64ToArray(bytes, CodedOutputStream::WriteVarint32ToArray(tag, start));
  return std::string(start, end);
}

}  // namespace

grpc::ByteBuffer ScoreMessage(absl::string_view scorer, absl::Span<const v1::ScoreItem> items,
                              absl::Span<const grpc::Slice> pixels) {
  std::vector<grpc::Slice> slices;
  std::string between = absl::StrCat(FieldStart(v1::ScoreRequest::kScorerFieldNumber, scorer.size()), scorer);
  for (size_t i = 0; i < items.size(); ++i) {
    const std::string picture = FieldStart(v1::ScoreItem::kImageRgbFieldNumber, pixels[i].size());
    std::string rest = items[i].SerializeAsString();
    const size_t bytes = picture.size() + pixels[i].size() + rest.size();
    absl::StrAppend(&between, FieldStart(v1::ScoreRequest::kItemsFieldNumber, bytes), picture);
    slices.emplace_back(between);
    slices.push_back(pixels[i]);
    between = std::move(rest);
  }
  slices.emplace_back(between);
  return grpc::ByteBuffer(slices.data(), slices.size());
}

const std::string& ScoreMethod() {
  static const std::string* const method = new std::string("/flowawr.v1.RewardService/Score");
  return *method;
}

}  // namespace flowawr
