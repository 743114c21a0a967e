// The tests of a whole actor (actor_test.cc, in the same executable) on the pretend device, which fails them where a
// stage uses what another stage's stream has not finished.
#include <gtest/gtest.h>

#include "common/tensor/devices.h"
#include "tests/testing/fake_device/counted_transfers.h"
#include "tests/testing/fake_device/cuda_kernels.h"
#include "tests/testing/fake_device/fake_device.h"
#include "tests/testing/fake_device/fake_graph.h"

namespace flowawr {
namespace {

TEST(ActorOnDeviceTest, ComputesOnThePretendDevice) { ASSERT_EQ(FindDevice("auto").value(), fake_device::Device()); }

class StagesHaveStreams final : public testing::Environment {
 public:
  void TearDown() override {
    // Of each actor: the default one, on which the model is loaded, and those of encode, sample, decode and watch.
    EXPECT_GE(fake_device::StreamsUsed(), 5);
  }
};

// Whole actors: loading, encoding, sampling, decoding, adapters, groups.
class TransfersAreCounted final : public testing::Environment {
 public:
  void TearDown() override {
    const fake_device::Counts crossed = fake_device::TakeCounts();
    EXPECT_GT(crossed.uploaded_bytes, 0);
    EXPECT_GT(crossed.downloaded_bytes, 0);
    transfers_.ExpectAllOf(crossed);
  }

 private:
  const CountedTransfers transfers_;
};

// Groups of these tests are small batches.
class StepsAreRecorded final : public testing::Environment {
 public:
  void TearDown() override {
    const fake_device::GraphCounts counts = fake_device::TakeGraphCounts();
    EXPECT_GT(counts.recorded, 0);
    EXPECT_GT(counts.replays, counts.recorded);
    EXPECT_EQ(counts.refused, 0);
  }
};

const testing::Environment* const stages_have_streams = testing::AddGlobalTestEnvironment(new StagesHaveStreams);
const testing::Environment* const steps_are_recorded = testing::AddGlobalTestEnvironment(new StepsAreRecorded);
const testing::Environment* const transfers_are_counted = testing::AddGlobalTestEnvironment(new TransfersAreCounted);

}  // namespace
}  // namespace flowawr
