#include "common/sd3/component_fingerprints.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <memory>
#include <string>
#include <utility>

#include "absl/strings/str_replace.h"
#include "common/base/file.h"
#include "common/sd3/prompt_embedder.h"
#include "tests/testing/temp_folder.h"

namespace flowawr {
namespace {

namespace fs = std::filesystem;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::Key;
using ::testing::MatchesRegex;
using ::testing::UnorderedElementsAre;

class ComponentFingerprintsTest : public testing::Test {
 protected:
  ComponentFingerprintsTest() { fs::copy("models/tiny-sd3", model_, fs::copy_options::recursive); }

  ComponentFingerprints Fingerprints(at::ScalarType dtype = at::kFloat) const {
    const auto transformer = Transformer::Load(model_ + "/transformer", at::kFloat);
    EXPECT_TRUE(transformer.ok()) << transformer.status();
    const auto fingerprints = FingerprintModel(model_, **transformer, dtype);
    EXPECT_TRUE(fingerprints.ok()) << fingerprints.status();
    return fingerprints.value_or(ComponentFingerprints());
  }
  // The last byte, e.g. of a weight or of a list of merges; the same again undoes it.
  void FlipLastBit(const std::string& name) const {
    const std::string path = model_ + "/" + name;
    std::string bytes = ReadFile(path).value();
    bytes.back() = static_cast<char>(bytes.back() ^ 1);
    ASSERT_TRUE(WriteFileAtomically(path, bytes).ok());
  }
  void Replace(const std::string& name, const std::string& what, const std::string& by) const {
    const std::string path = model_ + "/" + name, before = ReadFile(path).value();
    const std::string after = absl::StrReplaceAll(before, {{what, by}});
    ASSERT_NE(before, after);
    ASSERT_TRUE(WriteFileAtomically(path, after).ok());
  }

