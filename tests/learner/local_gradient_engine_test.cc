#include "learner/gradient_workers.h"

#include <ATen/Parallel.h>
#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/types.h>

#include <atomic>
#include <cstring>
#include <functional>
#include <limits>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/diffusion/noise.h"
#include "learner/random_streams.h"
#include "tests/testing/python.h"

namespace flowawr {
namespace {

constexpr uint64_t kUpdate = 7;
const std::vector<float> kSigmas = {1, 0.9f, 0.7f, 0.4f, 0};  // four steps, of which training draws from three

class GradientWorkersTest : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    at::set_num_threads(1);
    auto loaded = Transformer::Load(absl::StrCat(SourceFolder(), "/models/tiny-sd3/transformer"), at::kFloat);
    ASSERT_TRUE(loaded.ok()) << loaded.status();
    transformer_ = *loaded;
    auto layout = transformer_->MakeLoraLayout({"attn.to_q", "attn.to_v", "attn.add_k_proj", "attn.to_out.0"}, 4, 8);
    ASSERT_TRUE(layout.ok()) << layout.status();
    layout_ = *layout;
  }
  static void TearDownTestSuite() { transformer_.reset(); }

  GradientWorkersTest() {
    config_.set_seed(3);
    config_.mutable_algorithm()->set_kl_beta(0.5);  // large enough that a fault in it shows
    config_.mutable_train()->set_timestep_fraction(0.99);
    config_.mutable_train()->set_timesteps_per_sample(2);
    config_.mutable_train()->set_micro_batch(3);
    config_.mutable_train()->set_threads(2);
    for (uint64_t i = 0; i < 3; ++i) batch_.push_back(MakeGroup(10 + i, /*version=*/5));
    batch_[2].lease.set_policy_version(4);
    energies_.energies = InitialNoise(1, 0, 0, {3, 4});
    energies_.energies[1].zero_();
    energies_.is_all_equal = {false, true, false};
    energies_.all_equal_groups = 1;
  }

  static Group MakeGroup(uint64_t id, uint64_t version) {
    Group group;
    group.lease.set_group_id(id);
    group.lease.set_policy_version(version);
    const TransformerConfig& model = transformer_->config();
    group.x0 = InitialNoise(11, id, 0, {4, model.in_channels, 4, 8});
    group.prompt_embeds = InitialNoise(12, id, 0, {6, model.joint_attention_dim});
    group.pooled_prompt_embeds = InitialNoise(13, id, 0, {model.pooled_projection_dim});
    return group;
  }

  // An adapter whose B is not zero, so that it changes the velocity.
  static LoraAdapter MakeAdapter(uint64_t seed) {
    return LoraAdapter(layout_, InitialNoise(seed, 0, 0, {layout_->size()}) * 0.05);
  }

  BatchGradient Compute() {
    GradientWorkers workers(transformer_, config_, kSigmas);
    auto result = workers.Compute(kUpdate, batch_, energies_, current_, OldAdapter(), never_);
    EXPECT_TRUE(result.ok()) << result.status();
    return result.ok() ? *result : BatchGradient{at::zeros({layout_->size()})};
  }

  // Version 5 is the current policy, version 4 another.
  std::function<const LoraAdapter*(uint64_t)> OldAdapter() const {
    return [this](uint64_t version) { return version == 5 ? nullptr : &old_; };
  }

