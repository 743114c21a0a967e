#include "common/base/device_list.h"

#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"

namespace flowawr {
namespace {

std::vector<std::string> Cards(int begin, int end, const std::string& card = "") {
  std::vector<std::string> names;
  for (int i = begin; i < end; ++i) names.push_back(absl::StrCat("cuda:", i, card));
  return names;
}

TEST(DeviceListTextTest, NamesAFew) {
  EXPECT_EQ(DeviceListText({}), "");
  EXPECT_EQ(DeviceListText({"cpu"}), "cpu");
  EXPECT_EQ(DeviceListText({"cpu", "cpu", "cuda:1", "cuda:0"}), "cpu, cpu, cuda:1, cuda:0");
  EXPECT_EQ(DeviceListText(Cards(0, 8)), "cuda:0, cuda:1, cuda:2, cuda:3, cuda:4, cuda:5, cuda:6, cuda:7");
}

TEST(DeviceListTextTest, NamesTheEndsOfALongRow) {
  EXPECT_EQ(DeviceListText(Cards(0, 1024)), "cuda:0 to cuda:1023");
  std::vector<std::string> two_rows = Cards(0, 9);
  for (const std::string& name : Cards(10, 20)) two_rows.push_back(name);
  two_rows.push_back("cpu");
  EXPECT_EQ(DeviceListText(two_rows), "cuda:0 to cuda:8, cuda:10 to cuda:19, cpu");
  EXPECT_EQ(DeviceListText({"gpu:x", "gpu:", "a:1:2"}), "gpu:x, gpu:, a:1:2") << "no numbers, as they stand";
}

TEST(DeviceListTextTest, ARowIsOfOneCard) {
  std::vector<std::string> cards = Cards(0, 9, " (NVIDIA H100)");
  cards.push_back("cuda:9 (NVIDIA A100)");
  EXPECT_EQ(DeviceListText(cards), "cuda:0 to cuda:8 (NVIDIA H100), cuda:9 (NVIDIA A100)");
}

}  // namespace
}  // namespace flowawr
