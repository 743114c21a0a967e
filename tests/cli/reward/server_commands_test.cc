#include "cli/reward/server_commands.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace flowawr {
namespace {

using ::testing::HasSubstr;

TEST(DescribeScorers, IsALineAScorerAndTheKinds) {
  v1::ListScorersResponse response;
  response.add_available_kinds("ocr");
  EXPECT_EQ(DescribeScorers(response), "no scorer is loaded\nkinds that can be loaded: ocr\n");
  v1::ScorerInfo* scorer = response.add_scorers();
  scorer->set_name("sign");
  scorer->set_kind("ocr");
  scorer->set_version("tesseract 5");
  scorer->set_images_scored(4);
  EXPECT_THAT(DescribeScorers(response), HasSubstr("tesseract 5: 4 images, 0 errors, 0 queued\n"));
}

TEST(DescribeScorers, ShowsWeightsAndAScorerThatIsStuck) {
  v1::ListScorersResponse response;
  v1::ScorerInfo* scorer = response.add_scorers();
  scorer->set_name("pickscore");
  scorer->set_memory_bytes(3'944'500'000);
  EXPECT_THAT(DescribeScorers(response), HasSubstr("0 queued, 3944.5 MB of weights\n"));
  scorer->set_health(v1::ScorerInfo::STUCK);
  scorer->set_health_message("a call has not returned for 60 s");
  EXPECT_THAT(DescribeScorers(response), HasSubstr(", STUCK: a call has not returned for 60 s\n"));
}

}  // namespace
}  // namespace flowawr
