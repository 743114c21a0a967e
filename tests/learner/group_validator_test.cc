#include "learner/group_validator.h"

#include <gtest/gtest.h>
#include <torch/types.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "common/diffusion/noise.h"
#include "common/diffusion/sampler.h"
#include "common/diffusion/sigmas.h"
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
constexpr int kSamples = 3;
constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
constexpr double kInfinity = std::numeric_limits<double>::infinity();

// A lease of three samples under one required and one optional term, and what a faithful actor answers.
class GroupValidatorTest : public testing::Test {
 protected:
  GroupValidatorTest() {
    policy_.set_version(4);
    policy_.set_sha256(std::string(32, 'p'));
    policy_.set_modules(12);

    lease_.set_group_id(41);
    lease_.set_samples(kSamples);
    lease_.set_policy_version(4);
    lease_.mutable_reward_spec()->set_version(2);
    v1::RewardSpecTerm& required = *lease_.mutable_reward_spec()->add_terms();
    required.set_scorer("ocr");
    required.set_weight(1);
    required.set_is_required(true);
    lease_.mutable_reward_spec()->add_terms()->set_scorer("ink");
    lease_.mutable_reward_spec()->mutable_terms(1)->set_weight(1);

    header_.set_policy_version(4);
    header_.set_policy_sha256(policy_.sha256());
    header_.set_bound_modules(12);
    header_.set_reward_spec_version(2);
    for (int k = 0; k < kSamples; ++k) {
      v1::SampleScores& sample = *header_.add_samples();
      sample.add_terms()->set_reward(0.25 * k);
      sample.add_terms()->set_reward(-1.0 * k);
    }

    torch::manual_seed(3);
    tensors_ = {{"x0", at::randn({kSamples, 2, 3, 4})},
                {"prompt_embeds", at::randn({5, 6})},
                {"pooled_prompt_embeds", at::randn({7})}};
  }

  v1::TermScore& Score(int sample, int term) { return *header_.mutable_samples(sample)->mutable_terms(term); }

  void ExpectHeaderRefused(const std::string& cause, absl::StatusCode code, const std::string& says) {
    const Refusal refusal = CheckHeader(header_, lease_, policy_, kShape);
    EXPECT_EQ(refusal.cause, cause);
    EXPECT_EQ(refusal.status.code(), code) << refusal.status;
    EXPECT_NE(refusal.status.message().find("group 41"), std::string::npos) << refusal.status;
    EXPECT_NE(refusal.status.message().find(says), std::string::npos) << refusal.status;
  }

  std::string Blob() const { return SerializeSafetensors(tensors_).value(); }

  absl::StatusOr<Group> Decode(std::string blob) {
    return DecodeGroup(header_, std::move(blob), lease_, kShape, &cause_);
  }

  void ExpectBlobRefused(std::string blob, const std::string& cause, const std::string& says) {
    const auto group = Decode(std::move(blob));
    EXPECT_EQ(cause_, cause);
    ASSERT_FALSE(group.ok());
    EXPECT_EQ(group.status().code(), absl::StatusCode::kInvalidArgument) << group.status();
    EXPECT_NE(group.status().message().find("group 41"), std::string::npos) << group.status();
    EXPECT_NE(group.status().message().find(says), std::string::npos) << group.status();
  }

  v1::PolicyVersion policy_;
  v1::Lease lease_;
  v1::GroupHeader header_;
  std::map<std::string, at::Tensor> tensors_;
  std::string cause_;
};

TEST_F(GroupValidatorTest, AFaithfulGroupPassesAndIsDecodedAsSent) {
  const std::string blob = Blob();
  header_.mutable_blob()->set_size(blob.size());
  const Refusal refusal = CheckHeader(header_, lease_, policy_, kShape);
  EXPECT_TRUE(refusal.status.ok()) << refusal.status;
  EXPECT_EQ(refusal.cause, "");

  const auto group = Decode(blob);
  ASSERT_TRUE(group.ok()) << group.status();
  EXPECT_EQ(cause_, "");
  EXPECT_EQ(group->id(), 41u);
  EXPECT_TRUE(at::equal(group->x0, tensors_["x0"]));
  EXPECT_TRUE(at::equal(group->prompt_embeds, tensors_["prompt_embeds"]));
  EXPECT_TRUE(at::equal(group->pooled_prompt_embeds, tensors_["pooled_prompt_embeds"]));
  EXPECT_FALSE(group->images.defined());
  EXPECT_TRUE(at::equal(group->rewards, at::tensor({0.0, 0.25, 0.5, 0.0, -1.0, -2.0}, at::kDouble).view({2, 3})));
}

