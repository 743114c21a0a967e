#include "common/sd3/component_fingerprints.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "common/base/file.h"
#include "tests/testing/temp_folder.h"

namespace flowawr {
namespace {

using ::testing::HasSubstr;
using ::testing::Key;
using ::testing::Not;
using ::testing::UnorderedElementsAre;

class ComponentFingerprintsTest : public testing::Test {
 protected:
  ComponentFingerprintsTest() {
    std::filesystem::copy("models/tiny-sd3", model_, std::filesystem::copy_options::recursive);
  }
  ComponentFingerprints Fingerprints() const {
    const auto fingerprints = FingerprintComponents(model_);
    EXPECT_TRUE(fingerprints.ok()) << fingerprints.status();
    return fingerprints.value_or(ComponentFingerprints());
  }
  // The last byte of a file: a weight, the end of a list of merges.
  void Change(const std::string& name) const {
    std::fstream file(model_ + "/" + name, std::ios::in | std::ios::out | std::ios::binary);
    file.seekg(-1, std::ios::end);
    const char last = static_cast<char>(file.get());
    file.seekp(-1, std::ios::end);
    file.put(static_cast<char>(last ^ 1));
  }

  const TempFolder folder_;
  const std::string model_ = folder_ / "model";
};

TEST_F(ComponentFingerprintsTest, CoverEveryPartThatShapesASample) {
  EXPECT_THAT(Fingerprints(), UnorderedElementsAre(Key("vae"), Key("text_encoder"), Key("text_encoder_2"),
                                                   Key("text_encoder_3"), Key("tokenizer"), Key("tokenizer_2"),
                                                   Key("tokenizer_3"), Key("scheduler")));
}

TEST_F(ComponentFingerprintsTest, NameThePartThatDiffersByOneBit) {
  const ComponentFingerprints before = Fingerprints();
  EXPECT_TRUE(CompareComponents(before, Fingerprints(), false).ok());
  for (const auto& [component, file] :
       {std::pair("vae", "diffusion_pytorch_model.safetensors"), std::pair("text_encoder_3", "model.safetensors"),
        std::pair("tokenizer_2", "merges.txt"), std::pair("tokenizer_3", "spiece.model")}) {
    Change(std::string(component) + "/" + file);
    const absl::Status differs = CompareComponents(before, Fingerprints(), /*may_lack_text=*/true);
    EXPECT_EQ(differs.code(), absl::StatusCode::kFailedPrecondition) << component;
    EXPECT_THAT(std::string(differs.message()), testing::EndsWith(std::string(": ") + component));
    Change(std::string(component) + "/" + file);
  }
}

TEST_F(ComponentFingerprintsTest, CountAConfigurationByItsValues) {
  const ComponentFingerprints before = Fingerprints();
  const std::string path = model_ + "/scheduler/scheduler_config.json";
  std::string text = ReadFile(path).value();
  text.insert(text.find('{') + 1, "\n\n   \"_diffusers_version\": \"9\",");
  std::filesystem::remove(path);
  ASSERT_TRUE(WriteFileAtomically(path, text).ok());
  EXPECT_EQ(Fingerprints(), before);
  text.insert(text.find('{') + 1, "\"something\": 1,");
  ASSERT_TRUE(WriteFileAtomically(path, text).ok());
  EXPECT_THAT(std::string(CompareComponents(before, Fingerprints(), true).message()), HasSubstr("scheduler"));
}

TEST_F(ComponentFingerprintsTest, TextEncodersMayBeLackingWhereACacheHasTheEmbeddingsAndNothingElse) {
  const ComponentFingerprints before = Fingerprints();
  std::filesystem::remove_all(model_ + "/text_encoder_3");
  std::filesystem::remove(model_ + "/text_encoder/model.safetensors");
  EXPECT_TRUE(CompareComponents(before, Fingerprints(), /*may_lack_text=*/true).ok());
  const absl::Status strict = CompareComponents(before, Fingerprints(), /*may_lack_text=*/false);
  EXPECT_THAT(std::string(strict.message()), HasSubstr("text_encoder (missing), text_encoder_3 (missing)"));
  ComponentFingerprints none;
  EXPECT_THAT(std::string(CompareComponents(before, none, true).message()), HasSubstr("scheduler (missing), vae"));
}

}  // namespace
}  // namespace flowawr
