#include "learner/policy_roles.h"

#include <gtest/gtest.h>
#include <torch/types.h>

#include <cmath>
#include <limits>
#include <memory>
#include <vector>

#include "common/diffusion/noise.h"

namespace flowawr {
namespace {

constexpr double kRate = 1e-2;

const std::shared_ptr<const LoraLayout>& Layout() {
  static const auto layout = std::make_shared<const LoraLayout>(
      LoraLayout{2, 4, {{"transformer_blocks.0.attn.to_q", 6, 5}, {"transformer_blocks.0.attn.to_v", 6, 4}}});
  return layout;
}

at::Tensor Noise(uint32_t sample) { return InitialNoise(5, 0, sample, {Layout()->size()}); }

// Bits, so that two NaN of the same bits are equal and 0 is not -0.
bool HaveSameBits(const at::Tensor& a, const at::Tensor& b) { return at::equal(a.view(at::kInt), b.view(at::kInt)); }

// Every tensor of the roles, in an order of its own.
std::vector<at::Tensor> TensorsOf(const PolicyRoles& roles) {
  return {roles.current.flat(), roles.behaviour.flat(), roles.average.flat(), roles.optimizer.first_moment,
          roles.optimizer.second_moment};
}

class PolicyRolesTest : public testing::Test {
 protected:
  PolicyRolesTest() {
    optimizer_.set_beta1(0.9);
    optimizer_.set_beta2(0.999);
    optimizer_.set_epsilon(1e-8);
    optimizer_.set_weight_decay(1e-2);
    optimizer_.set_max_grad_norm(1);
    algorithm_.set_behaviour(v1::CURRENT);
    algorithm_.set_average_decay_cap(0.9);
  }

  double Step(PolicyRoles& roles, const at::Tensor& gradient) const {
    return roles.Step(gradient.clone(), optimizer_, kRate, algorithm_.average_decay_cap());
  }

  // In the middle of a run: no two roles alike.
  static PolicyRoles Trained() {
    return {LoraAdapter(Layout(), Noise(0)), LoraAdapter(Layout(), Noise(1)), LoraAdapter(Layout(), Noise(2)),
            AdamWState{Noise(3) * 1e-3, Noise(4).square() * 1e-4, 100}, 40};
  }