TEST_F(GroupValidatorTest, AFailedOptionalScoreIsAllowedAndBecomesNan) {
  Score(1, 1).mutable_error()->set_message("overloaded");
  EXPECT_TRUE(CheckHeader(header_, lease_, policy_, kShape).status.ok());
  const auto group = Decode(Blob());
  ASSERT_TRUE(group.ok()) << group.status();
  EXPECT_TRUE(std::isnan(group->rewards[1][1].item<double>()));
  EXPECT_EQ(group->rewards.isnan().sum().item<int64_t>(), 1);
}

TEST_F(GroupValidatorTest, ImagesComeWithTheGroupWhenTheLeaseWantsThem) {
  lease_.set_wants_images(true);
  ExpectBlobRefused(Blob(), "wrong_shape", "images");
  tensors_["images"] = at::randint(0, 256, {kSamples, 8, 9, 3}, at::kByte);
  const auto group = Decode(Blob());
  ASSERT_TRUE(group.ok()) << group.status();
  EXPECT_TRUE(at::equal(group->images, tensors_["images"]));
}

TEST_F(GroupValidatorTest, RefusesAnotherPolicyVersion) {
  header_.set_policy_version(3);
  ExpectHeaderRefused("wrong_version", absl::StatusCode::kFailedPrecondition, "version 3, leased for 4");
}

TEST_F(GroupValidatorTest, RefusesAnAdapterWithOtherBytes) {
  header_.set_policy_sha256(std::string(32, 'q'));
  ExpectHeaderRefused("wrong_digest", absl::StatusCode::kFailedPrecondition, "717171");
}

TEST_F(GroupValidatorTest, RefusesAnAdapterThatWasNotBoundOrOnlyInPart) {
  for (const uint32_t modules : {0, 11}) {
    header_.set_bound_modules(modules);
    ExpectHeaderRefused("unbound_adapter", absl::StatusCode::kFailedPrecondition, "it has 12");
  }
}

TEST_F(GroupValidatorTest, RefusesScoresUnderAnotherRewardSpec) {
  header_.set_reward_spec_version(1);
  ExpectHeaderRefused("wrong_reward_spec", absl::StatusCode::kFailedPrecondition, "reward spec 1, leased under 2");
}

TEST_F(GroupValidatorTest, RefusesTooFewAndTooManySamples) {
  header_.mutable_samples()->RemoveLast();
  ExpectHeaderRefused("wrong_shape", absl::StatusCode::kInvalidArgument, "2 samples");
  for (int i = 0; i < 2; ++i) *header_.add_samples() = header_.samples(0);
  ExpectHeaderRefused("wrong_shape", absl::StatusCode::kInvalidArgument, "4 samples");
}

TEST_F(GroupValidatorTest, RefusesASampleWithoutAScoreForEveryTerm) {
  header_.mutable_samples(2)->mutable_terms()->RemoveLast();
  ExpectHeaderRefused("wrong_shape", absl::StatusCode::kInvalidArgument, "1 scores");
}

TEST_F(GroupValidatorTest, RefusesRewardsThatAreNotFiniteOrMissing) {
  for (const double reward : {kNan, kInfinity, -kInfinity}) {
    for (const int term : {0, 1}) {
      Score(1, term).set_reward(reward);
      ExpectHeaderRefused("bad_reward", absl::StatusCode::kInvalidArgument, "sample 1, scorer ");
      Score(1, term).set_reward(0);
    }
  }
  Score(2, 1).clear_outcome();
  ExpectHeaderRefused("bad_reward", absl::StatusCode::kInvalidArgument, "sample 2, scorer ink");
}

TEST_F(GroupValidatorTest, RefusesARequiredScoreThatFailed) {
  Score(0, 0).mutable_error()->set_message("no such language");
  ExpectHeaderRefused("bad_reward", absl::StatusCode::kInvalidArgument, "no such language");
}

