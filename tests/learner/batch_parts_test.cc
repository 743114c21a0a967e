#include "learner/batch_parts.h"

#include <gtest/gtest.h>

#include <algorithm>

namespace flowawr {
namespace {

TEST(PartSamplesTest, OnePartIsTheWholeBatchInItsOrder) {
  EXPECT_EQ(PartSamples(3, 7, {2, 3}, 1), (std::vector<SamplesByGroup>{{{0, 1}, {0, 1, 2}}}));
}

TEST(PartSamplesTest, EverySampleIsInOnePart) {
  const std::vector<int64_t> samples = {24, 24, 5, 24};
  for (const int64_t parts : {2, 3, 7}) {
    SamplesByGroup together(samples.size());
    size_t least = 1000, greatest = 0;
    for (const SamplesByGroup& part : PartSamples(3, 7, samples, parts)) {
      size_t count = 0;
      for (size_t group = 0; group < samples.size(); ++group) {
        EXPECT_TRUE(std::is_sorted(part[group].begin(), part[group].end()));
        together[group].insert(together[group].end(), part[group].begin(), part[group].end());
        count += part[group].size();
      }
      least = std::min(least, count), greatest = std::max(greatest, count);
    }
    EXPECT_LE(greatest - least, 1u);
    for (size_t group = 0; group < samples.size(); ++group) {
      std::sort(together[group].begin(), together[group].end());
      ASSERT_EQ(together[group].size(), static_cast<size_t>(samples[group]));
      for (int64_t sample = 0; sample < samples[group]; ++sample) EXPECT_EQ(together[group][sample], sample);
    }
  }
}

TEST(PartSamplesTest, GroupsAreMixedAnewAtEveryUpdate) {
  const std::vector<int64_t> samples(48, 24);
  const auto parts = PartSamples(3, 7, samples, 2);
  EXPECT_EQ(PartSamples(3, 7, samples, 2), parts);
  EXPECT_NE(PartSamples(3, 8, samples, 2), parts);
  EXPECT_NE(PartSamples(4, 7, samples, 2), parts);
  for (const std::vector<int64_t>& of_group : parts[0]) {  // 12 of 24 each, give or take
    EXPECT_GT(of_group.size(), 3u);
    EXPECT_LT(of_group.size(), 21u);
  }
}

}  // namespace
}  // namespace flowawr
