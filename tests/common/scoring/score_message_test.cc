#include "common/scoring/score_message.h"

#include <google/protobuf/util/message_differencer.h>

#include "gtest/gtest.h"

namespace flowawr {
namespace {

std::string BytesOf(const grpc::ByteBuffer& message) {
  std::vector<grpc::Slice> slices;
  EXPECT_TRUE(message.Dump(&slices).ok());
  std::string bytes;
  for (const grpc::Slice& slice : slices) bytes.append(reinterpret_cast<const char*>(slice.begin()), slice.size());
  return bytes;
}

// `sides` of square pictures, each byte different from its neighbours.
v1::ScoreRequest Request(const std::vector<int>& sides) {
  v1::ScoreRequest request;
  request.set_scorer("ocr");
  for (const int side : sides) {
    v1::ScoreItem& item = *request.add_items();
    item.set_height(side);
    item.set_width(side);
    item.set_prompt("a sign that says \"CAT\"");
    (*item.mutable_metadata())["target"] = "CAT";
    for (int i = 0; i < 3 * side * side; ++i) item.mutable_image_rgb()->push_back(static_cast<char>(7 * i));
  }
  return request;
}

std::string MadeOfSlices(v1::ScoreRequest request) {
  std::vector<v1::ScoreItem> items;
  std::vector<grpc::Slice> pixels;
  for (v1::ScoreItem& item : *request.mutable_items()) {
    pixels.emplace_back(item.image_rgb());
    item.clear_image_rgb();
    items.push_back(item);
  }
  return BytesOf(ScoreMessage(request.scorer(), items, pixels));
}

// The sizes of lengths, one byte and several, are on both sides of their bounds.
TEST(ScoreMessageTest, IsReadAsTheRequestThatProtobufWouldHaveWritten) {
  for (const std::vector<int>& sides : std::vector<std::vector<int>>{{1}, {6, 7}, {73, 74}, {1, 512, 3}}) {
    const v1::ScoreRequest request = Request(sides);
    v1::ScoreRequest read;
    ASSERT_TRUE(read.ParseFromString(MadeOfSlices(request)));
    EXPECT_TRUE(google::protobuf::util::MessageDifferencer::Equals(read, request)) << sides.size() << " pictures";
    EXPECT_EQ(MadeOfSlices(request).size(), request.ByteSizeLong());
  }
}

TEST(ScoreMessageTest, HoldsPixelsWithoutACopyUntilTheLastMessageIsGone) {
  const std::string bytes(300'000, 'x');
  auto pixels = std::make_unique<grpc::Slice>(bytes);
  const uint8_t* const where = pixels->begin();
  const grpc::ByteBuffer first = ScoreMessage("a", std::vector<v1::ScoreItem>(1), {pixels.get(), 1});
  const grpc::ByteBuffer second = ScoreMessage("b", std::vector<v1::ScoreItem>(1), {pixels.get(), 1});
  pixels.reset();
  for (const grpc::ByteBuffer& message : {first, second}) {
    std::vector<grpc::Slice> slices;
    ASSERT_TRUE(message.Dump(&slices).ok());
    EXPECT_EQ(slices[1].begin(), where);
    EXPECT_EQ(std::string(slices[1].begin(), slices[1].end()), bytes);
  }
}

}  // namespace
}  // namespace flowawr