TEST_F(GroupValidatorTest, AShadowIsNeverRequiredAndItsRewardsAloneAreNone) {
  v1::RewardSpecTerm& ink = *lease_.mutable_reward_spec()->mutable_terms(1);
  ink.set_weight(0);
  ink.set_is_required(true);
  for (int k = 0; k < kSamples; ++k) Score(k, 1).mutable_error()->set_message("away");
  EXPECT_TRUE(CheckHeader(header_, lease_, policy_, kShape).status.ok());
  lease_.mutable_reward_spec()->mutable_terms(0)->set_is_required(false);
  for (int k = 0; k < kSamples; ++k) {
    Score(k, 0).mutable_error()->set_message("away");
    Score(k, 1).set_reward(1);
  }
  ExpectHeaderRefused("bad_reward", absl::StatusCode::kInvalidArgument,
                      "not one of its scores is a reward to train on");
}

TEST_F(GroupValidatorTest, RefusesABlobLargerThanAnyValidOneBeforeItArrives) {
  const uint64_t most = MaxBlobBytes(GroupSchema(lease_, kShape));
  header_.mutable_blob()->set_size(most);
  EXPECT_TRUE(CheckHeader(header_, lease_, policy_, kShape).status.ok());
  header_.mutable_blob()->set_size(most + 1);
  ExpectHeaderRefused("too_large", absl::StatusCode::kInvalidArgument, "bytes");
  lease_.set_wants_images(true);
  EXPECT_TRUE(CheckHeader(header_, lease_, policy_, kShape).status.ok());
}

TEST_F(GroupValidatorTest, RefusesBytesThatAreNoSafetensorsFileAndOneCutShortAnywhere) {
  const std::string whole = Blob();
  for (const size_t size : {size_t{0}, size_t{7}, size_t{8}, size_t{100}, whole.size() / 2, whole.size() - 1}) {
    ExpectBlobRefused(whole.substr(0, size), "malformed", "");
  }
  ExpectBlobRefused(std::string(1000, 'x'), "malformed", "");
}

TEST_F(GroupValidatorTest, RefusesLatentsOfAnotherNumberOfSamplesShapeOrType) {
  for (const at::Tensor& x0 :
       {at::randn({kSamples + 1, 2, 3, 4}), at::randn({kSamples, 2, 4, 3}), at::randn({kSamples * 2 * 3 * 4}),
        at::randn({kSamples, 2, 3, 4}, at::kDouble), at::randn({kSamples, 2, 3, 4}).to(at::kHalf)}) {
    tensors_["x0"] = x0;
    ExpectBlobRefused(Blob(), "wrong_shape", "x0");
  }
}

TEST_F(GroupValidatorTest, RefusesEmbeddingsOfAnotherShapeOrType) {
  for (const at::Tensor& embeds :
       {at::randn({6, 6}), at::randn({0, 6}), at::randn({5, 5}), at::randn({30}), at::randn({5, 6}, at::kDouble)}) {
    tensors_["prompt_embeds"] = embeds;
    ExpectBlobRefused(Blob(), "wrong_shape", "prompt_embeds");
  }
  tensors_["prompt_embeds"] = at::randn({1, 6});
  EXPECT_TRUE(Decode(Blob()).ok());  // fewer tokens than the most are fine
  tensors_["pooled_prompt_embeds"] = at::randn({6});
  ExpectBlobRefused(Blob(), "wrong_shape", "pooled_prompt_embeds");
}

TEST_F(GroupValidatorTest, RefusesMissingAndExtraTensors) {
  const auto complete = tensors_;
  for (const auto& [name, tensor] : complete) {
    tensors_.erase(name);
    ExpectBlobRefused(Blob(), "wrong_shape", name);
    tensors_ = complete;
  }
  tensors_["images"] = at::zeros({kSamples, 8, 9, 3}, at::kByte);  // not asked for
  ExpectBlobRefused(Blob(), "wrong_shape", "4 tensors, expected 3");
}

TEST_F(GroupValidatorTest, RefusesNanAndInfiniteValuesInAnyTensor) {
  const auto sound = tensors_;
  for (const auto& [name, tensor] : sound) {
    for (const double value : {kNan, kInfinity}) {
      tensors_[name] = tensor.clone();
      tensors_[name].view(-1)[-1].fill_(value);
      ExpectBlobRefused(Blob(), "not_finite", name);
    }
    tensors_ = sound;
  }
}