  // The same by one plain backward pass over all rows at once, every row with its own copy of the prompt.
  BatchGradient ComputePlainly(bool is_current_old_too = false) const {
    LossInput input;
    std::vector<at::Tensor> x0, noise, sigma, energy, embeds, pooled;
    std::vector<bool> is_old;
    for (size_t i = 0; i < batch_.size(); ++i) {
      for (int64_t sample = 0; sample < 4; ++sample) {
        const auto drawn = DrawSigmas(config_.seed(), kUpdate, batch_[i].id(), sample, 3, 2);
        for (uint32_t draw = 0; draw < 2; ++draw) {
          x0.push_back(batch_[i].x0[sample]);
          noise.push_back(InitialNoise(TrainingNoiseSeed(config_.seed()) + kUpdate, batch_[i].id(),
                                       static_cast<uint32_t>(sample * 2) + draw, x0.back().sizes()));
          sigma.push_back(at::scalar_tensor(kSigmas[drawn[draw]], at::kFloat));
          energy.push_back(energies_.energies[i][sample]);
          embeds.push_back(batch_[i].prompt_embeds);
          pooled.push_back(batch_[i].pooled_prompt_embeds);
          is_old.push_back(batch_[i].lease.policy_version() != 5 && !is_current_old_too);
        }
      }
    }
    input.x0 = at::stack(x0);
    input.sigma = at::stack(sigma);
    input.energy = at::stack(energy);
    const at::Tensor t = input.sigma.view({-1, 1, 1, 1});
    input.x_t = (1 - t) * input.x0 + t * at::stack(noise);
    const TransformerInput model_input{input.x_t, input.sigma, at::stack(embeds), at::stack(pooled)};

    const at::Tensor leaf = current_.flat().clone().requires_grad_();
    const auto bound = transformer_->Bind(LoraAdapter(layout_, leaf));
    const auto bound_old = transformer_->Bind(old_);
    EXPECT_TRUE(bound.ok() && bound_old.ok());
    input.v_theta = transformer_->Forward(model_input, &*bound);
    std::vector<at::Tensor> v_old;
    const at::Tensor other = transformer_->Forward(model_input, &*bound_old).detach();
    for (size_t row = 0; row < is_old.size(); ++row) {
      v_old.push_back(is_old[row] ? other[row] : input.v_theta.detach()[row]);
    }
    input.v_old = at::stack(v_old);
    input.v_ref = transformer_->Forward(model_input, nullptr).detach();

    const LossOutput output = FlowAwrLoss(input, config_.algorithm().kl_beta());
    const at::Tensor loss = output.loss.mean();
    return {torch::autograd::grad({loss}, {leaf})[0], loss.item<double>(), output.policy.mean().item<double>(),
            output.kl.mean().item<double>(), input.x0.size(0)};
  }

  static double RelativeError(const at::Tensor& actual, const at::Tensor& expected) {
    return (actual - expected).norm().item<double>() / expected.norm().item<double>();
  }
  static bool HasSameBits(const at::Tensor& a, const at::Tensor& b) {
    return a.numel() == b.numel() && std::memcmp(a.const_data_ptr<float>(), b.const_data_ptr<float>(), a.nbytes()) == 0;
  }

  static inline std::shared_ptr<const Transformer> transformer_;
  static inline std::shared_ptr<const LoraLayout> layout_;
  v1::RunConfig config_;
  std::vector<Group> batch_;  // two groups of version 5, one of version 4; the second's energies are all 0
  BatchEnergies energies_;
  const LoraAdapter current_ = MakeAdapter(21);
  const LoraAdapter old_ = MakeAdapter(22);
  const std::atomic<bool> never_ = false;
};

TEST_F(GradientWorkersTest, EqualsOneBackwardPassOverAllRows) {
  const BatchGradient expected = ComputePlainly();
  const BatchGradient actual = Compute();
  EXPECT_GT(expected.gradient.norm().item<double>(), 1e-6);
  EXPECT_LT(RelativeError(actual.gradient, expected.gradient), 1e-5);
  EXPECT_NEAR(actual.loss, expected.loss, 1e-5 * expected.loss);
  EXPECT_NEAR(actual.policy_loss, expected.policy_loss, 1e-5 * expected.policy_loss);
  EXPECT_NEAR(actual.kl, expected.kl, 1e-5 * expected.kl);
  EXPECT_EQ(actual.rows, 24);
}

TEST_F(GradientWorkersTest, TellsThePolicyThatSampledFromTheCurrentOne) {
  EXPECT_GT(RelativeError(Compute().gradient, ComputePlainly(/*is_current_old_too=*/true).gradient), 1e-3);
}

TEST_F(GradientWorkersTest, GivesTheSameBitsForAnyNumberOfThreadsAndEveryTime) {
  const BatchGradient two = Compute();
  EXPECT_TRUE(HasSameBits(Compute().gradient, two.gradient));
  for (const int threads : {1, 5}) {
    config_.mutable_train()->set_threads(threads);
    const BatchGradient other = Compute();
    EXPECT_TRUE(HasSameBits(other.gradient, two.gradient)) << threads;
    EXPECT_EQ(other.loss, two.loss) << threads;
  }
}

TEST_F(GradientWorkersTest, CheckpointedBlocksGiveTheSameBits) {
  const at::Tensor kept = Compute().gradient;
  config_.mutable_train()->set_checkpointed_blocks(2);
  EXPECT_TRUE(Compute().gradient.equal(kept));
  config_.mutable_train()->set_checkpointed_blocks(99);
  EXPECT_TRUE(Compute().gradient.equal(kept));
}

