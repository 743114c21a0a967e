#include "learner/local_gradient_engine.h"

#include <ATen/Parallel.h>
#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/types.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstring>
#include <functional>
#include <limits>
#include <map>
#include <memory>
#include <numeric>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/diffusion/noise.h"
#include "common/diffusion/sde_step.h"
#include "common/tensor/safetensors.h"
#include "learner/random_streams.h"
#include "tests/learner/algorithm/methods.h"
#include "tests/learner/drawn_groups.h"
#include "tests/testing/named_device.h"
#include "tests/testing/python.h"
#include "tests/testing/temp_folder.h"
#include "tests/testing/tensor_error.h"

namespace flowawr {
namespace {

constexpr uint64_t kUpdate = 7;
constexpr double kGradientTolerance = 1e-5;
const std::vector<float> kSigmas = {1, 0.9f, 0.7f, 0.4f, 0};  // four steps, of which training draws from three

class LocalGradientEngineTest : public testing::Test {
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

  LocalGradientEngineTest() {
    config_ = MethodConfig([](v1::AlgorithmConfig& a) { ChooseFlowAwr(a); });
    SetKlBeta(0.5);  // large enough that a fault in it shows
    for (uint64_t i = 0; i < 3; ++i) batch_.push_back(MakeGroup(10 + i, /*version=*/5));
    batch_[2].lease.set_policy_version(4);
    signals_ = InitialNoise(1, 0, 0, {3, 4});
    signals_[1].zero_();
    is_all_equal_ = {false, true, false};
  }

  void SetKlBeta(double value) { config_.mutable_algorithm()->mutable_flow_awr()->set_kl_beta(value); }

  static Group MakeGroup(uint64_t id, uint64_t version) {
    return DrawnGroup(*transformer_, id, version, /*samples=*/4);
  }
  static LoraAdapter MakeAdapter(uint64_t seed) { return DrawnAdapter(layout_, seed); }

  // Where the engine computes; what a test computes itself stays on the CPU.
  static std::shared_ptr<const Transformer> Placed() {
    const Placement placement = TestPlacement(at::kFloat);
    if (placement.device.is_cpu()) return transformer_;
    return Transformer::Load(absl::StrCat(SourceFolder(), "/models/tiny-sd3/transformer"), placement).value();
  }

  LocalGradientEngine Engine() const {
    return LocalGradientEngine({Placed()}, MakeAlgorithm(config_, kSigmas).value(), options_);
  }

  GradientRequest Request(uint64_t update = kUpdate) const {
    return {.update = update,
            .batch = batch_,
            .signals = signals_,
            .is_all_equal = is_all_equal_,
            .current = current_,
            .old_adapter = OldAdapter(),
            .is_cancelled = never_};
  }

  BatchGradient Compute() const { return Compute(Request()); }
  BatchGradient Compute(const GradientRequest& request) const {
    auto result = Engine().Compute(request);
    EXPECT_TRUE(result.ok()) << result.status();
    return result.ok() ? *result : BatchGradient{.gradient = at::zeros({layout_->size()})};
  }

  // Version 5 is the current policy, version 4 another.
  std::function<const LoraAdapter*(uint64_t)> OldAdapter() const {
    return [this](uint64_t version) { return version == 5 ? nullptr : &old_; };
  }

