#include "common/nn/weight_binder.h"

#include <gmock/gmock.h>
#include <torch/types.h>

#include "absl/base/internal/endian.h"
#include "absl/strings/str_cat.h"
#include "common/tensor/safetensors.h"
#include "tests/testing/temp_folder.h"

namespace flowawr {
namespace {

using testing::AllOf;
using testing::HasSubstr;

// The types that a file may mix.
class WeightBinderTest : public testing::Test {
 protected:
  WeightBinderTest() {
    EXPECT_TRUE(WriteSafetensors(folder_ / "model.safetensors", {{"f32", at::arange(6, at::kFloat).view({2, 3})},
                                                                 {"f16", at::arange(9, at::kHalf).view({3, 3})},
                                                                 {"bf16", at::arange(3, at::kBFloat16).view({1, 3})},
                                                                 {"ints", at::arange(3, at::kLong)}})
                    .ok());
  }
  WeightBinder Open(at::ScalarType dtype, ReadProgress progress = nullptr) {
    return WeightBinder::Open(folder_.path(), "model", dtype, std::move(progress)).value();
  }
  const TempFolder folder_;
};

TEST_F(WeightBinderTest, ConvertsWhatHasAnotherTypeAndViewsWhatHasTheWantedOne) {
  WeightBinder binder = Open(at::kBFloat16);
  const at::Tensor converted = binder.Take("f32", {2, 3}), viewed = binder.Take("bf16", {1, 3});
  EXPECT_EQ(converted.scalar_type(), at::kBFloat16);
  EXPECT_TRUE(converted.to(at::kFloat).equal(at::arange(6, at::kFloat).view({2, 3})));
  EXPECT_FALSE(IsMapped(converted));
  EXPECT_TRUE(IsMapped(viewed));
  EXPECT_TRUE(viewed.to(at::kFloat).equal(at::arange(3, at::kFloat).view({1, 3})));
}

TEST_F(WeightBinderTest, StacksTensorsOfDifferentTypesInOrder) {
  WeightBinder binder = Open(at::kFloat);
  const at::Tensor stack = binder.TakeStacked({{"bf16", 1}, {"f32", 2}, {"f16", 3}}, {3}).Joined();
  const at::Tensor expected =
      at::cat({at::arange(3, at::kFloat), at::arange(6, at::kFloat), at::arange(9, at::kFloat)}).view({6, 3});
  EXPECT_TRUE(stack.equal(expected));
  binder.Ignore("ints");
  EXPECT_TRUE(binder.Finish().ok());
}

TEST(WeightBinder, NamesTypesThatCannotBeUsedWhereTheyAreNeededAndWhereNobodyExpectsThem) {
  const TempFolder folder;
  const std::string header = R"({"needed":{"dtype":"F4","shape":[2,4],"data_offsets":[0,4]},)"
                             R"("more":{"dtype":"F6_E2M3","shape":[4],"data_offsets":[4,7]}})";
  std::string bytes(8, '\0');
  absl::little_endian::Store64(bytes.data(), header.size());
  folder.Write("m.safetensors", absl::StrCat(bytes, header, std::string(7, '\0')));
  WeightBinder binder = WeightBinder::Open(folder.path(), "m", at::kFloat).value();
  EXPECT_FALSE(binder.Take("needed", {2, 4}).defined());
  EXPECT_THAT(binder.Finish().message(),
              AllOf(HasSubstr("m.safetensors"),
                    HasSubstr("tensor \"needed\" is F4 [2,4], a type that cannot be used here; expected [2,4]"),
                    HasSubstr("tensor \"more\" is unexpected, F6_E2M3 [4], a type that cannot be used here")));
  WeightBinder other = WeightBinder::Open(folder.path(), "m", at::kFloat).value();
  for (const char* name : {"needed", "more"}) other.Ignore(name);
  EXPECT_TRUE(other.Finish().ok());
}

TEST(WeightBinder, LeavesLargeWeightsOfOneStackWhereTheyAre) {
  const TempFolder folder;
  const at::Tensor q = at::randn({1024, 1024}).to(at::kBFloat16), k = at::randn({2048, 1024}).to(at::kBFloat16);
  ASSERT_TRUE(WriteSafetensors(folder / "m.safetensors", {{"q", q}, {"k", k}}).ok());
  WeightBinder in_place = WeightBinder::Open(folder.path(), "m", at::kBFloat16).value();
  const StackedWeight weight = in_place.TakeStacked({{"q", 1024}, {"k", 2048}}, {1024});
  ASSERT_EQ(weight.parts().size(), 2);
  for (const at::Tensor& part : weight.parts()) EXPECT_TRUE(IsMapped(part));
  EXPECT_EQ(weight.rows(), 3072);
  EXPECT_EQ(weight.in(), 1024);
  EXPECT_TRUE(weight.Joined().equal(at::cat({q, k})));
  EXPECT_TRUE(in_place.Finish().ok());

  WeightBinder converts = WeightBinder::Open(folder.path(), "m", at::kFloat).value();
  const StackedWeight converted = converts.TakeStacked({{"q", 1024}, {"k", 2048}}, {1024});
  ASSERT_EQ(converted.parts().size(), 1);
  EXPECT_TRUE(converted.Joined().equal(at::cat({q, k}).to(at::kFloat)));
}

TEST_F(WeightBinderTest, ReportsTheBytesReadUpToTheTotal) {
  std::vector<int64_t> read;
  int64_t total = 0;
  WeightBinder binder = Open(at::kFloat, [&](int64_t bytes, int64_t of) {
    read.push_back(bytes);
    total = of;
  });
  binder.TakeStacked({{"f32", 2}, {"f16", 3}}, {3});
  binder.Take("bf16", {1, 3});
  EXPECT_THAT(read, testing::ElementsAre(24, 24 + 18, 24 + 18 + 6));
  EXPECT_EQ(total, 24 + 18 + 6 + 24);
  EXPECT_FALSE(binder.Finish().ok());  // of a tensor that nobody took
  EXPECT_EQ(read.back(), total);
}

TEST_F(WeightBinderTest, ListsAllThatDoesNotFitOneALine) {
  WeightBinder binder = Open(at::kFloat);
  EXPECT_FALSE(binder.TakeStacked({{"f32", 2}, {"none", 1}, {"f16", 2}}, {3}).defined());
  EXPECT_FALSE(binder.Take("ints", {3}).defined());
  EXPECT_FALSE(binder.Take("nothing", {2}).defined());
  const absl::Status status = binder.Finish();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(status.message(), AllOf(HasSubstr("/model.safetensors:\n"), HasSubstr("\n  tensor \"none\" is missing"),
                                      HasSubstr("\n  tensor \"f16\" is [3,3], expected [2,3]"),
                                      HasSubstr("\n  tensor \"ints\" is Long, not of a floating-point type"),
                                      HasSubstr("\n  tensor \"nothing\" is missing (expected [2])"),
                                      HasSubstr("\n  tensor \"bf16\" [1,3] is unexpected")));
}

}  // namespace
}  // namespace flowawr