TEST_F(GroupValidatorTest, RefusesNumbersThatNoSamplerMakesAndNamesTheActor) {
  header_.set_actor_id("rogue");
  const auto sound = tensors_;
  for (const auto& [name, tensor] : sound) {
    const double most = name == "x0" ? kMostLatent : kMostEmbedding;
    for (const double value : {most, -most}) {
      tensors_[name] = tensor.clone();
      tensors_[name].view(-1)[-1].fill_(value);
      EXPECT_TRUE(Decode(Blob()).ok()) << name;
      tensors_[name].view(-1)[-1].fill_(1.01 * value);
      ExpectBlobRefused(Blob(), "out_of_range", name);
      EXPECT_NE(Decode(Blob()).status().message().find("actor rogue"), std::string::npos);
      tensors_[name].view(-1)[-1].fill_(value > 0 ? 3e38 : -3e38);
      ExpectBlobRefused(Blob(), "out_of_range", name);
    }
    tensors_ = sound;
  }
}

TEST_F(GroupValidatorTest, RefusesRewardsBeyondTheirBoundAndGroupsWithoutAny) {
  for (const double reward : {1e6, -1e6}) {
    Score(1, 1).set_reward(reward);
    EXPECT_TRUE(CheckHeader(header_, lease_, policy_, kShape).status.ok());
    Score(1, 1).set_reward(2 * reward);
    ExpectHeaderRefused("bad_reward", absl::StatusCode::kInvalidArgument, "beyond");
  }
  for (v1::RewardSpecTerm& term : *lease_.mutable_reward_spec()->mutable_terms()) term.set_is_required(false);
  for (v1::SampleScores& sample : *header_.mutable_samples())
    for (v1::TermScore& score : *sample.mutable_terms()) score.mutable_error()->set_message("away");
  ExpectHeaderRefused("bad_reward", absl::StatusCode::kInvalidArgument, "not one of its scores is a reward");
}

// --- trajectories: steps 1 to 3 of six, as a faithful actor's sampler makes them

class TrajectoryValidatorTest : public GroupValidatorTest {
 protected:
  static constexpr int kFirst = 1, kCount = 3, kSteps = 6;

  TrajectoryValidatorTest() {
    lease_.set_noise_seed(9);
    lease_.mutable_sampler()->set_steps(kSteps);
    Ask(v1::FLOW_SDE, 0.7);
    Draw();
  }

  void Ask(v1::SdeKind kind, double level) {
    v1::StochasticSteps& stochastic = *lease_.mutable_stochastic();
    stochastic.set_kind(kind);
    stochastic.set_noise_level(level);
    stochastic.set_first(kFirst);
    stochastic.set_count(kCount);
  }

  // By the sampler, on any velocity; `seed` keys the noise of its steps.
  void Draw(uint64_t seed = 9, double shift = kShape.scheduler_shift) {
    const auto sampled = Sample({v1::EULER, FlowMatchSigmas(kSteps, shift), lease_.stochastic()},
                                at::randn({kSamples, 2, 3, 4}), [](const at::Tensor& x, float) { return x.sin(); },
                                [&](int step) {
                                  std::vector<at::Tensor> rows;
                                  for (uint32_t k = 0; k < kSamples; ++k)
                                    rows.push_back(StepNoise(seed, lease_.group_id(), k, step, {2, 3, 4}));
                                  return at::stack(rows);
                                },
                                [](int) { return true; });
    ASSERT_TRUE(sampled.ok()) << sampled.status();
    tensors_["x0"] = sampled->latents;
    tensors_["states"] = sampled->trajectory->states;
    tensors_["log_probs"] = sampled->trajectory->log_probs;
  }
};

TEST_F(TrajectoryValidatorTest, AFaithfulTrajectoryPassesAndIsDecodedAsSent) {
  for (const v1::SdeKind kind : {v1::FLOW_SDE, v1::CPS}) {
    Ask(kind, 0.8);
    Draw();
    const std::string blob = Blob();
    header_.mutable_blob()->set_size(blob.size());
    EXPECT_TRUE(CheckHeader(header_, lease_, policy_, kShape).status.ok());
    const auto group = Decode(blob);
    ASSERT_TRUE(group.ok()) << group.status();
    EXPECT_TRUE(at::equal(group->states, tensors_["states"]));
    EXPECT_TRUE(at::equal(group->log_probs, tensors_["log_probs"]));
    EXPECT_FALSE(group->negative_prompt_embeds.defined());
  }
}

