#include "actor/group_message.h"

#include <ATen/ops/equal.h>
#include <ATen/ops/randn.h>
#include <gtest/gtest.h>

#include "absl/strings/match.h"
#include "common/rollout/group_schema.h"
#include "common/tensor/safetensors.h"

namespace flowawr {
namespace {

constexpr GroupShape kShape = {.channels = 2,
                               .latent_height = 3,
                               .latent_width = 4,
                               .max_tokens = 5,
                               .embed_dim = 6,
                               .pooled_dim = 7,
                               .image_height = 8,
                               .image_width = 9};

// A job that brings whatever a lease can ask for.
GroupJob MakeJob(bool wants_images, bool is_stochastic, double guidance) {
  GroupJob job;
  job.lease.set_group_id(41);
  job.lease.set_samples(3);
  job.lease.set_wants_images(wants_images);
  job.lease.mutable_sampler()->set_guidance_scale(guidance);
  job.x0 = at::randn({3, 2, 3, 4});
  job.embeds = {at::randn({1, 5, 6}).to(at::kBFloat16), at::randn({1, 7}).to(at::kBFloat16)};
  if (is_stochastic) {
    job.lease.mutable_stochastic()->set_first(1);
    job.lease.mutable_stochastic()->set_count(2);
    job.trajectory = {.states = at::randn({3, 3, 2, 3, 4}), .log_probs = at::randn({3, 2})};
  }
  if (guidance != 1) job.negative = {at::randn({1, 5, 6}), at::randn({1, 7})};
  job.images.assign(3, Image{.height = 8, .width = 9, .rgb = std::string(9 * 8 * 3, 'a')});
  job.policy = std::make_shared<const AdoptedPolicy>();
  return job;
}

TEST(GroupMessageTest, HoldsExactlyWhatTheSchemaOfItsLeaseLists) {
  for (const bool wants_images : {false, true}) {
    for (const bool is_stochastic : {false, true}) {
      for (const double guidance : {1.0, 4.5}) {
        const GroupJob job = MakeJob(wants_images, is_stochastic, guidance);
        const auto message = MakeGroupMessage(job, "a");
        ASSERT_TRUE(message.ok()) << message.status();
        const auto file = SafetensorsFile::Parse(message->blob, "blob");
        ASSERT_TRUE(file.ok()) << file.status();
        const auto schema = GroupSchema(job.lease, kShape);
        EXPECT_EQ(file->tensors().size(), schema.size());
        for (const GroupTensor& expected : schema) {
          const auto found = file->Get(expected.name, expected.dtype, expected.dims);
          EXPECT_TRUE(found.ok()) << found.status();
        }
        EXPECT_LE(message->blob.size(), MaxBlobBytes(schema));
        if (is_stochastic) {
          EXPECT_TRUE(at::equal(file->tensors().at("states"), job.trajectory->states));
          EXPECT_TRUE(at::equal(file->tensors().at("log_probs"), job.trajectory->log_probs));
        }
        if (guidance != 1) {
          EXPECT_TRUE(at::equal(file->tensors().at("negative_prompt_embeds"), job.negative.prompt_embeds[0]));
          EXPECT_TRUE(at::equal(file->tensors().at("negative_pooled_prompt_embeds"), job.negative.pooled[0]));
        }
      }
    }
  }
}

TEST(GroupMessageTest, IsNotMadeOfAJobThatLacksWhatItsLeaseAsksFor) {
  GroupJob job = MakeJob(false, true, 1);
  job.trajectory.reset();
  const absl::Status status = MakeGroupMessage(job, "a").status();
  EXPECT_TRUE(absl::IsInternal(status)) << status;
  EXPECT_TRUE(absl::StrContains(status.message(), "group 41 has no log_probs, but its lease wants the trajectory"))
      << status;
}

}  // namespace
}  // namespace flowawr
