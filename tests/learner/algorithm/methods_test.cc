// Signals, losses and their gradients of every method against the formulas written a second time, in Python.
#include <ATen/Parallel.h>
#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/types.h>

#include <cmath>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "common/diffusion/noise.h"
#include "common/diffusion/sde_step.h"
#include "common/tensor/safetensors.h"
#include "learner/algorithm/algorithm.h"
#include "tests/learner/algorithm/methods.h"
#include "tests/testing/python.h"
#include "tests/testing/temp_folder.h"

namespace flowawr {
namespace {

constexpr double kTolerance = 1e-5;
const std::vector<float> kSigmas = {1, 0.8f, 0.5f, 0.2f, 0};

at::Tensor Noise(uint64_t seed, at::IntArrayRef shape) { return InitialNoise(seed, 0, 0, shape); }

std::unique_ptr<const Algorithm> Make(const v1::RunConfig& config) {
  auto made = MakeAlgorithm(config, kSigmas);
  EXPECT_TRUE(made.ok()) << made.status();
  return *std::move(made);
}

// What the script makes of `inputs`, for these methods.
std::map<std::string, at::Tensor> AskPython(const std::string& kind, const std::map<std::string, at::Tensor>& inputs,
                                            const std::map<std::string, v1::RunConfig>& methods = Methods()) {
  const TempFolder folder;
  EXPECT_TRUE(WriteSafetensors(folder / kind, inputs, {{"config", MethodsJson(methods)}}).ok());
  EXPECT_TRUE(RunPython("tests/learner/algorithm_reference.py", {kind, folder / kind}));
  const auto file = SafetensorsFile::Open(folder / (kind + ".out"));
  EXPECT_TRUE(file.ok()) << file.status();
  return file.ok() ? file->tensors() : std::map<std::string, at::Tensor>();
}

// Element by element.
void ExpectClose(const at::Tensor& actual, const at::Tensor& expected, const std::string& what) {
  const at::Tensor excess =
      (actual.to(at::kDouble) - expected.to(at::kDouble)).abs() - kTolerance * expected.to(at::kDouble).abs();
  EXPECT_LT(excess.max().item<double>(), 1e-8) << what << "\n" << actual << "\n" << expected;
}

void ExpectSignalsOfPython(const at::Tensor& rewards, const std::vector<double>& weights) {
  const auto expected = AskPython("signals", {{"rewards", rewards}, {"weights", at::tensor(weights, at::kDouble)}});
  for (auto& [name, config] : Methods()) {
    for (const bool is_decoupled : {false, true}) {
      v1::RunConfig combined = config;
      combined.mutable_rewards()->set_combination(is_decoupled ? v1::DECOUPLED : v1::AVERAGE);
      const std::string what = name + (is_decoupled ? ".decoupled" : "");
      const BatchSignals signals = Make(combined)->Signals(rewards, weights);
      ExpectClose(signals.values, expected.at(what), what);
      EXPECT_GT(signals.values.abs().max().item<double>(), 0.1) << what;
      const double most = signals.clip > 0 ? static_cast<float>(signals.clip) : INFINITY;
      EXPECT_LE(signals.values.abs().max().item<double>(), most) << what;
    }
  }
}

TEST(MethodsTest, SignalsAreThoseOfTheFormulas) {
  at::Tensor rewards = Noise(5, {2, 6, 6}).to(at::kDouble);
  rewards[0][1].fill_(0.25);  // nothing to learn from this term
  rewards[1][1].fill_(0.5);
  rewards[0][2][3] = NAN;
  rewards[1][2][4] = NAN;
  rewards[1][3].fill_(NAN);  // a scorer that was away
  rewards[0][4] = (rewards[0][4] > 0).to(at::kDouble);
  ExpectSignalsOfPython(rewards, {0.8, -0.3});
}

TEST(MethodsTest, SignalsOfGroupsOfTwoAreThoseOfTheFormulas) {
  ExpectSignalsOfPython(Noise(6, {1, 5, 2}).to(at::kDouble), {1});
}

TEST(MethodsTest, SignalsBesideOneHugeRewardAreThoseOfTheFormulas) {
  at::Tensor rewards = Noise(7, {1, 3, 4}).to(at::kDouble);
  rewards[0][1][2] = 1e6;
  ExpectSignalsOfPython(rewards, {1});
}

TEST(MethodsTest, EqualRewardsAskForNothing) {
  for (const auto& [name, config] : Methods()) {
    const BatchSignals signals = Make(config)->Signals(at::full({1, 2, 3}, 0.1, at::kDouble), {1});
    EXPECT_TRUE(at::equal(signals.values, at::zeros({2, 3}))) << name;
    EXPECT_EQ(signals.all_equal_groups, 2) << name;
  }
}

struct RowSet {
  Rows rows;
  Velocities velocities;
};

// Row 5: v_old is v_theta; row 6: v_ref is.
RowSet MakeRowSet(bool is_trajectory) {
  const int64_t count = 8;
  const std::vector<int64_t> shape = {count, 2, 4, 4};
  RowSet set;
  Rows& rows = set.rows;
  // From pure noise to nearly none. Steps of a sampler are no finer than a tenth or so.
  rows.sigma = is_trajectory ? at::tensor({1.0f, 0.9f, 0.6f, 0.3f, 0.05f, 0.6f, 0.3f, 0.6f})
                             : at::tensor({1.0f, 0.999f, 0.6f, 0.2f, 1e-3f, 0.6f, 0.3f, 0.6f});
  rows.signal = at::tensor({0.9f, -0.7f, 0.0f, 1.0f, -1.0f, 0.4f, -0.3f, -0.2f});
  rows.x0 = Noise(2, shape);
  rows.step.assign(count, 0);
  set.velocities = {.theta = Noise(3, shape), .old = Noise(4, shape), .ref = Noise(5, shape)};
  set.velocities.old[5] = set.velocities.theta[5];
  set.velocities.ref[6] = set.velocities.theta[6];
  if (is_trajectory) {
    rows.x = Noise(1, shape);
    rows.sigma_next = rows.sigma * 0.6;
  } else {
    rows.noise = Noise(1, shape);
    rows.x = at::lerp(rows.x0, rows.noise, rows.sigma.view({-1, 1, 1, 1}));
  }
  return set;
}

// Steps that the sampler of `method` may have made from rows.x, with the velocity v_theta.
void MakeSteps(const v1::FlowGrpoConfig& method, RowSet& set) {
  Rows& rows = set.rows;
  const SdeStep step = MakeSdeStep(method.sde(), method.noise_level(), rows.sigma, rows.sigma_next);
  rows.next = StepMean(step, rows.x, set.velocities.theta) + step.std.view({-1, 1, 1, 1}) * Noise(6, rows.x.sizes());
}

// By how much the log-probabilities are off those of v_theta: within and beyond the clip range, on both sides.
at::Tensor LogProbGaps() { return at::tensor({0.0f, 5e-4f, -5e-4f, 3e-3f, -3e-3f, 5e-3f, -5e-3f, 0.1f}); }

// Of one method, against what Python found under its name.
void ExpectLossOfPython(const std::string& name, const v1::RunConfig& config, const RowSet& set,
                        const std::map<std::string, at::Tensor>& python) {
  Velocities velocities = set.velocities;
  velocities.theta = velocities.theta.clone().requires_grad_();
  const RowLoss loss = Make(config)->Loss(set.rows, velocities);
  ExpectClose(loss.loss.detach(), python.at(name + ".loss"), name + " loss");
  int compared = 0;
  for (const auto& [figure, values] : loss.figures) {
    EXPECT_FALSE(values.requires_grad()) << figure;
    const auto expected = python.find(absl::StrCat(name, ".", figure));
    if (expected == python.end()) continue;
    ExpectClose(values, expected->second, name + " " + figure);
    ++compared;
  }
  EXPECT_GE(compared, 2) << name;
  const at::Tensor gradient = torch::autograd::grad({loss.loss.sum()}, {velocities.theta})[0].to(at::kDouble);
  const at::Tensor expected = python.at(name + ".gradient");
  for (int64_t row = 0; row < gradient.size(0); ++row)
    EXPECT_LE((gradient[row] - expected[row]).norm().item<double>(), kTolerance * expected[row].norm().item<double>())
        << name << " row " << row;
}

std::map<std::string, at::Tensor> InputsOf(const RowSet& set) {
  std::map<std::string, at::Tensor> inputs = {
      {"x", set.rows.x},   {"sigma", set.rows.sigma},          {"signal", set.rows.signal},   {"x0", set.rows.x0},
      {"v_theta", set.velocities.theta}, {"v_old", set.velocities.old}, {"v_ref", set.velocities.ref}};
  if (set.rows.noise.defined()) inputs["noise"] = set.rows.noise;
  if (set.rows.next.defined()) inputs["next"] = set.rows.next, inputs["sigma_next"] = set.rows.sigma_next;
  return inputs;
}

TEST(MethodsTest, LossesAndTheirGradientsAreThoseOfTheFormulas) {
  std::map<std::string, v1::RunConfig> forward = Methods();
  std::erase_if(forward, [](const auto& entry) { return entry.second.algorithm().has_flow_grpo(); });
  const RowSet set = MakeRowSet(/*is_trajectory=*/false);
  const auto python = AskPython("losses", InputsOf(set), forward);
  for (const auto& [name, config] : forward) ExpectLossOfPython(name, config, set, python);
}

TEST(MethodsTest, LossesOfTrajectoriesAndTheirGradientsAreThoseOfTheFormulas) {
  for (const std::string name : {"flow_grpo_1", "flow_grpo_2"}) {
    const v1::RunConfig config = Methods().at(name);
    RowSet set = MakeRowSet(/*is_trajectory=*/true);
    MakeSteps(config.algorithm().flow_grpo(), set);
    std::map<std::string, at::Tensor> inputs = InputsOf(set);
    inputs["log_prob_gap"] = LogProbGaps();
    const auto python = AskPython("losses", inputs, {{name, config}});
    set.rows.log_prob = python.at(name + ".log_prob").to(at::kFloat);
    ExpectLossOfPython(name, config, set, python);
  }
}

// Where the formulas hold a factor still, the difference quotient does too.
TEST(MethodsTest, GradientsAreThoseOfFiniteDifferences) {
  constexpr double kStep = 1e-6;
  for (const std::string name : {"diffusion_nft_1", "diffusion_nft_0.1", "awm_1", "awm_5", "rwr"}) {
    const v1::RunConfig config = Methods().at(name);
    const auto algorithm = Make(config);
    RowSet set = MakeRowSet(/*is_trajectory=*/false);
    for (at::Tensor* tensor : {&set.rows.x, &set.rows.sigma, &set.rows.signal, &set.rows.x0, &set.rows.noise,
                               &set.velocities.theta, &set.velocities.old, &set.velocities.ref})
      *tensor = tensor->to(at::kDouble);
    const at::Tensor at_v = set.velocities.theta.clone();
    const Rows& rows = set.rows;
    const at::Tensor t = rows.sigma.view({-1, 1, 1, 1});
    const auto scale = [&](const at::Tensor& v_theta, double beta) {
      const at::Tensor v = set.velocities.old + beta * (v_theta - set.velocities.old);
      return (rows.x - t * v - rows.x0).abs().flatten(1).mean(1);
    };
    const auto loss_at = [&](const at::Tensor& v_theta) {
      Velocities moved = set.velocities;
      moved.theta = v_theta;
      const RowLoss loss = algorithm->Loss(rows, moved);
      if (!config.algorithm().has_diffusion_nft()) return loss.loss.sum().item<double>();
      std::map<std::string, at::Tensor> figures(loss.figures.begin(), loss.figures.end());
      const double beta = config.algorithm().diffusion_nft().beta();
      const at::Tensor r = (1 + rows.signal) / 2;
      const at::Tensor still = r * figures["positive_loss"] * scale(v_theta, beta) / scale(at_v, beta) +
                               (1 - r) * figures["negative_loss"] * scale(v_theta, -beta) / scale(at_v, -beta);
      return (1.5 / beta * still + 0.3 * figures["kl"]).sum().item<double>();
    };
    const at::Tensor leaf = at_v.clone().requires_grad_();
    Velocities velocities = set.velocities;
    velocities.theta = leaf;
    const at::Tensor gradient =
        torch::autograd::grad({algorithm->Loss(rows, velocities).loss.sum()}, {leaf})[0].flatten();
    for (int64_t i = 0; i < at_v.numel(); i += 7) {
      at::Tensor step = at::zeros_like(at_v);
      step.view(-1)[i] = kStep;
      const double slope = (loss_at(at_v + step) - loss_at(at_v - step)) / (2 * kStep);
      EXPECT_NEAR(gradient[i].item<double>(), slope, 1e-6) << name << " " << i;
    }
  }
}

TEST(MethodsTest, AllEqualGroupsTeachWhereSomethingElsePulls) {
  const auto teaches = [](const std::string& name, double kl_beta, bool is_old_current) {
    v1::RunConfig config = Methods().at(name);
    v1::AlgorithmConfig& algorithm = *config.mutable_algorithm();
    if (algorithm.has_flow_awr()) algorithm.mutable_flow_awr()->set_kl_beta(kl_beta);
    if (algorithm.has_diffusion_nft()) algorithm.mutable_diffusion_nft()->set_kl_beta(kl_beta);
    if (algorithm.has_flow_grpo()) algorithm.mutable_flow_grpo()->set_kl_beta(kl_beta);
    if (algorithm.has_awm()) algorithm.mutable_awm()->set_kl_beta(kl_beta);
    if (algorithm.has_rwr()) algorithm.mutable_rwr()->set_kl_beta(kl_beta);
    return Make(config)->Teaches(/*is_all_equal=*/true, is_old_current);
  };
  for (const std::string name : {"flow_awr_soft", "diffusion_nft_1", "awm_5"}) {
    EXPECT_FALSE(teaches(name, 0, true)) << name;
    EXPECT_TRUE(teaches(name, 0.1, true)) << name;
    EXPECT_TRUE(teaches(name, 0, false)) << name;
  }
  EXPECT_FALSE(teaches("flow_grpo_1", 0, false));
  EXPECT_TRUE(teaches("flow_grpo_1", 0.1, true));
  EXPECT_TRUE(teaches("rwr", 0, true));
  for (const auto& [name, config] : Methods()) EXPECT_TRUE(Make(config)->Teaches(false, true)) << name;
}

TEST(MethodsTest, AtTheOldPolicyAGroupThatAsksForNothingHasNoGradient) {
  for (const std::string name : {"flow_awr_soft", "diffusion_nft_1", "diffusion_nft_0.1", "awm_5"}) {
    v1::RunConfig config = Methods().at(name);
    RowSet set = MakeRowSet(/*is_trajectory=*/false);
    set.rows.signal.zero_();
    set.velocities.old = set.velocities.theta.clone();
    set.velocities.ref = at::Tensor();
    set.velocities.theta.requires_grad_();
    const RowLoss loss = Make(config)->Loss(set.rows, set.velocities);
    const at::Tensor gradient = torch::autograd::grad({loss.loss.sum()}, {set.velocities.theta})[0];
    EXPECT_TRUE(at::equal(gradient, at::zeros_like(gradient))) << name;
  }
}

TEST(MethodsTest, TheSectionChoosesTheMethodAndNoneIsFlowAwr) {
  v1::RunConfig config = MethodConfig([](v1::AlgorithmConfig&) {});
  EXPECT_TRUE(Make(config)->needs().old);
  config.mutable_algorithm()->mutable_flow_grpo()->set_sde(v1::FLOW_SDE);
  config.mutable_algorithm()->mutable_flow_grpo()->set_noise_level(0.7);
  EXPECT_FALSE(Make(config)->needs().old);
}

TEST(MethodsTest, EverySectionOfTheConfigurationIsAMethod) {
  const auto* oneof = v1::AlgorithmConfig::descriptor()->FindOneofByName("method");
  for (int i = 0; i < oneof->field_count(); ++i) {
    v1::RunConfig config = MethodConfig([](v1::AlgorithmConfig&) {});
    v1::AlgorithmConfig& algorithm = *config.mutable_algorithm();
    algorithm.GetReflection()->MutableMessage(&algorithm, oneof->field(i));
    if (algorithm.has_flow_grpo()) ChooseFlowGrpo(algorithm);
    EXPECT_TRUE(MakeAlgorithm(config, kSigmas).ok()) << oneof->field(i)->name();
  }
}

}  // namespace
}  // namespace flowawr