TEST_F(GradientWorkersTest, OneSetOfWorkersComputesManyUpdatesWithFreshNoise) {
  GradientWorkers workers(transformer_, config_, kSigmas);
  const auto first = workers.Compute(kUpdate, batch_, energies_, current_, OldAdapter(), never_);
  const auto second = workers.Compute(kUpdate + 1, batch_, energies_, current_, OldAdapter(), never_);
  const auto again = workers.Compute(kUpdate, batch_, energies_, current_, OldAdapter(), never_);
  ASSERT_TRUE(first.ok() && second.ok() && again.ok());
  EXPECT_TRUE(HasSameBits(first->gradient, again->gradient));
  EXPECT_FALSE(HasSameBits(first->gradient, second->gradient));
}

TEST_F(GradientWorkersTest, SkippingGroupsThatTeachNothingChangesNothing) {
  config_.mutable_algorithm()->set_kl_beta(0);
  const BatchGradient skipped = Compute();
  energies_.is_all_equal.assign(3, false);  // now the group is computed, to find zeros
  const BatchGradient computed = Compute();
  EXPECT_TRUE(at::equal(skipped.gradient, computed.gradient));
  EXPECT_EQ(skipped.loss, computed.loss);
  EXPECT_EQ(skipped.rows, computed.rows);
  EXPECT_EQ(skipped.kl, 0);
  EXPECT_GT(skipped.gradient.norm().item<double>(), 1e-6);
}

TEST_F(GradientWorkersTest, ABatchThatTeachesNothingHasAZeroGradient) {
  config_.mutable_algorithm()->set_kl_beta(0);
  batch_.resize(2);
  energies_.energies = at::zeros({2, 4});
  energies_.is_all_equal = {true, true};
  const BatchGradient gradient = Compute();
  EXPECT_TRUE(at::equal(gradient.gradient, at::zeros({layout_->size()})));
  EXPECT_EQ(gradient.loss, 0);
  EXPECT_EQ(gradient.rows, 16);
}

TEST_F(GradientWorkersTest, AnAllEqualGroupOfAnOtherPolicyIsStillPulledTowardsIt) {
  config_.mutable_algorithm()->set_kl_beta(0);
  energies_.energies = at::zeros({3, 4});
  energies_.is_all_equal = {true, true, true};
  EXPECT_GT(Compute().gradient.norm().item<double>(), 1e-6);
}

TEST_F(GradientWorkersTest, TellsWhichGroupsAreBehindAGradientThatIsNotFinite) {
  EXPECT_TRUE(Compute().not_finite.empty());
  batch_[0].prompt_embeds[2] = 3e38;
  batch_[2].x0[3] = std::numeric_limits<float>::infinity();
  const BatchGradient gradient = Compute();
  EXPECT_EQ(gradient.not_finite, (std::vector<size_t>{0, 2}));
  EXPECT_FALSE(at::isfinite(gradient.gradient).all().item<bool>());
}

TEST_F(GradientWorkersTest, StopsWhenCancelledAndWorksAgainAfterwards) {
  GradientWorkers workers(transformer_, config_, kSigmas);
  const std::atomic<bool> is_cancelled = true;
  const auto result = workers.Compute(kUpdate, batch_, energies_, current_, OldAdapter(), is_cancelled);
  EXPECT_EQ(result.status().code(), absl::StatusCode::kCancelled) << result.status();
  EXPECT_TRUE(workers.Compute(kUpdate, batch_, energies_, current_, OldAdapter(), never_).ok());
}

TEST_F(GradientWorkersTest, ReportsWhatLibTorchRefusesAndWorksAgainAfterwards) {
  GradientWorkers workers(transformer_, config_, kSigmas);
  std::vector<Group> broken = batch_;
  broken[1].x0 = at::zeros({4, transformer_->config().in_channels + 1, 4, 8});
  const auto result = workers.Compute(kUpdate, broken, energies_, current_, OldAdapter(), never_);
  EXPECT_EQ(result.status().code(), absl::StatusCode::kInternal);
  EXPECT_TRUE(absl::StrContains(result.status().message(), "group 11")) << result.status();
  EXPECT_TRUE(workers.Compute(kUpdate, batch_, energies_, current_, OldAdapter(), never_).ok());
}

}  // namespace
}  // namespace flowawr
