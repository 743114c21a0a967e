#include "learner/tree_sum.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>
#include <random>
#include <string>

#include "absl/strings/str_cat.h"

namespace flowawr {
namespace {

// Says in which order parts were added.
using Terms = TreeSum<std::string>;
void Join(std::string& a, const std::string& b) { a = absl::StrCat("(", a, "+", b, ")"); }

std::string Whole(const Terms& tree) {
  EXPECT_TRUE(tree.is_whole());
  return tree.nodes().empty() ? "" : tree.nodes().begin()->second;
}

std::string InOrder(size_t size) {
  Terms tree(size, Join);
  for (size_t i = 0; i < size; ++i) tree.Add(i, absl::StrCat(i));
  return Whole(tree);
}

TEST(TreeSumTest, HalvesAgainAndAgain) {
  EXPECT_EQ(InOrder(0), "");
  EXPECT_EQ(InOrder(1), "0");
  EXPECT_EQ(InOrder(2), "(0+1)");
  EXPECT_EQ(InOrder(3), "((0+1)+2)");
  EXPECT_EQ(InOrder(5), "(((0+1)+2)+(3+4))");
  EXPECT_EQ(InOrder(8), "(((0+1)+(2+3))+((4+5)+(6+7)))");
}

TEST(TreeSumTest, TheOrderInWhichPartsComeChangesNothing) {
  std::mt19937 random(1);
  for (const size_t size : {2, 3, 7, 8, 13, 64, 100}) {
    std::vector<size_t> parts(size);
    std::iota(parts.begin(), parts.end(), 0);
    for (int round = 0; round < 5; ++round) {
      std::shuffle(parts.begin(), parts.end(), random);
      Terms tree(size, Join);
      for (const size_t part : parts) {
        EXPECT_FALSE(tree.is_whole());
        tree.Add(part, absl::StrCat(part));
      }
      EXPECT_EQ(Whole(tree), InOrder(size));
    }
  }
}

TEST(TreeSumTest, NorDoesWhoAddsWhichRange) {
  std::mt19937 random(2);
  for (const size_t size : {1, 2, 5, 9, 16, 27, 100}) {
    for (size_t ranges = 1; ranges <= 8; ++ranges) {
      std::vector<size_t> cuts = {0, size};
      for (size_t i = 1; i < ranges; ++i) cuts.push_back(random() % (size + 1));
      std::sort(cuts.begin(), cuts.end());
      Terms whole(size, Join);
      for (size_t i = 1; i < cuts.size(); ++i) {
        Terms own(size, Join);
        for (size_t part = cuts[i - 1]; part < cuts[i]; ++part) own.Add(part, absl::StrCat(part));
        EXPECT_LE(own.nodes().size(), 14u) << "2 log2(100)";
        for (const auto& [node, sum] : own.nodes()) whole.Add(node, sum);
      }
      EXPECT_EQ(Whole(whole), InOrder(size)) << size << " parts in " << ranges << " ranges";
    }
  }
}

TEST(TreeSumTest, KeepsFewSumsWhileTheyComeInOrder) {
  Terms tree(1000, Join);
  size_t most = 0;
  for (size_t i = 0; i < 1000; ++i) {
    tree.Add(i, "");
    most = std::max(most, tree.nodes().size());
  }
  EXPECT_LE(most, 10u);
}

}  // namespace
}  // namespace flowawr
