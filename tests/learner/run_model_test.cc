#include "learner/run_model.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

namespace flowawr {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::Pair;

const ComponentFingerprints kKnown = {
    {"transformer", "t"}, {"vae", "v"}, {"software", "arithmetic 1"}, {"dtype", "float32"}};

TEST(RunModelTest, NamesEveryPartInWhichAnActorDiffersAndWhatToDo) {
  RunModel model(kKnown);
  EXPECT_TRUE(model.Check("a", kKnown).ok());
  ComponentFingerprints other = kKnown;
  other["vae"] = "w";
  absl::Status refused = model.Check("a", other);
  EXPECT_EQ(refused.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(refused.message()),
              AllOf(HasSubstr("actor a has another model"), HasSubstr("vae differs (actor \"w\", learner \"v\")"),
                    HasSubstr("give both the same model folder"), Not(HasSubstr("release"))));
  other = kKnown;
  other["software"] = "arithmetic 2";
  refused = model.Check("a", other);
  EXPECT_THAT(std::string(refused.message()),
              AllOf(HasSubstr("software differs (actor \"arithmetic 2\""), HasSubstr("run the same release on both"),
                    Not(HasSubstr("folder"))));
  other.erase("vae");
  EXPECT_THAT(std::string(model.Check("a", other).message()),
              AllOf(HasSubstr("software differs"), HasSubstr("vae differs (actor none"), HasSubstr("folder, and run")));
}

TEST(RunModelTest, TakesWhatTheLearnerLacksFromTheFirstActorForTheWholeRun) {
  RunModel model(kKnown);
  ComponentFingerprints first = kKnown, second = kKnown;
  first["tokenizer"] = "1";
  second["tokenizer"] = "2";
  ComponentFingerprints refused = second;
  refused["vae"] = "w";
  EXPECT_FALSE(model.Check("a", refused).ok());  // which decides nothing
  EXPECT_TRUE(model.Check("a", first).ok());
  EXPECT_THAT(std::string(model.Check("b", second).message()), HasSubstr("tokenizer differs"));
  EXPECT_THAT(std::string(model.Check("b", kKnown).message()), HasSubstr("tokenizer differs (actor none"));
  EXPECT_EQ(model.parts(), first);
}

TEST(RunModelTest, NotesNoPartThatNoModelHas) {
  RunModel model(kKnown);
  ComponentFingerprints invented = kKnown;
  invented["flux capacitor"] = "1";
  EXPECT_EQ(model.Check("a", invented).code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(model.parts(), kKnown);
  for (const std::string part :
       {"tokenizer_3", "text_encoder_3", "text_encoder_2 weights", "text_encoder configuration"})
    EXPECT_TRUE(IsPartOfModel(part)) << part;
  for (const std::string part : {"", "text_encoder_4", "tokenizer weights", "vae2"})
    EXPECT_FALSE(IsPartOfModel(part)) << part;
}

TEST(RunModelTest, AResumedRunFindsTheModelAgainWhateverTheProgramsAre) {
  v1::CheckpointManifest manifest;
  RecordModel(kKnown, &manifest);
  EXPECT_EQ(manifest.model_fingerprint(), "t");
  EXPECT_THAT(manifest.model_parts(), ElementsAre(Pair("vae", "v")));
  ComponentFingerprints found = kKnown;
  found["software"] = "arithmetic 2";
  found["tokenizer"] = "1";  // no actor had been there
  EXPECT_TRUE(CheckSameModel(manifest, "models/x", found).ok());
  found.erase("vae");  // this machine does not need it
  EXPECT_TRUE(CheckSameModel(manifest, "models/x", found).ok());
  found["vae"] = "w";
  const absl::Status other = CheckSameModel(manifest, "models/x", found);
  EXPECT_EQ(other.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(other.message()),
              AllOf(HasSubstr("the model in models/x"), HasSubstr("vae differs (folder \"w\", run \"v\")")));
  manifest.clear_model_parts();  // of an older version
  EXPECT_TRUE(CheckSameModel(manifest, "models/x", found).ok());
  found["transformer"] = "u";
  EXPECT_THAT(std::string(CheckSameModel(manifest, "models/x", found).message()), HasSubstr("transformer differs"));
}

}  // namespace
}  // namespace flowawr
