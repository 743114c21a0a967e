#include "learner/ranks/share_message.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/types.h>

#include <functional>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "learner/ranks/tensor_heads.h"

namespace flowawr {
namespace {

constexpr int64_t kSize = 12;
constexpr int64_t kSamples = 3;

// Six chunks of two rows, of three groups; the middle group teaches nothing. The share is chunks 1 to 5.
class ShareMessageTest : public testing::Test {
 protected:
  ShareMessageTest() {
    for (size_t group = 0; group < 3; ++group) {
      for (int64_t begin : {0, 2}) plan_.chunks.push_back({group, begin, begin + 2, group == 1});
      plan_.samples.push_back({0, 2});
      Group made;
      made.lease.set_group_id(group);
      made.lease.set_samples(kSamples);
      made.lease.set_policy_version(group == 2 ? 4 : 5);
      made.x0 = at::rand({kSamples, 4, 2, 2});
      made.prompt_embeds = at::rand({5, 8});
      made.pooled_prompt_embeds = at::rand({6});
      batch_.push_back(made);
    }
    plan_.rows = 12;
    partial_.nodes[{1, 2}] = at::rand({kSize});
    partial_.nodes[{2, 3}] = at::Tensor();  // of the group that teaches nothing
    partial_.nodes[{3, 5}] = at::rand({kSize});
    for (size_t group : {0, 2})
      partial_.figures.push_back({.group = group,
                                  .is_old_another = group == 2,
                                  .names = {"policy_loss", "kl"},
                                  .steps = {1, 3},
                                  .values = at::rand({7}, at::kDouble)});
  }

  RankMessage Partial() const { return PartialMessage(partial_).value(); }
  absl::StatusOr<PartialGradient> Parse(RankMessage message) const {
    return ParsePartial(std::move(message), plan_, kRange, kSize);
  }
  RankMessage Share() const {
    const GradientRequest request = {.update = 7,
                                     .batch = batch_,
                                     .signals = signals_,
                                     .is_all_equal = is_all_equal_,
                                     .samples = plan_.samples,
                                     .current = current_,
                                     .old_adapter = [](uint64_t) { return nullptr; },
                                     .is_cancelled = is_cancelled_};
    return ShareMessage(request, {{5, nullptr}, {4, &old_}}, plan_, kRange).value();
  }
  absl::StatusOr<RankShare> ParseShareOf(RankMessage message) const {
    return ParseShare(std::move(message), layout_, shape_);
  }

