#include "common/tensor/image_tensor.h"

#include <gtest/gtest.h>
#include <torch/types.h>

#include <limits>

namespace flowawr {
namespace {

TEST(ImageTensorTest, RoundsClampsAndInterleaves) {
  at::Tensor images = at::zeros({2, 3, 1, 2});
  images[0][0][0][0] = 1.0;
  images[0][1][0][0] = 0.5;  // 127.5 rounds to even, as numpy does
  images[0][2][0][0] = 1.4 / 255;
  images[0][0][0][1] = 7.0;
  images[0][1][0][1] = -3.0;
  images[0][2][0][1] = std::numeric_limits<float>::quiet_NaN();
  images[1][1][0][1] = 1.6 / 255;
  const std::vector<Image> result = ImagesFromTensor(images);
  ASSERT_EQ(result.size(), 2);
  EXPECT_EQ(result[0].height, 1);
  EXPECT_EQ(result[0].width, 2);
  EXPECT_EQ(result[0].rgb, std::string("\xff\x80\x01\xff\x00\x00", 6));
  EXPECT_EQ(result[1].rgb, std::string("\0\0\0\0\x02\0", 6));
}

}  // namespace
}  // namespace flowawr
