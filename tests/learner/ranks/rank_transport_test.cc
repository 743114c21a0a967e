#include "learner/ranks/rank_transport.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

namespace flowawr {
namespace {

using ::testing::HasSubstr;

RankFacts Rank(int rank, const std::string& nccl_device) {
  return {.rank = rank, .nccl_device = nccl_device, .no_nccl = nccl_device.empty() ? "it computes on cpu" : ""};
}

TEST(ChooseTransport, FollowsTheTable) {
  const struct {
    v1::RankTransport wanted;
    std::string rank0, other;
    bool is_nccl;
    std::string why_not;
  } cases[] = {
      {v1::AUTO, "GPU-1", "GPU-2", true, ""},
      {v1::NCCL, "GPU-1", "GPU-2", true, ""},
      {v1::GLOO, "GPU-1", "GPU-2", false, "train.rank_transport: gloo"},
      {v1::AUTO, "", "GPU-2", false, "rank 0: it computes on cpu"},
      {v1::AUTO, "GPU-1", "", false, "rank 3: it computes on cpu"},
      {v1::AUTO, "GPU-1", "GPU-1", false, "rank 0 and rank 3 compute on the same device, GPU-1"},
      {v1::RANK_TRANSPORT_UNSPECIFIED, "", "", false, "rank 0: it computes on cpu"},
  };
  for (const auto& c : cases) {
    const auto chosen = ChooseTransport(c.wanted, Rank(0, c.rank0), Rank(3, c.other));
    ASSERT_TRUE(chosen.ok()) << chosen.status();
    EXPECT_EQ(chosen->is_nccl, c.is_nccl) << c.why_not;
    EXPECT_EQ(chosen->why_not, c.why_not);
  }
}

TEST(ChooseTransport, NcclThatCannotBeIsAnErrorOfTheConfiguration) {
  for (const auto& [rank0, other] : {std::pair("", "GPU-2"), std::pair("GPU-1", ""), std::pair("GPU-1", "GPU-1")}) {
    const absl::Status status = ChooseTransport(v1::NCCL, Rank(0, rank0), Rank(3, other)).status();
    EXPECT_TRUE(absl::IsFailedPrecondition(status)) << status;
    EXPECT_THAT(std::string(status.message()), HasSubstr("set auto or gloo"));
  }
}

}  // namespace
}  // namespace flowawr