  const TempFolder folder_;
  const std::string model_ = folder_ / "model";
};

TEST_F(ComponentFingerprintsTest, CoverEveryPartThatShapesASample) {
  EXPECT_THAT(Fingerprints(),
              UnorderedElementsAre(Key("transformer"), Key("vae"), Key("scheduler"), Key("tokenizer"),
                                   Key("tokenizer_2"), Key("tokenizer_3"), Key("text_encoder configuration"),
                                   Key("text_encoder_2 configuration"), Key("text_encoder_3 configuration"),
                                   Key("text_encoder weights"), Key("text_encoder_2 weights"),
                                   Key("text_encoder_3 weights"), Key("dtype"), Key("software")));
}

TEST_F(ComponentFingerprintsTest, NameThePartThatDiffersByOneBit) {
  const ComponentFingerprints before = Fingerprints();
  EXPECT_THAT(DescribeDifferences(before, "run", Fingerprints(), "actor"), IsEmpty());
  for (const auto& [file, difference] :
       {std::pair("transformer/diffusion_pytorch_model.safetensors", "transformer differs"),
        std::pair("vae/diffusion_pytorch_model.safetensors", "vae differs"),
        std::pair("text_encoder_3/model.safetensors", "text_encoder_3 weights differ"),
        std::pair("tokenizer_2/merges.txt", "tokenizer_2 differs"),
        std::pair("tokenizer_3/spiece.model", "tokenizer_3 differs")}) {
    FlipLastBit(file);
    EXPECT_THAT(DescribeDifferences(before, "run", Fingerprints(), "actor"),
                ElementsAre(MatchesRegex(std::string(difference) + " .actor [0-9a-f]{12}, run [0-9a-f]{12}.")));
    FlipLastBit(file);
  }
}

TEST_F(ComponentFingerprintsTest, TellAConfigurationByItsValues) {
  const ComponentFingerprints before = Fingerprints();
  Replace("vae/config.json", "{", "{\n\n \"_name_or_path\": \"elsewhere\",");
  Replace("scheduler/scheduler_config.json", "{", "{\n \"_note\": 1,");
  EXPECT_EQ(Fingerprints(), before);
  Replace("vae/config.json", "\"scaling_factor\": ", "\"scaling_factor\": 1");
  Replace("scheduler/scheduler_config.json", "\"shift\": ", "\"shift\": 1");
  EXPECT_THAT(DescribeDifferences(before, "run", Fingerprints(), "actor"),
              ElementsAre(MatchesRegex("scheduler differs .actor \"shift 1.*\", run \"shift .* timesteps\".*"),
                          testing::StartsWith("vae differs ")));
}

TEST_F(ComponentFingerprintsTest, TellTheDtype) {
  EXPECT_THAT(DescribeDifferences(Fingerprints(), "run", Fingerprints(at::kBFloat16), "actor"),
              ElementsAre("dtype differs (actor \"bfloat16\", run \"float32\")"));
}

// The learner's folder may lack what it does not need; an actor has to have all that the learner knows.
TEST_F(ComponentFingerprintsTest, WhoLacksAPartCannotJudgeItAndWhoNeedsItMustHaveIt) {
  const ComponentFingerprints whole = Fingerprints();
  fs::remove(model_ + "/vae/diffusion_pytorch_model.safetensors");
  fs::remove_all(model_ + "/text_encoder_3");
  const ComponentFingerprints part = Fingerprints();
  EXPECT_EQ(part.size(), whole.size() - 3);
  EXPECT_THAT(DescribeDifferences(part, "run", whole, "actor"), IsEmpty());
  EXPECT_THAT(DescribeDifferences(whole, "run", part, "actor"),
              ElementsAre(MatchesRegex("text_encoder_3 configuration differs .actor none, run [0-9a-f]{12}."),
                          testing::StartsWith("text_encoder_3 weights differ (actor none, "),
                          testing::StartsWith("vae differs (actor none, ")));
}

TEST_F(ComponentFingerprintsTest, AModelWithoutT5IsAnother) {
  const ComponentFingerprints with = Fingerprints();
  Replace("model_index.json", "\"T5EncoderModel\"", "null");
  const ComponentFingerprints without = Fingerprints();
  EXPECT_THAT(DescribeDifferences(without, "run", with, "actor"),
              ElementsAre("text_encoder_3 differs (actor none, run \"none\")"));
  EXPECT_EQ(DescribeDifferences(with, "run", without, "actor").size(), 3u);
}

// Whose encoders made the embeddings is what counts, not whether their weights lie here.
TEST_F(ComponentFingerprintsTest, ACacheOfEmbeddingsTellsWhichEncodersMadeIt) {
  const ComponentFingerprints whole = Fingerprints();
  const std::string cache = folder_ / "cache";
  const TextEncoders::Options options{.max_sequence_length = 12};
  ASSERT_TRUE(PromptEmbedder::Create(model_, options, cache).value()->Embed("a sign").ok());
  for (const char* encoder : {"text_encoder", "text_encoder_2", "text_encoder_3"})
    fs::remove(absl::StrCat(model_, "/", encoder, "/model.safetensors"));
  const auto embedder = PromptEmbedder::Create(model_, options, cache);
  ASSERT_TRUE(embedder.ok()) << embedder.status();
  for (const auto& [part, fingerprint] : (*embedder)->parts()) EXPECT_EQ(whole.at(part), fingerprint) << part;
  EXPECT_EQ((*embedder)->parts().size(), 9u);
}

TEST_F(ComponentFingerprintsTest, WhatAPeerSaysIsShownInBoundsAndAsUtf8) {
  EXPECT_THAT(DescribeDifferences({{"software", "1"}}, "run", {{"software", std::string(1000, '\xff')}}, "actor"),
              ElementsAre(testing::AllOf(testing::SizeIs(testing::Lt(200u)), testing::HasSubstr("..."))));
}

}  // namespace
}  // namespace flowawr
