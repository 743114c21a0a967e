#include "common/tensor/convert.h"

#include <gtest/gtest.h>
#include <torch/types.h>

#include "common/tensor/safetensors.h"
#include "tests/testing/temp_folder.h"

namespace flowawr {
namespace {

// Several blocks, the last one short, and whole pages in each.
constexpr int64_t kSize = 3'500'001;

TEST(ConvertTest, GivesWhatLibTorchGivesForEveryPairOfTypes) {
  at::Tensor values = at::arange(kSize, at::kFloat) * 0.37f - 1000;
  values[7] = NAN;
  values[kSize - 1] = INFINITY;
  for (const auto from : {at::kFloat, at::kHalf, at::kBFloat16, at::kDouble, at::kFloat8_e4m3fn}) {
    for (const auto to : {at::kFloat, at::kBFloat16}) {
      const at::Tensor source = values.to(from), converted = EmptyWeight({kSize}, to);
      ConvertInto(converted, source);
      EXPECT_TRUE(at::allclose(converted.to(at::kFloat), source.to(to).to(at::kFloat), 0, 0, /*equal_nan=*/true))
          << c10::toString(from) << " to " << c10::toString(to);
    }
  }
}

TEST(ConvertTest, FillsAPartOfAStackAndNothingElse) {
  const at::Tensor stack = at::full({3, 5}, 7.f);
  ConvertInto(stack.narrow(0, 1, 1), at::arange(5, at::kHalf).view({1, 5}));
  EXPECT_TRUE(stack[1].equal(at::arange(5, at::kFloat)));
  EXPECT_TRUE(stack[0].equal(at::full({5}, 7.f)));
  EXPECT_TRUE(stack[2].equal(at::full({5}, 7.f)));
}

TEST(ConvertTest, LeavesAMappedSourceReadable) {
  const TempFolder folder;
  const at::Tensor values = at::arange(kSize, at::kFloat);
  ASSERT_TRUE(WriteSafetensors(folder / "x.safetensors", {{"a", values}, {"b", values + 1}}).ok());
  const auto tensors = SafetensorsFile::Open(folder / "x.safetensors")->tensors();
  ASSERT_TRUE(IsMapped(tensors.at("a")));
  EXPECT_FALSE(IsMapped(values));
  at::Tensor neighbour = tensors.at("b");
  neighbour.add_(1);  // in this process's copy of its pages alone
  const at::Tensor converted = EmptyWeight({kSize}, at::kFloat);
  ConvertInto(converted, tensors.at("a"));
  EXPECT_TRUE(converted.equal(values));
  EXPECT_TRUE(tensors.at("a").equal(values));
  EXPECT_TRUE(neighbour.equal(values + 2));
  DropPages(neighbour);
  EXPECT_TRUE(neighbour.narrow(0, 4096, kSize - 8192).equal((values + 1).narrow(0, 4096, kSize - 8192)));
}

TEST(ConvertTest, DroppingAndReadingPagesIsHarmlessForMemoryThatIsNotMapped) {
  const at::Tensor values = at::arange(kSize, at::kFloat), copy = values.clone();
  const auto parsed = SafetensorsFile::Parse(*SerializeSafetensors({{"a", values}}), "bytes");
  for (const at::Tensor& tensor : {copy, parsed->tensors().at("a")}) {
    ReadPages(tensor);
    DropPages(tensor);
    EXPECT_FALSE(IsMapped(tensor));
    EXPECT_TRUE(tensor.equal(values));
  }
}

}  // namespace
}  // namespace flowawr
