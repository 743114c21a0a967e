#include <ATen/Parallel.h>
#include <gtest/gtest.h>

#include "tests/reward_server/detection/mask2former_parity.h"
#include "tests/testing/python.h"
#include "tests/testing/temp_folder.h"

namespace flowawr {
namespace {

TEST(Mask2FormerSizeTest, MatchesTransformersAtTheTrueSize) {
  const TempFolder folder;
  ASSERT_TRUE(RunPython("tests/reward_server/detection/mask2former_reference.py", {folder.path(), "true_size"}));
  at::set_num_threads(1);
  ExpectMask2FormerParity(folder / "true_size", "Swin-S", /*is_slow=*/true);
}

}  // namespace
}  // namespace flowawr