  // The same by one plain backward pass over all rows at once, every row with its own copy of the prompt.
  BatchGradient ComputePlainly(bool is_current_old_too = false) const {
    const auto method = MakeAlgorithm(config_, kSigmas).value();
    Rows rows;
    std::vector<at::Tensor> x0, noise, sigma, signal, embeds, pooled;
    std::vector<bool> is_old;
    for (size_t i = 0; i < batch_.size(); ++i) {
      for (int64_t sample = 0; sample < 4; ++sample) {
        const auto drawn = DrawSigmas(config_.seed(), kUpdate, batch_[i].id(), sample, 3, 2);
        for (uint32_t draw = 0; draw < 2; ++draw) {
          x0.push_back(batch_[i].x0[sample]);
          noise.push_back(InitialNoise(TrainingNoiseSeed(config_.seed()) + kUpdate, batch_[i].id(),
                                       static_cast<uint32_t>(sample * 2) + draw, x0.back().sizes()));
          sigma.push_back(at::scalar_tensor(kSigmas[drawn[draw]], at::kFloat));
          signal.push_back(signals_[i][sample]);
          rows.step.push_back(drawn[draw]);
          embeds.push_back(batch_[i].prompt_embeds);
          pooled.push_back(batch_[i].pooled_prompt_embeds);
          is_old.push_back(batch_[i].lease.policy_version() != 5 && !is_current_old_too);
        }
      }
    }
    rows.x0 = at::stack(x0);
    rows.noise = at::stack(noise);
    rows.sigma = at::stack(sigma);
    rows.signal = at::stack(signal);
    const at::Tensor t = rows.sigma.view({-1, 1, 1, 1});
    rows.x = (1 - t) * rows.x0 + t * rows.noise;
    const TransformerInput model_input{rows.x, rows.sigma, at::stack(embeds), at::stack(pooled)};

    const at::Tensor leaf = current_.flat().clone().requires_grad_();
    const auto bound = transformer_->Bind(LoraAdapter(layout_, leaf));
    const auto bound_old = transformer_->Bind(old_);
    EXPECT_TRUE(bound.ok() && bound_old.ok());
    Velocities velocities;
    velocities.theta = transformer_->Forward(model_input, &*bound);
    std::vector<at::Tensor> v_old;
    const at::Tensor other = transformer_->Forward(model_input, &*bound_old).detach();
    for (size_t row = 0; row < is_old.size(); ++row) {
      v_old.push_back(is_old[row] ? other[row] : velocities.theta.detach()[row]);
    }
    velocities.old = at::stack(v_old);
    velocities.ref = transformer_->Forward(model_input, nullptr).detach();

    const RowLoss output = method->Loss(rows, velocities);
    const at::Tensor loss = output.loss.mean();
    BatchGradient result{.gradient = torch::autograd::grad({loss}, {leaf})[0], .loss = loss.item<double>(),
                         .rows = rows.x0.size(0)};
    for (const auto& [name, values] : output.figures) result.figures[name] = values.mean().item<double>();
    std::map<int64_t, std::vector<double>> by_sigma;
    for (size_t row = 0; row < rows.step.size(); ++row)
      by_sigma[rows.step[row]].push_back(output.loss[static_cast<int64_t>(row)].item<double>());
    for (const auto& [step, losses] : by_sigma)
      result.figures[absl::StrCat("loss/sigma_", step)] =
          std::accumulate(losses.begin(), losses.end(), 0.0) / static_cast<double>(losses.size());
    const at::Tensor distance = (velocities.theta.detach() - velocities.old).square().flatten(1).mean(1);
    result.figures["old_distance"] = distance.narrow(0, 16, 8).mean().item<double>();
    return result;
  }

  static bool HasSameBits(const at::Tensor& a, const at::Tensor& b) {
    return a.numel() == b.numel() && std::memcmp(a.const_data_ptr<float>(), b.const_data_ptr<float>(), a.nbytes()) == 0;
  }

