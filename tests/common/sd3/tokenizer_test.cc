#include "common/sd3/tokenizer.h"

#include <gmock/gmock.h>

#include <nlohmann/json.hpp>

#include "common/base/file.h"
#include "common/sd3/clip_tokenizer.h"
#include "common/sd3/precompiled_charsmap.h"
#include "common/sd3/sentencepiece_model.h"
#include "common/sd3/t5_tokenizer.h"
#include "tests/testing/parity.h"
#include "tests/testing/python.h"
#include "tests/testing/temp_folder.h"

namespace flowawr {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

constexpr char kModel[] = "models/tiny-sd3";

// The first few of what differs are told in full.
class Mismatches {
 public:
  void Compare(const std::string& text, const absl::StatusOr<std::vector<int64_t>>& ids,
               const std::vector<int64_t>& expected) {
    if (ids.ok() && *ids == expected) return;
    if (++count_ > 3) return;
    ADD_FAILURE() << nlohmann::json(text).dump(-1, ' ', true) << "\n is "
                  << (ids.ok() ? nlohmann::json(*ids).dump() : ids.status().ToString()) << "\n not "
                  << nlohmann::json(expected);
  }
  int count() const { return count_; }

 private:
  int count_ = 0;
};

TEST(TokenizerTest, GivesTheIdsThatTransformersGives) {
  const TempFolder folder;
  ASSERT_TRUE(RunPython("tests/common/sd3/make_tokenizer_cases.py", {folder.path(), kModel}));
  const nlohmann::json document = nlohmann::json::parse(*ReadFile(folder / "cases.json", size_t{1} << 30));
  const auto texts = document["texts"].get<std::vector<std::string>>();
  ASSERT_GT(texts.size(), 20000);
  ASSERT_EQ(document["cases"].size(), 10);
  for (const nlohmann::json& one : document["cases"]) {
    SCOPED_TRACE(one["name"].get<std::string>());
    const auto tokenizer = Tokenizer::Load(one["folder"]);
    ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
    const auto expected = one["ids"].get<std::vector<std::vector<int64_t>>>();
    ASSERT_GT(expected.size(), 1000);
    Mismatches mismatches;
    for (size_t i = 0; i < expected.size(); ++i)
      mismatches.Compare(texts[i], (*tokenizer)->Encode(texts[i], one["max_length"].get<int>()), expected[i]);
    EXPECT_EQ(mismatches.count(), 0);
  }
  ASSERT_EQ(document["whole"].size(), 5);
  for (const nlohmann::json& one : document["whole"]) {
    const std::string name = one["name"].get<std::string>();
    SCOPED_TRACE(name);
    const auto tokenizer = Tokenizer::Load(one["folder"]);
    ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
    auto expected = one["ids"].get<std::vector<std::vector<int64_t>>>();
    ASSERT_EQ(expected.size(), texts.size());
    const int length = one["max_length"].get<int>();
    Mismatches mismatches;
    for (size_t i = 0; i < texts.size(); ++i) {
      expected[i].resize(length, one["pad"].get<int64_t>());
      mismatches.Compare(texts[i], (*tokenizer)->Encode(texts[i], length), expected[i]);
    }
    ExpectAtMost({absl::StrCat("Ids of ", name), absl::StrCat(texts.size(), " strings"),
                  absl::StrCat("transformers ", one["class"].get<std::string>())},
                 name, "mismatches", mismatches.count(), 0);
  }
}

TEST(TokenizerTest, CutsAndPadsToTheLengthAskedFor) {
  const auto tokenizer = Tokenizer::Load(std::string(kModel) + "/tokenizer_3");
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
  EXPECT_THAT(*(*tokenizer)->Encode("", 3), ElementsAre(1, 0, 0));
  EXPECT_THAT(*(*tokenizer)->Encode("a a a a", 1), ElementsAre(1));
  EXPECT_FALSE((*tokenizer)->Encode("a", 0).ok());
}

// The embedded model's tokenizers know letters and few pairs of them.
TEST(TokenizerTest, NamesWhatItCutsOff) {
  const auto clip = Tokenizer::Load(std::string(kModel) + "/tokenizer");
  ASSERT_TRUE(clip.ok()) << clip.status();
  EXPECT_EQ((*clip)->CutOff("one two three", 5), "two three");  // begin, o, n, e, end
  EXPECT_EQ((*clip)->CutOff("one two three", 6), "wo three");
  EXPECT_EQ((*clip)->CutOff("one two three", 13), "");
  EXPECT_EQ((*clip)->CutOff("one two three", 2), "one two three");
  EXPECT_EQ((*clip)->CutOff("", 2), "");
  EXPECT_EQ((*clip)->CutOff("one", 1), "") << "no length to encode at";
  EXPECT_EQ((*clip)->CutOff("one\xff", 3), "");
  const auto t5 = Tokenizer::Load(std::string(kModel) + "/tokenizer_3");
  ASSERT_TRUE(t5.ok()) << t5.status();
  EXPECT_EQ((*t5)->CutOff("one two three", 5), "two three");  // word, o, n, e, end
  EXPECT_EQ((*t5)->CutOff("one two three", 15), "");
}

TEST(TokenizerTest, RefusesTextThatIsNotUtf8) {
  for (const char* part : {"tokenizer", "tokenizer_3"}) {
    const auto tokenizer = Tokenizer::Load(std::string(kModel) + "/" + part);
    ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
    EXPECT_EQ((*tokenizer)->Encode("a\xff", 12).status().code(), absl::StatusCode::kInvalidArgument);
    EXPECT_EQ((*tokenizer)->Encode("\xed\xa0\x80", 12).status().code(), absl::StatusCode::kInvalidArgument);
  }
}

TEST(TokenizerTest, NamesTheFileThatIsMissingOrWrong) {
  const TempFolder folder;
  EXPECT_THAT(Tokenizer::Load(folder.path()).status().message(), HasSubstr("tokenizer_config.json"));
  folder.Write("tokenizer_config.json", R"({"tokenizer_class": "BertTokenizer", "model_max_length": 8})");
  EXPECT_THAT(Tokenizer::Load(folder.path()).status().message(), HasSubstr("BertTokenizer"));
  folder.Write("tokenizer_config.json", R"({"tokenizer_class": "CLIPTokenizer", "model_max_length": 8})");
  EXPECT_THAT(Tokenizer::Load(folder.path()).status().message(), HasSubstr("vocab.json"));
}

absl::Status ParseClip(absl::string_view vocab, absl::string_view merges) {
  TokenizerConfig config;
  config.model_max_length = 8;
  return ClipTokenizer::Parse(config, vocab, merges, "folder").status();
}

TEST(ClipTokenizerTest, SaysWhichLineOfItsFilesIsWrong) {
  EXPECT_TRUE(ParseClip(R"({"a": 0, "b": 1, "ab": 2})", "#version: 0.2\na b\n").ok());
  EXPECT_THAT(ParseClip(R"({"a": 0, "b": 0})", "").message(), HasSubstr("\"b\""));
  EXPECT_THAT(ParseClip(R"({"a": 0, "b": 2})", "").message(), HasSubstr("\"b\""));
  EXPECT_THAT(ParseClip(R"({"a": 0, "a": 1})", "").message(), HasSubstr("twice"));
  EXPECT_THAT(ParseClip(R"({"a": -1})", "").message(), HasSubstr("vocab.json"));
  EXPECT_THAT(ParseClip(R"({"a": 0, "b": 1})", "#version: 0.2\na b\n").message(), HasSubstr("merges.txt:2"));
  EXPECT_THAT(ParseClip(R"({"a": 0, "b": 1, "ab": 2})", "a b\na b\n").message(), HasSubstr("merges.txt:2"));
  EXPECT_THAT(ParseClip(R"({"a": 0, "b": 1, "ab": 2})", "a b c\n").message(), HasSubstr("merges.txt:1"));
}

TEST(ClipTokenizerTest, RefusesAnIdThatContradictsTheVocabulary) {
  TokenizerConfig config;
  config.model_max_length = 8;
  config.AddToken({.content = "a", .id = 1});
  EXPECT_THAT(ClipTokenizer::Parse(config, R"({"a": 0})", "", "folder").status().message(), HasSubstr("\"a\""));
}

TEST(SentencePieceModelTest, RefusesAFileCutInsideAField) {
  const std::string bytes = *ReadFile(std::string(kModel) + "/tokenizer_3/spiece.model");
  const size_t pieces = ParseSentencePieceModel(bytes, "model")->pieces.size();
  ASSERT_GT(pieces, 50);
  size_t accepted = 0;  // cut between two fields it is a shorter message
  for (size_t size = 0; size < bytes.size(); size += size < 1500 ? 1 : 997)
    accepted += ParseSentencePieceModel(absl::string_view(bytes).substr(0, size), "model").ok();
  EXPECT_LE(accepted, pieces + 5);
  EXPECT_FALSE(ParseSentencePieceModel(absl::string_view(bytes).substr(0, bytes.size() - 1), "model").ok());
  EXPECT_FALSE(ParseSentencePieceModel("", "model").ok());
}

TEST(PrecompiledCharsmapTest, RefusesSizesThatPointOutside) {
  EXPECT_TRUE(PrecompiledCharsmap::Parse("", "model").ok());
  EXPECT_FALSE(PrecompiledCharsmap::Parse(absl::string_view("\x04\0\0", 3), "model").ok());
  EXPECT_FALSE(PrecompiledCharsmap::Parse(absl::string_view("\x08\0\0\0abcd", 8), "model").ok());
  EXPECT_FALSE(PrecompiledCharsmap::Parse(absl::string_view("\x03\0\0\0abcd", 8), "model").ok());
  // A trie whose only unit points far outside matches nothing.
  const auto charsmap = PrecompiledCharsmap::Parse(absl::string_view("\x04\0\0\0\xff\xff\xff\xff", 8), "model");
  ASSERT_TRUE(charsmap.ok());
  EXPECT_EQ(charsmap->Normalize("text"), "text");
}

}  // namespace
}  // namespace flowawr