TEST_F(TrajectoryValidatorTest, RefusesAGroupWithoutTheTrajectoryThatItsLeaseAsksFor) {
  for (const char* name : {"states", "log_probs"}) {
    const at::Tensor kept = tensors_[name];
    tensors_.erase(name);
    ExpectBlobRefused(Blob(), "wrong_shape", "the lease wants the trajectory of steps 1 to 3");
    EXPECT_NE(Decode(Blob()).status().message().find(name), std::string::npos);
    tensors_[name] = kept;
  }
}

TEST_F(TrajectoryValidatorTest, RefusesAnotherNumberOfStepsSamplesOrDimensions) {
  const auto whole = tensors_;
  for (const auto& [name, tensor] :
       {std::pair<const char*, at::Tensor>{"states", whole.at("states").narrow(1, 0, kCount)},
        {"states", at::cat({whole.at("states"), whole.at("states")}, 1)},
        {"states", whole.at("states").narrow(0, 0, kSamples - 1)},
        {"states", whole.at("states").flatten(2)},
        {"states", whole.at("states").to(at::kDouble)},
        {"log_probs", whole.at("log_probs").narrow(1, 0, kCount - 1)},
        {"log_probs", at::cat({whole.at("log_probs"), whole.at("log_probs")}, 1)},
        {"log_probs", whole.at("log_probs").t().contiguous().narrow(0, 0, 1)},
        {"log_probs", whole.at("log_probs").flatten()},
        {"log_probs", whole.at("log_probs").to(at::kHalf)}}) {
    tensors_[name] = tensor.contiguous();
    ExpectBlobRefused(Blob(), "wrong_shape", "(the lease wants the trajectory of steps 1 to 3)");
    tensors_ = whole;
  }
}

TEST_F(TrajectoryValidatorTest, RefusesATrajectoryThatNobodyAskedFor) {
  lease_.clear_stochastic();
  ExpectBlobRefused(Blob(), "wrong_shape", "5 tensors, expected 3");
}

TEST_F(TrajectoryValidatorTest, RefusesALeaseWhoseWindowIsNotWithinItsSteps) {
  for (const auto& [first, count] : {std::pair{4u, 3u}, {6u, 1u}, {0u, 0u}, {0xffffffffu, 0xffffffffu}}) {
    lease_.mutable_stochastic()->set_first(first);
    lease_.mutable_stochastic()->set_count(count);
    ExpectHeaderRefused("wrong_shape", absl::StatusCode::kInvalidArgument, "stochastic steps from step");
  }
}

// Whatever the velocity was, the log-probability is that of the noise.
TEST_F(TrajectoryValidatorTest, RefusesLogProbabilitiesOfOtherNoiseLevelsOrSigmas) {
  header_.set_actor_id("rogue");
  for (const v1::SdeKind kind : {v1::FLOW_SDE, v1::CPS}) {
    Ask(kind, 0.7);
    Draw(/*seed=*/10);
    ExpectBlobRefused(Blob(), "wrong_log_prob", "rogue: log_probs of sample 0, step 1");
    Draw(9, /*shift=*/3);
    ExpectBlobRefused(Blob(), "wrong_log_prob", "log_probs of sample 0");
    Ask(kind, 0.71);
    Draw();
    Ask(kind, 0.7);
    ExpectBlobRefused(Blob(), "wrong_log_prob", "log_probs of sample 0");
    Draw();
    EXPECT_TRUE(Decode(Blob()).ok());
    tensors_["log_probs"][2][2] += 1e-3;
    ExpectBlobRefused(Blob(), "wrong_log_prob", "log_probs of sample 2, step 3");
  }
}

TEST_F(TrajectoryValidatorTest, RefusesTrajectoriesThatNoSamplerMakes) {
  const auto sound = tensors_;
  for (const auto& [name, most] : {std::pair{"states", kMostLatent}, {"log_probs", kMostLogProb}}) {
    for (const double value : {kNan, kInfinity, -kInfinity}) {
      tensors_[name] = sound.at(name).clone();
      tensors_[name].view(-1)[-1].fill_(value);
      ExpectBlobRefused(Blob(), "not_finite", name);
    }
    tensors_[name].view(-1)[-1].fill_(-1.01 * most);
    ExpectBlobRefused(Blob(), "out_of_range", name);
    tensors_ = sound;
  }
}