  static inline std::shared_ptr<const Transformer> transformer_;
  static inline std::shared_ptr<const LoraLayout> layout_;
  v1::RunConfig config_;
  LocalGradientEngine::Options options_{.threads = 2, .micro_batch = 3, .checkpointed_blocks = 0, .seed = 3};
  std::vector<Group> batch_;  // two groups of version 5, one of version 4; the second's signals are all 0
  at::Tensor signals_;
  std::vector<bool> is_all_equal_;
  const LoraAdapter current_ = MakeAdapter(21);
  const LoraAdapter old_ = MakeAdapter(22);
  const std::atomic<bool> never_ = false;
};

TEST_F(LocalGradientEngineTest, EqualsOneBackwardPassOverAllRows) {
  const BatchGradient expected = ComputePlainly();
  const BatchGradient actual = Compute();
  EXPECT_GT(expected.gradient.norm().item<double>(), 1e-6);
  EXPECT_LT(RelativeError(actual.gradient, expected.gradient), 1e-5);
  EXPECT_NEAR(actual.loss, expected.loss, 1e-5 * expected.loss);
  EXPECT_EQ(actual.rows, 24);
  EXPECT_TRUE(actual.teaches);
  ASSERT_EQ(actual.figures.size(), expected.figures.size());
  ASSERT_TRUE(actual.figures.contains("kl") && actual.figures.contains("loss/sigma_2"));
  for (const auto& [name, value] : expected.figures) EXPECT_NEAR(actual.figures.at(name), value, 1e-5 * value) << name;
}

TEST_F(LocalGradientEngineTest, TellsThePolicyThatSampledFromTheCurrentOne) {
  EXPECT_GT(RelativeError(Compute().gradient, ComputePlainly(/*is_current_old_too=*/true).gradient), 1e-3);
}

TEST_F(LocalGradientEngineTest, GivesTheSameBitsForAnyNumberOfThreadsAndEveryTime) {
  const BatchGradient two = Compute();
  EXPECT_TRUE(HasSameBits(Compute().gradient, two.gradient));
  for (const int threads : {1, 5}) {
    options_.threads = threads;
    const BatchGradient other = Compute();
    EXPECT_TRUE(HasSameBits(other.gradient, two.gradient)) << threads;
    EXPECT_EQ(other.loss, two.loss) << threads;
  }
}

TEST_F(LocalGradientEngineTest, CheckpointedBlocksGiveTheSameBits) {
  const at::Tensor kept = Compute().gradient;
  options_.checkpointed_blocks = 2;
  EXPECT_TRUE(Compute().gradient.equal(kept));
  options_.checkpointed_blocks = 99;
  EXPECT_TRUE(Compute().gradient.equal(kept));
}

TEST_F(LocalGradientEngineTest, OneEngineComputesManyUpdatesWithFreshNoise) {
  LocalGradientEngine engine = Engine();
  const auto first = engine.Compute(Request());
  const auto second = engine.Compute(Request(kUpdate + 1));
  const auto again = engine.Compute(Request());
  ASSERT_TRUE(first.ok() && second.ok() && again.ok());
  EXPECT_TRUE(HasSameBits(first->gradient, again->gradient));
  EXPECT_FALSE(HasSameBits(first->gradient, second->gradient));
}

TEST_F(LocalGradientEngineTest, SkippingGroupsThatTeachNothingChangesNothing) {
  SetKlBeta(0);
  const BatchGradient skipped = Compute();
  is_all_equal_.assign(3, false);  // now the group is computed, to find zeros
  const BatchGradient computed = Compute();
  EXPECT_TRUE(at::equal(skipped.gradient, computed.gradient));
  EXPECT_EQ(skipped.loss, computed.loss);
  EXPECT_EQ(skipped.rows, computed.rows);
  EXPECT_EQ(skipped.figures.at("kl"), 0);
  EXPECT_GT(skipped.gradient.norm().item<double>(), 1e-6);
}

TEST_F(LocalGradientEngineTest, ABatchThatTeachesNothingHasAZeroGradient) {
  SetKlBeta(0);
  batch_.resize(2);
  signals_ = at::zeros({2, 4});
  is_all_equal_ = {true, true};
  const BatchGradient gradient = Compute();
  EXPECT_TRUE(at::equal(gradient.gradient, at::zeros({layout_->size()})));
  EXPECT_EQ(gradient.loss, 0);
  EXPECT_EQ(gradient.rows, 16);
  EXPECT_FALSE(gradient.teaches);
}

TEST_F(LocalGradientEngineTest, AnAllEqualGroupOfAnOtherPolicyIsStillPulledTowardsIt) {
  SetKlBeta(0);
  signals_ = at::zeros({3, 4});
  is_all_equal_ = {true, true, true};
  EXPECT_GT(Compute().gradient.norm().item<double>(), 1e-6);
}

TEST_F(LocalGradientEngineTest, TellsWhichGroupsAreBehindAGradientThatIsNotFinite) {
  EXPECT_TRUE(Compute().not_finite.empty());
  batch_[0].prompt_embeds[2] = 3e38;
  batch_[2].x0[3] = std::numeric_limits<float>::infinity();
  const BatchGradient gradient = Compute();
  EXPECT_EQ(gradient.not_finite, (std::vector<size_t>{0, 2}));
  EXPECT_FALSE(at::isfinite(gradient.gradient).all().item<bool>());
}

TEST_F(LocalGradientEngineTest, StopsWhenCancelledAndWorksAgainAfterwards) {
  LocalGradientEngine engine = Engine();
  const std::atomic<bool> is_cancelled = true;
  const auto result = engine.Compute({.update = kUpdate,
                                      .batch = batch_,
                                      .signals = signals_,
                                      .is_all_equal = is_all_equal_,
                                      .current = current_,
                                      .old_adapter = OldAdapter(),
                                      .is_cancelled = is_cancelled});
  EXPECT_EQ(result.status().code(), absl::StatusCode::kCancelled) << result.status();
  EXPECT_TRUE(engine.Compute(Request()).ok());
}

TEST_F(LocalGradientEngineTest, ReportsWhatLibTorchRefusesAndWorksAgainAfterwards) {
  LocalGradientEngine engine = Engine();
  const at::Tensor x0 = batch_[1].x0;
  batch_[1].x0 = at::zeros({4, transformer_->config().in_channels + 1, 4, 8});
  const auto result = engine.Compute(Request());
  batch_[1].x0 = x0;
  EXPECT_EQ(result.status().code(), absl::StatusCode::kInternal);
  EXPECT_TRUE(absl::StrContains(result.status().message(), "group 11")) << result.status();
  EXPECT_TRUE(engine.Compute(Request()).ok());
}

// Parts of a batch, each at the same policies: their means over rows make that of the whole.
TEST_F(LocalGradientEngineTest, PartsOfABatchMakeTheWhole) {
  GradientRequest first = Request(), second = Request();
  first.samples = {{0, 2}, {}, {1, 2, 3}};
  second.samples = {{1, 3}, {0, 1, 2, 3}, {0}};
  const BatchGradient a = Compute(first), b = Compute(second), all = Compute();
  EXPECT_EQ(a.rows, 10);
  EXPECT_EQ(b.rows, 14);
  EXPECT_LT(RelativeError((a.gradient * 10 + b.gradient * 14) / 24, all.gradient), 1e-5);
  EXPECT_NEAR((a.loss * 10 + b.loss * 14) / 24, all.loss, 1e-6 * all.loss);
  first.samples = {{0, 1, 2, 3}, {0, 1, 2, 3}, {0, 1, 2, 3}};
  EXPECT_TRUE(HasSameBits(Compute(first).gradient, all.gradient));
}

// Every method through the model, with v_old and guidance, against diffusers' transformer with peft's layers.
class MethodGradientsTest : public LocalGradientEngineTest {
 protected:
  // One group of three samples by version 4, with all that any method's group brings; and signals.
  MethodGradientsTest() {
    batch_.resize(1);
    Group& group = batch_[0];
    group.lease.set_policy_version(4);
    const TransformerConfig& model = transformer_->config();
    group.x0 = group.x0.narrow(0, 0, 3).contiguous();
    group.states = InitialNoise(14, 0, 0, {3, 3, model.in_channels, 4, 8});
    group.negative_prompt_embeds = InitialNoise(15, 0, 0, {6, model.joint_attention_dim});
    group.negative_pooled_prompt_embeds = InitialNoise(16, 0, 0, {model.pooled_projection_dim});
    signals_ = at::tensor({0.9f, -0.4f, 0.2f}).view({1, 3});
    is_all_equal_ = {false};
  }