  v1::OptimizerConfig optimizer_;
  v1::AlgorithmConfig algorithm_;
};

TEST_F(PolicyRolesTest, AllBeginAsTheSameAdapterThatChangesNothingYet) {
  const PolicyRoles roles = PolicyRoles::Initialise(Layout(), 3);
  EXPECT_TRUE(HaveSameBits(roles.behaviour.flat(), roles.current.flat()));
  EXPECT_TRUE(HaveSameBits(roles.average.flat(), roles.current.flat()));
  for (size_t module = 0; module < Layout()->modules.size(); ++module) {
    EXPECT_TRUE(roles.current.B(module).eq(0).all().item<bool>());
    EXPECT_TRUE(roles.current.A(module).ne(0).all().item<bool>());
  }
  EXPECT_TRUE(roles.optimizer.first_moment.eq(0).all().item<bool>());
  EXPECT_TRUE(roles.optimizer.second_moment.eq(0).all().item<bool>());
  EXPECT_EQ(roles.optimizer.steps, 0u);
  EXPECT_EQ(roles.average_steps, 0u);
  EXPECT_TRUE(HaveSameBits(PolicyRoles::Initialise(Layout(), 3).current.flat(), roles.current.flat()));
  EXPECT_FALSE(HaveSameBits(PolicyRoles::Initialise(Layout(), 4).current.flat(), roles.current.flat()));
}

TEST_F(PolicyRolesTest, AGradientThatIsNotFiniteChangesNothingAtAll) {
  const float infinity = std::numeric_limits<float>::infinity();
  for (const float value : {std::numeric_limits<float>::quiet_NaN(), infinity, -infinity}) {
    for (const int64_t position : {int64_t{0}, Layout()->size() - 1}) {
      PolicyRoles roles = Trained();
      std::vector<at::Tensor> before;
      for (const at::Tensor& tensor : TensorsOf(roles)) before.push_back(tensor.clone());
      at::Tensor gradient = Noise(5);
      gradient[position] = value;
      EXPECT_FALSE(std::isfinite(Step(roles, gradient)));
      const std::vector<at::Tensor> after = TensorsOf(roles);
      for (size_t i = 0; i < before.size(); ++i) EXPECT_TRUE(HaveSameBits(after[i], before[i])) << i;
      EXPECT_EQ(roles.optimizer.steps, 100u);
      EXPECT_EQ(roles.average_steps, 40u);
    }
  }
}

TEST_F(PolicyRolesTest, StepsAdamWWithTheClippedGradientAndReturnsTheNormBefore) {
  const at::Tensor gradient = Noise(5) * 3;
  PolicyRoles roles = Trained();
  const double norm = Step(roles, gradient);
  EXPECT_NEAR(norm, gradient.to(at::kDouble).norm().item<double>(), 1e-5 * norm);
  ASSERT_GT(norm, 1);  // so that there is something to clip

  PolicyRoles expected = Trained();
  at::Tensor clipped = gradient.clone(), parameters = expected.current.flat();
  ClipGradient(clipped, 1);
  AdamWStep(optimizer_, kRate, clipped, parameters, expected.optimizer);
  EXPECT_TRUE(HaveSameBits(roles.current.flat(), parameters));
  EXPECT_TRUE(HaveSameBits(roles.optimizer.first_moment, expected.optimizer.first_moment));
  EXPECT_TRUE(HaveSameBits(roles.optimizer.second_moment, expected.optimizer.second_moment));
  EXPECT_EQ(roles.optimizer.steps, 101u);
  EXPECT_FALSE(at::allclose(roles.current.flat(), Trained().current.flat(), 0, 1e-4));
}

// v_old is not computed when it is the current policy's, which holds only if no bit differs.
TEST_F(PolicyRolesTest, ABehaviourThatFollowsAtOnceHasTheCurrentBits) {
  PolicyRoles roles = Trained();
  Step(roles, Noise(5));
  roles.FollowBehaviour(algorithm_);
  EXPECT_TRUE(HaveSameBits(roles.behaviour.flat(), roles.current.flat()));
  roles.current.flat().add_(1);
  EXPECT_FALSE(HaveSameBits(roles.behaviour.flat(), roles.current.flat()));  // a copy, not the same memory
}

TEST_F(PolicyRolesTest, ABehaviourThatLagsIsBetweenItsOldSelfAndTheCurrent) {
  algorithm_.set_behaviour(v1::RAMP);
  PolicyRoles roles = Trained();
  Step(roles, Noise(5));
  EXPECT_TRUE(HaveSameBits(roles.behaviour.flat(), Noise(1)));  // not before the batch is done
  roles.FollowBehaviour(algorithm_);
  const double decay = 0.001 * 101;  // at its 101st step
  EXPECT_TRUE(at::allclose(roles.behaviour.flat(), decay * Noise(1) + (1 - decay) * roles.current.flat(), 1e-5, 1e-6));
  EXPECT_FALSE(HaveSameBits(roles.behaviour.flat(), roles.current.flat()));
}

TEST_F(PolicyRolesTest, ABehaviourOfFixedDecayKeepsThatShareOfItself) {
  algorithm_.set_behaviour(v1::FIXED);
  algorithm_.set_behaviour_decay(0.75);
  PolicyRoles roles = Trained();
  roles.FollowBehaviour(algorithm_);
  EXPECT_TRUE(at::allclose(roles.behaviour.flat(), 0.75 * Noise(1) + 0.25 * Noise(0), 1e-5, 1e-6));
}

TEST_F(PolicyRolesTest, ACloneIsMovedAlone) {
  const PolicyRoles roles = Trained();
  PolicyRoles clone = roles.Clone();
  Step(clone, Noise(5));
  clone.FollowBehaviour(algorithm_);
  const std::vector<at::Tensor> kept = TensorsOf(roles), expected = TensorsOf(Trained()), moved = TensorsOf(clone);
  for (size_t i = 0; i < kept.size(); ++i) {
    EXPECT_TRUE(HaveSameBits(kept[i], expected[i])) << i;
    EXPECT_FALSE(HaveSameBits(moved[i], expected[i])) << i;
  }
  EXPECT_EQ(roles.optimizer.steps, 100u);
  EXPECT_EQ(clone.optimizer.steps, 101u);
  EXPECT_EQ(clone.average_steps, 41u);
}

TEST_F(PolicyRolesTest, TheAverageFollowsFastFirstAndThenNoFasterThanItsCap) {
  PolicyRoles roles = PolicyRoles::Initialise(Layout(), 3);
  for (const double decay : {1.0 / 10, 2.0 / 11, 3.0 / 12}) {
    const at::Tensor before = roles.average.flat().clone();
    Step(roles, Noise(5));
    EXPECT_TRUE(at::allclose(roles.average.flat(), decay * before + (1 - decay) * roles.current.flat(), 1e-5, 1e-6))
        << decay;
  }
  EXPECT_EQ(roles.average_steps, 3u);

  algorithm_.set_average_decay_cap(0.2);  // below (1 + 40) / (10 + 40)
  PolicyRoles late = Trained();
  Step(late, Noise(5));
  EXPECT_TRUE(at::allclose(late.average.flat(), 0.2 * Noise(2) + 0.8 * late.current.flat(), 1e-5, 1e-6));
}

}  // namespace
}  // namespace flowawr