TEST_F(TrajectoryValidatorTest, ItsBlobIsBoundedBeforeItArrives) {
  const uint64_t most = MaxBlobBytes(GroupSchema(lease_, kShape));
  EXPECT_GE(most, Blob().size());
  header_.mutable_blob()->set_size(most + 1);
  ExpectHeaderRefused("too_large", absl::StatusCode::kInvalidArgument, "bytes");
}

TEST_F(GroupValidatorTest, AGuidedGroupBringsTheEmptyPromptToo) {
  lease_.mutable_sampler()->set_guidance_scale(4.5);
  ExpectBlobRefused(Blob(), "wrong_shape", "(the lease wants guidance 4.5)");
  tensors_["negative_prompt_embeds"] = at::randn({4, 6});
  tensors_["negative_pooled_prompt_embeds"] = at::randn({7});
  const auto group = Decode(Blob());
  ASSERT_TRUE(group.ok()) << group.status();
  EXPECT_TRUE(at::equal(group->negative_prompt_embeds, tensors_["negative_prompt_embeds"]));
  EXPECT_TRUE(at::equal(group->negative_pooled_prompt_embeds, tensors_["negative_pooled_prompt_embeds"]));
  tensors_["negative_pooled_prompt_embeds"].fill_(2 * kMostEmbedding);
  ExpectBlobRefused(Blob(), "out_of_range", "negative_pooled_prompt_embeds");
  lease_.mutable_sampler()->set_guidance_scale(1);
  ExpectBlobRefused(Blob(), "wrong_shape", "5 tensors, expected 3");
}

// Whatever arrives: a group that is as the lease has it, or an error with a cause of the list.
TEST_F(TrajectoryValidatorTest, OfBlobsSpoiltAtRandomNoneIsTakenThatIsNotWhatTheLeaseAsksFor) {
  lease_.mutable_sampler()->set_guidance_scale(4.5);
  tensors_["negative_prompt_embeds"] = at::randn({4, 6});
  tensors_["negative_pooled_prompt_embeds"] = at::randn({7});
  const std::string whole = Blob();
  ASSERT_TRUE(Decode(whole).ok());
  const std::set<std::string> causes = {"malformed", "wrong_shape", "not_finite", "out_of_range", "wrong_log_prob"};
  CounterRng rng(1, 0);
  std::map<std::string, int> seen;
  for (int round = 0; round < 4000; ++round) {
    std::string blob = whole;
    if (round % 5 == 0) blob.resize(rng.Below(blob.size()));
    if (round % 7 == 0) blob.insert(rng.Below(blob.size() + 1), rng.Below(40), static_cast<char>(rng.Next()));
    if (round % 11 == 0) blob.replace(rng.Below(blob.size() + 1), 7, std::string(7, '\xff'));  // no number
    // Half of them spoil the header, where names, types and sizes are.
    const size_t most = std::min<size_t>(blob.size(), round % 2 == 0 ? 700 : blob.size());
    for (uint64_t left = 1 + rng.Below(4); left > 0 && most > 0; --left)
      blob[rng.Below(most)] = static_cast<char>(rng.Next());
    const auto group = Decode(blob);
    if (!group.ok()) {
      EXPECT_TRUE(absl::IsInvalidArgument(group.status())) << group.status();
      EXPECT_TRUE(causes.contains(cause_)) << cause_;
      ++seen[cause_];
      continue;
    }
    ++seen["taken"];
    EXPECT_EQ(group->states.sizes(), (at::IntArrayRef{kSamples, kCount + 1, 2, 3, 4}));
    EXPECT_EQ(group->log_probs.sizes(), (at::IntArrayRef{kSamples, kCount}));
    EXPECT_LE(group->states.abs().max().item<double>(), kMostLatent);
    EXPECT_TRUE(at::allclose(group->log_probs, tensors_["log_probs"], 0, 1e-3));
  }
  for (const std::string& cause : causes) EXPECT_GT(seen[cause], 0) << cause;
  EXPECT_GT(seen["taken"], 0);
}

}  // namespace
}  // namespace flowawr