  Rows RowsOf(const Algorithm& method) const {
    const std::vector<int64_t> samples = {0, 1, 2};
    return method.MakeRows({.seed = config_.seed(),
                            .update = kUpdate,
                            .group = batch_.data(),
                            .samples = &samples,
                            .begin = 0,
                            .end = 3 * method.rows_per_sample(),
                            .signals = signals_[0]});
  }

  // Where the steps of a window of two may have led, and the log-probabilities by the policy `adapter`.
  void MakeTrajectory(const v1::FlowGrpoConfig& method, double guidance, const LoraAdapter& adapter) {
    Group& group = batch_[0];
    group.lease.mutable_stochastic()->set_first(1);
    const Transformer& transformer = *sampled_by_;
    const auto bound = transformer.BindMerged(adapter).value();
    group.log_probs = at::empty({3, 2});
    const auto velocity = [&](const at::Tensor& x, const at::Tensor& sigma, const at::Tensor& embeds,
                              const at::Tensor& pooled) {
      return transformer.Forward({x, sigma, embeds.unsqueeze(0), pooled.unsqueeze(0)}, &bound);
    };
    for (int64_t w = 0; w < 2; ++w) {
      const at::Tensor sigma = at::full({1}, kSigmas[1 + w]), x = group.states.select(1, w).contiguous();
      const SdeStep step = MakeSdeStep(method.sde(), method.noise_level(), sigma, at::full({1}, kSigmas[2 + w]));
      at::Tensor v = velocity(x, sigma, group.prompt_embeds, group.pooled_prompt_embeds);
      const at::Tensor negative = velocity(x, sigma, group.negative_prompt_embeds, group.negative_pooled_prompt_embeds);
      if (guidance != 1) v = negative + guidance * (v - negative);
      const at::Tensor mean = StepMean(step, x, v);
      const at::Tensor next = mean + step.std.view({-1, 1, 1, 1}) * InitialNoise(20 + w, 0, 0, x.sizes());
      group.states.select(1, w + 1).copy_(next);
      group.log_probs.select(1, w).copy_(StepLogProb(step, next, mean));
    }
  }

