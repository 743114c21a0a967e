#include "common/rollout/group_schema.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/types.h>

#include <algorithm>
#include <map>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/tensor/safetensors.h"

namespace flowawr {
namespace {

using ::testing::ElementsAre;

constexpr GroupShape kShape = {.channels = 2,
                               .latent_height = 3,
                               .latent_width = 4,
                               .max_tokens = 5,
                               .embed_dim = 6,
                               .pooled_dim = 7,
                               .image_height = 8,
                               .image_width = 9};

v1::Lease MakeLease(bool wants_images, bool is_stochastic, double guidance) {
  v1::Lease lease;
  lease.set_samples(3);
  lease.set_wants_images(wants_images);
  lease.mutable_sampler()->set_guidance_scale(guidance);
  if (is_stochastic) {
    lease.mutable_stochastic()->set_first(2);
    lease.mutable_stochastic()->set_count(4);
  }
  return lease;
}

// "x0 Float 3,2,3,4", a variable dimension with "<=" before it.
std::vector<std::string> Describe(const v1::Lease& lease) {
  std::vector<std::string> lines;
  for (const GroupTensor& tensor : GroupSchema(lease, kShape)) {
    std::string line = absl::StrCat(tensor.name, " ", c10::toString(tensor.dtype), " ");
    for (size_t i = 0; i < tensor.dims.size(); ++i)
      absl::StrAppend(&line, i > 0 ? "," : "", static_cast<int>(i) == tensor.variable ? "<=" : "", tensor.dims[i]);
    lines.push_back(line);
  }
  return lines;
}

TEST(GroupSchemaTest, EveryGroupBringsLatentsAndEmbeddings) {
  const std::vector<std::string> usual = {"pooled_prompt_embeds Float 7", "prompt_embeds Float <=5,6",
                                          "x0 Float 3,2,3,4"};
  EXPECT_EQ(Describe(MakeLease(false, false, 1)), usual);
  EXPECT_EQ(Describe(MakeLease(false, false, 0)), usual);  // nobody set a guidance
}

TEST(GroupSchemaTest, ALeaseAsksForTheRestInTheOrderOfNames) {
  EXPECT_THAT(Describe(MakeLease(true, true, 4.5)),
              ElementsAre("images Byte 3,8,9,3", "log_probs Float 3,4", "negative_pooled_prompt_embeds Float 7",
                          "negative_prompt_embeds Float <=5,6", "pooled_prompt_embeds Float 7",
                          "prompt_embeds Float <=5,6", "states Float 3,5,2,3,4", "x0 Float 3,2,3,4"));
  EXPECT_THAT(Describe(MakeLease(false, true, 1)),
              ElementsAre("log_probs Float 3,4", "pooled_prompt_embeds Float 7", "prompt_embeds Float <=5,6",
                          "states Float 3,5,2,3,4", "x0 Float 3,2,3,4"));
}

TEST(GroupSchemaTest, SaysWhyALeaseAsksForATensor) {
  std::map<std::string, std::string> asked_for;
  for (const GroupTensor& tensor : GroupSchema(MakeLease(true, true, 4.5), kShape))
    asked_for[tensor.name] = tensor.asked_for;
  EXPECT_EQ(asked_for["x0"], "");
  EXPECT_EQ(asked_for["states"], "wants the trajectory of steps 2 to 5");
  EXPECT_EQ(asked_for["log_probs"], asked_for["states"]);
  EXPECT_EQ(asked_for["negative_prompt_embeds"], "wants guidance 4.5");
  EXPECT_EQ(asked_for["images"], "wants images");
}

TEST(GroupSchemaTest, NoTwoTensorsShareAFieldAndNoFieldLacksOne) {
  GroupTensors tensors;
  for (const GroupTensor& tensor : GroupSchema(MakeLease(true, true, 4.5), kShape)) {
    EXPECT_FALSE((tensors.*tensor.field).defined()) << tensor.name;
    tensors.*tensor.field = at::zeros({1});
  }
  for (const at::Tensor& field :
       {tensors.x0, tensors.prompt_embeds, tensors.pooled_prompt_embeds, tensors.images, tensors.states,
        tensors.log_probs, tensors.negative_prompt_embeds, tensors.negative_pooled_prompt_embeds})
    EXPECT_TRUE(field.defined());
}

TEST(GroupSchemaTest, ItsBoundHoldsTheLargestBlobAndLittleMore) {
  for (const bool wants_images : {false, true}) {
    for (const bool is_stochastic : {false, true}) {
      for (const double guidance : {1.0, 4.5}) {
        const auto schema = GroupSchema(MakeLease(wants_images, is_stochastic, guidance), kShape);
        std::map<std::string, at::Tensor> tensors;
        for (const GroupTensor& tensor : schema)
          tensors[tensor.name] = at::zeros(tensor.dims, at::TensorOptions().dtype(tensor.dtype));
        const uint64_t size = SerializeSafetensors(tensors).value().size();
        EXPECT_LE(size, MaxBlobBytes(schema));
        EXPECT_GT(size + (1 << 16), MaxBlobBytes(schema));
      }
    }
  }
}

// Larger than 32 bits hold: a thousand images with a trajectory.
TEST(GroupSchemaTest, ItsBoundDoesNotOverflow) {
  v1::Lease lease = MakeLease(false, true, 1);
  lease.set_samples(1024);
  lease.mutable_stochastic()->set_count(9);
  GroupShape shape = kShape;
  shape.channels = 16;
  shape.latent_height = shape.latent_width = 128;
  EXPECT_GT(MaxBlobBytes(GroupSchema(lease, shape)), uint64_t{1024} * 11 * 16 * 128 * 128 * 4);
}

TEST(GuidanceScaleTest, IsOneWhereNobodySetsIt) {
  v1::SamplerConfig sampler;
  EXPECT_EQ(GuidanceScale(sampler), 1);
  EXPECT_FALSE(IsGuided(sampler));
  sampler.set_guidance_scale(1);
  EXPECT_FALSE(IsGuided(sampler));
  sampler.set_guidance_scale(4.5);
  EXPECT_EQ(GuidanceScale(sampler), 4.5);
  EXPECT_TRUE(IsGuided(sampler));
}

}  // namespace
}  // namespace flowawr