  static constexpr ChunkRange kRange = {1, 5};
  GradientPlan plan_;
  std::vector<Group> batch_;
  const at::Tensor signals_ = at::rand({3, kSamples});
  const std::vector<bool> is_all_equal_ = {false, true, false};
  const std::shared_ptr<const LoraLayout> layout_ = std::make_shared<LoraLayout>(
      LoraLayout{.rank = 1, .alpha = 1, .modules = {{.name = "m", .in_features = 6, .out_features = 6}}});
  const LoraAdapter current_ = LoraAdapter(layout_, at::rand({kSize})), old_ = LoraAdapter(layout_, at::rand({kSize}));
  const std::atomic<bool> is_cancelled_ = false;
  const GroupShape shape_ = {
      .channels = 4, .latent_height = 2, .latent_width = 2, .max_tokens = 9, .embed_dim = 8, .pooled_dim = 6};
  PartialGradient partial_;
};

TEST_F(ShareMessageTest, AGradientSurvivesTheWay) {
  const auto got = Parse(Partial());
  ASSERT_TRUE(got.ok()) << got.status();
  ASSERT_EQ(got->nodes.size(), 3u);
  for (const auto& [node, gradient] : partial_.nodes) {
    ASSERT_EQ(got->nodes.at(node).defined(), gradient.defined());
    if (gradient.defined()) {
      EXPECT_TRUE(at::equal(got->nodes.at(node), gradient));
    }
  }
  ASSERT_EQ(got->figures.size(), 2u);
  for (size_t i = 0; i < 2; ++i) {
    EXPECT_EQ(got->figures[i].group, partial_.figures[i].group);
    EXPECT_EQ(got->figures[i].is_old_another, partial_.figures[i].is_old_another);
    EXPECT_EQ(got->figures[i].names, partial_.figures[i].names);
    EXPECT_EQ(got->figures[i].steps, partial_.figures[i].steps);
    EXPECT_TRUE(at::equal(got->figures[i].values, partial_.figures[i].values));
  }
}

TEST_F(ShareMessageTest, AGradientIsSentFromWhereItLies) {
  const RankMessage message = Partial();
  EXPECT_EQ(message.vectors.at("node/1/2").data_ptr(), partial_.nodes.at({1, 2}).data_ptr());
  EXPECT_EQ(Share().vectors.at("current").data_ptr(), current_.flat().data_ptr());
}

TEST_F(ShareMessageTest, AGradientIsWithinItsBound) {
  const RankMessage message = Partial();
  const MessageBound bound = PartialBound(plan_, kRange, kSize);
  int64_t bytes = 0;
  for (const auto* tensors : {&message.tensors, &message.vectors})
    for (const auto& [name, tensor] : *tensors) bytes += static_cast<int64_t>(tensor.nbytes());
  EXPECT_LE(bytes, bound.tensor_bytes);
  EXPECT_LE(bound.tensor_bytes, 3 * kSize * 4 + (2 * 8 + 4 * 67) * 8);
  EXPECT_LE(static_cast<int64_t>(message.text.size()), bound.text_bytes);
}

TEST_F(ShareMessageTest, RefusesAGradientOfAnythingElse) {
  const std::map<std::string, std::function<void(RankMessage&)>> faults = {
      {"a node is missing", [](RankMessage& m) { m.vectors.erase("node/1/2"); }},
      {"a node of the tree, but of another's chunks",
       [](RankMessage& m) { m.vectors["node/0/1"] = at::zeros({kSize}); }},
      {"a node that the tree does not have", [](RankMessage& m) { m.vectors["node/2/4"] = at::zeros({kSize}); }},
      {"a gradient of chunks that teach nothing", [](RankMessage& m) { m.vectors["node/2/3"] = at::zeros({kSize}); }},
      {"a shorter vector", [](RankMessage& m) { m.vectors["node/1/2"] = at::zeros({kSize - 1}); }},
      {"a vector that would be broadcast", [](RankMessage& m) { m.vectors["node/1/2"] = at::zeros({1}); }},
      {"a vector of doubles", [](RankMessage& m) { m.vectors["node/1/2"] = at::zeros({kSize}, at::kDouble); }},
      {"too few figures", [](RankMessage& m) { m.tensors["values"] = at::zeros({13}, at::kDouble); }},
      {"too many figures", [](RankMessage& m) { m.tensors["values"] = at::zeros({15}, at::kDouble); }},
      {"figures of another type", [](RankMessage& m) { m.tensors["values"] = at::zeros({14}); }},
      {"no figures", [](RankMessage& m) { m.tensors.erase("values"); }},
      {"too few steps", [](RankMessage& m) { m.tensors["steps"] = at::zeros({3}, at::kLong); }},
      {"a step below the first", [](RankMessage& m) { m.tensors["steps"][1] = -1; }},
      {"a step beyond every rollout's", [](RankMessage& m) { m.tensors["steps"][1] = int64_t{1} << 40; }},
      {"a tensor more", [](RankMessage& m) { m.tensors["more"] = at::zeros({1}); }},
      {"no JSON", [](RankMessage& m) { m.text = "gradient"; }},
      {"another JSON", [](RankMessage& m) { m.text = "[1,2]"; }},
      {"figures of one chunk more",
       [](RankMessage& m) { m.text = R"({"lists":[["policy_loss","kl"]],"chunks":[[false,0],[true,0],[true,0]]})"; }},
      {"figures of one chunk less",
       [](RankMessage& m) { m.text = R"({"lists":[["policy_loss","kl"]],"chunks":[[false,0]]})"; }},
      {"a list that is not there",
       [](RankMessage& m) { m.text = R"({"lists":[["policy_loss","kl"]],"chunks":[[false,0],[true,1]]})"; }},
      {"a negative list",
       [](RankMessage& m) { m.text = R"({"lists":[["policy_loss","kl"]],"chunks":[[false,0],[true,-1]]})"; }},
      {"a name that is none",
       [](RankMessage& m) { m.text = R"({"lists":[["policy loss\n","kl"]],"chunks":[[false,0],[true,0]]})"; }},
  };
  for (const auto& [fault, apply] : faults) {
    RankMessage message = Partial();
    for (auto& [name, tensor] : message.tensors) tensor = tensor.clone();
    apply(message);
    const absl::Status status = Parse(std::move(message)).status();
    EXPECT_TRUE(absl::IsInvalidArgument(status)) << fault << ": " << status;
  }
}

// Whatever is damaged: an error, or a gradient of exactly the nodes and figures that were asked for.
TEST_F(ShareMessageTest, NoDamageGetsAGradientOfAnotherShapeIn) {
  std::mt19937 random(1);
  int taken = 0;
  for (int i = 0; i < 20000; ++i) {
    RankMessage message = Partial();
    for (unsigned changes = 1 + random() % 4; changes > 0; --changes)
      message.text[random() % message.text.size()] = static_cast<char>(random());
    const auto got = Parse(std::move(message));
    if (!got.ok()) continue;
    ++taken;
    ASSERT_EQ(got->nodes.size(), partial_.nodes.size());
    for (const auto& [node, gradient] : got->nodes) {
      if (gradient.defined()) {
        ASSERT_EQ(gradient.sizes(), at::IntArrayRef({kSize}));
      }
    }
    ASSERT_EQ(got->figures.size(), 2u);
    for (const ChunkFigures& figures : got->figures)
      ASSERT_EQ(figures.values.numel(), 3 + static_cast<int64_t>(figures.names.size()) + figures.rows());
  }
  EXPECT_GT(taken, 0) << "every change is refused: the test looks at nothing";
}

TEST_F(ShareMessageTest, AShareSurvivesTheWay) {
  const auto got = ParseShareOf(Share());
  ASSERT_TRUE(got.ok()) << got.status();
  EXPECT_EQ(got->update, 7u);
  ASSERT_EQ(got->batch.size(), 2u);  // groups 0 and 2
  EXPECT_TRUE(at::equal(got->batch[1].x0, batch_[2].x0));
  EXPECT_EQ(got->batch[1].lease.group_id(), 2u);
  EXPECT_TRUE(at::equal(got->signals, signals_.index_select(0, at::tensor({0, 2}))));
  EXPECT_TRUE(at::equal(got->current.flat(), current_.flat()));
  ASSERT_EQ(got->old.size(), 1u);
  EXPECT_TRUE(at::equal(got->old.at(4).flat(), old_.flat()));
  EXPECT_EQ(got->range, kRange);
  ASSERT_EQ(got->plan.chunks.size(), 6u);
  EXPECT_EQ(got->plan.chunks[1].group, 0u);
  EXPECT_TRUE(got->plan.chunks[2].is_idle);
  EXPECT_EQ(got->plan.chunks[4].group, 1u);  // of the message
  EXPECT_EQ(got->plan.samples[1], plan_.samples[2]);
}

TEST_F(ShareMessageTest, RefusesAShareThatIsNone) {
  const std::map<std::string, std::function<void(RankMessage&)>> faults = {
      {"no adapter", [](RankMessage& m) { m.vectors.erase("current"); }},
      {"an adapter of another layout", [](RankMessage& m) { m.vectors["current"] = at::zeros({kSize + 1}); }},
      {"an older one of another layout", [](RankMessage& m) { m.vectors["old/4"] = at::zeros({1}); }},
      {"an older one that nobody asked for", [](RankMessage& m) { m.vectors["old/3"] = at::zeros({kSize}); }},
      {"no latents", [](RankMessage& m) { m.tensors.erase("group/0/x0"); }},
      {"other latents", [](RankMessage& m) { m.tensors["group/0/x0"] = at::zeros({kSamples, 4, 2, 3}); }},
      {"too many tokens", [](RankMessage& m) { m.tensors["group/0/prompt_embeds"] = at::zeros({10, 8}); }},
      {"a lease that is none", [](RankMessage& m) { m.tensors["group/0/lease"] = at::full({4}, 255, at::kByte); }},
      {"a sample that the group lacks",
       [](RankMessage& m) { m.tensors["group/0/samples"] = at::tensor({0, 3}, at::kLong); }},
      {"a sample twice", [](RankMessage& m) { m.tensors["group/0/samples"] = at::tensor({1, 1}, at::kLong); }},
      {"signals of one group", [](RankMessage& m) { m.tensors["signals"] = at::zeros({1, kSamples}); }},
      {"a chunk of a group that is not there",
       [](RankMessage& m) {
         m.text = R"({"update":7,"chunks":6,"begin":1,"is_all_equal":[false,false],"range":[[2,0,2]]})";
       }},
      {"a chunk without rows",
       [](RankMessage& m) {
         m.text = R"({"update":7,"chunks":6,"begin":1,"is_all_equal":[false,false],"range":[[0,2,2]]})";
       }},
      {"chunks beyond the update's",
       [](RankMessage& m) {
         m.text = R"({"update":7,"chunks":2,"begin":2,"is_all_equal":[false,false],"range":[[0,0,2]]})";
       }},
      {"more chunks than any update has",
       [](RankMessage& m) {
         m.text = R"({"update":7,"chunks":99999999999,"begin":1,"is_all_equal":[false,false],"range":[]})";
       }},
  };
  for (const auto& [fault, apply] : faults) {
    RankMessage message = Share();
    apply(message);
    const absl::Status status = ParseShareOf(std::move(message)).status();
    EXPECT_TRUE(absl::IsInvalidArgument(status)) << fault << ": " << status;
  }
}

TEST_F(ShareMessageTest, NoDamageOfAShareEndsTheProcess) {
  std::mt19937 random(2);
  for (int i = 0; i < 5000; ++i) {
    RankMessage message = Share();
    for (unsigned changes = 1 + random() % 4; changes > 0; --changes)
      message.text[random() % message.text.size()] = static_cast<char>(random());
    at::Tensor& lease = message.tensors["group/1/lease"];
    lease[static_cast<int64_t>(random() % static_cast<uint64_t>(lease.numel()))] = static_cast<int64_t>(random() % 256);
    ParseShareOf(std::move(message)).status().IgnoreError();
  }
}

}  // namespace
}  // namespace flowawr