  std::shared_ptr<const Transformer> sampled_by_ = transformer_;
};

TEST_F(MethodGradientsTest, AreThoseOfDiffusersTransformerAndTheFormulas) {
  options_.micro_batch = 2;
  options_.seed = config_.seed();
  std::map<std::string, at::Tensor> inputs;
  std::map<std::string, v1::RunConfig> methods;
  for (const std::string name : {"flow_awr_soft", "diffusion_nft_0.1", "awm_5", "rwr"})
    methods[name] = Methods().at(name);
  const std::string targets = "attn.to_q attn.to_v attn.add_k_proj attn.to_out.0";
  const auto ask = [&](const std::string& json) {
    const TempFolder folder;
    for (const auto& [policy, adapter] : {std::pair("current", &current_), std::pair("old", &old_)})
      for (size_t module = 0; module < layout_->modules.size(); ++module) {
        const std::string key = absl::StrCat(policy, ".", layout_->modules[module].name);
        inputs[key + ".lora_A.weight"] = adapter->A(module);
        inputs[key + ".lora_B.weight"] = adapter->B(module);
      }
    const Group& group = batch_[0];
    inputs["prompt_embeds"] = group.prompt_embeds, inputs["pooled_prompt_embeds"] = group.pooled_prompt_embeds;
    inputs["negative_prompt_embeds"] = group.negative_prompt_embeds;
    inputs["negative_pooled_prompt_embeds"] = group.negative_pooled_prompt_embeds;
    EXPECT_TRUE(WriteSafetensors(folder / "lora", inputs,
                                 {{"config", json},
                                  {"model", absl::StrCat(SourceFolder(), "/models/tiny-sd3/transformer")},
                                  {"targets", targets},
                                  {"rank", "4"},
                                  {"alpha", "8"}})
                    .ok());
    EXPECT_TRUE(RunPython("tests/learner/algorithm_reference.py", {"lora", folder / "lora"}));
    return SafetensorsFile::Open(folder / "lora.out").value().tensors();
  };
  const auto expect_same = [&](const std::string& name, const std::map<std::string, at::Tensor>& reference) {
    const BatchGradient actual = Compute();
    LoraAdapter expected(layout_, at::zeros({layout_->size()}));
    for (size_t module = 0; module < layout_->modules.size(); ++module) {
      const std::string key = absl::StrCat(name, ".", layout_->modules[module].name);
      expected.A(module).copy_(reference.at(key + ".lora_A.weight"));
      expected.B(module).copy_(reference.at(key + ".lora_B.weight"));
    }
    EXPECT_LT(RelativeError(actual.gradient, expected.flat()), kGradientTolerance) << name;
    EXPECT_NEAR(actual.loss, reference.at(name + ".loss").item<double>(), 1e-5 * std::abs(actual.loss)) << name;
  };

  std::vector<std::string> json;
  for (const auto& [name, config] : methods)
    json.push_back(absl::StrCat("\"", name, "\": ", MethodJson(config.algorithm(), "\"guidance\": 1, ")));
  const auto put_rows = [&] {
    const Rows rows = RowsOf(*MakeAlgorithm(config_, kSigmas).value());
    inputs = {{"x", rows.x}, {"sigma", rows.sigma}, {"signal", rows.signal}, {"x0", rows.x0}};
    if (rows.noise.defined()) inputs["noise"] = rows.noise;
    if (!rows.next.defined()) return;
    inputs["next"] = rows.next, inputs["sigma_next"] = rows.sigma_next, inputs["log_prob"] = rows.log_prob;
  };
  put_rows();
  const auto forward = ask(absl::StrCat("{", absl::StrJoin(json, ", "), "}"));
  for (const auto& [name, config] : methods) {
    config_ = config;
    expect_same(name, forward);
  }

  for (const std::string name : {"flow_grpo_1", "flow_grpo_2"}) {
    for (const double guidance : {1.0, 2.5}) {
      config_ = Methods().at(name);
      config_.mutable_sampler()->set_guidance_scale(guidance);
      v1::FlowGrpoConfig& method = *config_.mutable_algorithm()->mutable_flow_grpo();
      method.set_window(2);
      method.set_window_end(3);
      method.set_clip_range(10);  // so that no row is at the edge of the clip: others are for that
      MakeTrajectory(method, guidance, old_);
      put_rows();
      expect_same(name, ask(absl::StrCat(
                            "{\"", name, "\": ",
                            MethodJson(config_.algorithm(), absl::StrCat("\"guidance\": ", guidance, ", ")), "}")));
    }
  }
}

TEST_F(MethodGradientsTest, LogProbabilitiesOfThePolicyThatSampledAreFoundAgain) {
  for (const double guidance : {1.0, 4.5}) {
    config_ = Methods().at("flow_grpo_1");
    config_.mutable_sampler()->set_guidance_scale(guidance);
    config_.mutable_algorithm()->mutable_flow_grpo()->set_window(2);
    config_.mutable_algorithm()->mutable_flow_grpo()->set_window_end(3);
    MakeTrajectory(config_.algorithm().flow_grpo(), guidance, old_);
    const auto drift = Engine().LogProbDrift(Request());
    ASSERT_TRUE(drift.ok()) << drift.status();
    ASSERT_EQ(drift->size(), 1u);
    EXPECT_LT(drift->front(), 1e-3);
    batch_[0].log_probs.add_(0.5);
    EXPECT_NEAR(Engine().LogProbDrift(Request())->front(), 0.5, 1e-3);
    MakeTrajectory(config_.algorithm().flow_grpo(), guidance, current_);  // not by the policy that the lease names
    EXPECT_GT(Engine().LogProbDrift(Request())->front(), 1e-3);
  }
}

// An actor in bfloat16 merges the adapter into rounded weights, and the learner does not.
TEST_F(MethodGradientsTest, LogProbabilitiesOfBfloat16DriftByLessThanTheDefaultBound) {
  const auto rounded = Transformer::Load(absl::StrCat(SourceFolder(), "/models/tiny-sd3/transformer"), at::kBFloat16);
  ASSERT_TRUE(rounded.ok()) << rounded.status();
  sampled_by_ = *rounded;
  for (const std::string name : {"flow_grpo_1", "flow_grpo_2"}) {
    config_ = Methods().at(name);
    v1::FlowGrpoConfig& method = *config_.mutable_algorithm()->mutable_flow_grpo();
    method.set_window(2);
    method.set_window_end(3);
    double greatest = 0;
    for (uint64_t update = 1; update <= 6; ++update) {
      MakeTrajectory(method, /*guidance=*/1, old_);
      LocalGradientEngine engine({sampled_by_}, MakeAlgorithm(config_, kSigmas).value(), options_);
      const auto drift = engine.LogProbDrift(Request(update));
      ASSERT_TRUE(drift.ok()) << drift.status();
      greatest = std::max(greatest, drift->front());
    }
    RecordProperty(absl::StrCat("drift_", name), absl::StrCat(greatest));
    EXPECT_GT(greatest, 0) << name;
    EXPECT_LT(greatest, 0.01) << name;
  }
}

TEST_F(LocalGradientEngineTest, MethodsWithoutLogProbabilitiesHaveNoDrift) {
  EXPECT_TRUE(Engine().LogProbDrift(Request())->empty());
}

}  // namespace
}  // namespace flowawr
