#include "common/sd3/prompt_cache.h"

#include <gmock/gmock.h>
#include <torch/types.h>

#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <utility>

#include "common/base/file.h"
#include "common/sd3/prompt_embedder.h"
#include "common/sd3/text_encoders.h"
#include "common/tensor/safetensors.h"
#include "tests/common/sd3/tiny_encoders.h"
#include "tests/testing/temp_folder.h"

namespace flowawr {
namespace {

using testing::AllOf;
using testing::HasSubstr;
namespace fs = std::filesystem;

class PromptCacheTest : public testing::Test {
 protected:
  std::unique_ptr<PromptCache> Open(const std::string& model = kModel, at::ScalarType dtype = at::kFloat,
                                    int length = 12) {
    auto cache = PromptCache::Open(folder_ / "cache", model, dtype, length);
    EXPECT_TRUE(cache.ok()) << cache.status();
    return *std::move(cache);
  }

  // A copy of the model, without what is called `without`.
  std::string Copy(const std::string& without) {
    const std::string copy = folder_ / "model";
    fs::copy(kModel, copy, fs::copy_options::recursive);
    for (const char* encoder : {"text_encoder", "text_encoder_2", "text_encoder_3"})
      fs::remove_all(copy + "/" + encoder + "/" + without);
    return copy;
  }

  // One entry, replaced by these tensors.
  void Spoil(PromptCache& cache, const PromptEmbeds& embeds) { ASSERT_TRUE(cache.Put(kPrompt, embeds).ok()); }

  static void FlipLastByte(const std::string& path) {
    std::string bytes = ReadFile(path).value();
    bytes.back() = static_cast<char>(bytes.back() ^ 1);
    ASSERT_TRUE(WriteFileAtomically(path, bytes).ok());
  }

  void ExpectDamaged(const PromptCache& cache, const std::string& why) {
    const absl::Status status = cache.Get(kPrompt).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss) << status;
    EXPECT_THAT(status.message(), AllOf(HasSubstr(cache.PathOf(kPrompt)), HasSubstr(why)));
  }

  const TempFolder folder_;
};

TEST_F(PromptCacheTest, GivesBackTheBitsThatWerePut) {
  const auto cache = Open();
  EXPECT_EQ(cache->Get(kPrompt).status().code(), absl::StatusCode::kNotFound);
  EXPECT_FALSE(fs::exists(folder_ / "cache"));
  const PromptEmbeds embeds = Embeds(kPrompt);
  ASSERT_TRUE(cache->Put(kPrompt, embeds).ok());
  const auto again = Open()->Get(kPrompt);
  ASSERT_TRUE(again.ok()) << again.status();
  ExpectEqual(*again, embeds);
  EXPECT_EQ(cache->usage().entries, 1);
  EXPECT_EQ(cache->usage().bytes, static_cast<int64_t>(fs::file_size(cache->PathOf(kPrompt))));
}

TEST_F(PromptCacheTest, KeepsApartWhateverChangesAnEntry) {
  const auto cache = Open();
  ASSERT_TRUE(cache->Put(kPrompt, Embeds(kPrompt)).ok());
  EXPECT_TRUE(absl::IsNotFound(cache->Get("a sign that says \"CAT\" ").status()));
  EXPECT_TRUE(absl::IsNotFound(Open(kModel, at::kFloat, 13)->Get(kPrompt).status()));
  EXPECT_TRUE(absl::IsNotFound(Open(kModel, at::kBFloat16)->Get(kPrompt).status()));

  const std::string copy = Copy("nothing");
  EXPECT_TRUE(Open(copy)->Get(kPrompt).ok());  // wherever the same files are
  const std::string weights = copy + "/text_encoder_3/model.safetensors";
  auto tensors = SafetensorsFile::Open(weights)->tensors();
  const std::string name = "encoder.final_layer_norm.weight";
  ASSERT_TRUE(tensors.contains(name));
  tensors[name] = tensors[name] * 1.01;
  ASSERT_TRUE(WriteSafetensors(weights, tensors).ok());
  EXPECT_TRUE(absl::IsNotFound(Open(copy)->Get(kPrompt).status()));
}

TEST_F(PromptCacheTest, NoticesTokenizersAndConfigurationsThatChanged) {
  const auto cache = Open();
  const std::string copy = Copy("nothing");
  ASSERT_EQ(Open(copy)->folder(), cache->folder());
  std::ofstream(copy + "/tokenizer_2/tokenizer_config.json", std::ios::app) << " ";
  const std::string other = Open(copy)->folder();
  EXPECT_NE(other, cache->folder());
  std::ofstream(copy + "/text_encoder/config.json", std::ios::app) << " ";
  EXPECT_NE(Open(copy)->folder(), other);
}

TEST_F(PromptCacheTest, FindsEntriesOfEncodersThatAreNoLongerThere) {
  ASSERT_TRUE(Open()->Put(kPrompt, Embeds(kPrompt)).ok());
  const std::string copy = Copy("model.safetensors");
  EXPECT_TRUE(Open(copy)->Get(kPrompt).ok());
  for (const char* suffix : {"", "_2", "_3"}) {
    fs::remove_all(copy + "/text_encoder" + suffix);
    fs::remove_all(copy + "/tokenizer" + suffix);
  }
  EXPECT_TRUE(Open(copy)->Get(kPrompt).ok());
}

TEST_F(PromptCacheTest, SaysWhatToDoWhenNothingTellsTheEncoders) {
  const std::string copy = Copy("model.safetensors");
  const absl::Status status = PromptCache::Open(folder_ / "cache", copy, at::kFloat, 12).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(status.message(), AllOf(HasSubstr("text_encoder_3 weights"), HasSubstr("flowawr encode")));
}

TEST_F(PromptCacheTest, RefusesDamagedEntries) {
  const auto cache = Open();
  const PromptEmbeds embeds = Embeds(kPrompt);
  Spoil(*cache, {embeds.prompt_embeds.narrow(2, 0, 8), embeds.pooled});
  ExpectDamaged(*cache, "prompt_embeds");
  Spoil(*cache, {embeds.prompt_embeds, embeds.pooled.to(at::kBFloat16)});
  ExpectDamaged(*cache, "pooled");
  EXPECT_EQ(cache->Put(kPrompt, {embeds.prompt_embeds, embeds.pooled / 0}).code(), absl::StatusCode::kInvalidArgument);

  ASSERT_TRUE(cache->Put(kPrompt, embeds).ok());
  const std::string path = cache->PathOf(kPrompt);
  fs::copy_file(path, cache->PathOf("another"));
  EXPECT_THAT(cache->Get("another").status().message(), HasSubstr("of another prompt"));
  FlipLastByte(path);
  ExpectDamaged(*cache, "are not those that were written");
  fs::resize_file(path, fs::file_size(path) - 1);
  ExpectDamaged(*cache, path);
}

class PromptEmbedderTest : public PromptCacheTest {
 protected:
  std::unique_ptr<PromptEmbedder> Embedder(const std::string& model = kModel) {
    auto embedder = PromptEmbedder::Create(model, kOptions, folder_ / "cache");
    EXPECT_TRUE(embedder.ok()) << embedder.status();
    return *std::move(embedder);
  }
};

TEST_F(PromptEmbedderTest, LoadsTheTextEncodersForAPromptThatTheCacheDoesNotHold) {
  const auto first = Embedder();
  EXPECT_FALSE(first->has_text_encoders());
  ExpectEqual(first->Embed(kPrompt).value(), Embeds(kPrompt));
  EXPECT_TRUE(first->has_text_encoders());

  const auto second = Embedder();
  ExpectEqual(second->Embed(kPrompt).value(), Embeds(kPrompt));
  EXPECT_FALSE(second->has_text_encoders());
}

TEST_F(PromptEmbedderTest, ReplacesADamagedEntry) {
  const auto cache = Open();
  const PromptEmbeds embeds = Embeds(kPrompt);
  ASSERT_TRUE(cache->Put(kPrompt, embeds).ok());
  FlipLastByte(cache->PathOf(kPrompt));
  ExpectEqual(Embedder()->Embed(kPrompt).value(), embeds);
  EXPECT_TRUE(cache->Get(kPrompt).ok());
}

TEST_F(PromptEmbedderTest, GoesOnWithoutACacheThatTakesNothing) {
  folder_.Write("cache", "a file where the folder should be");
  ExpectEqual(Embedder()->Embed(kPrompt).value(), Embeds(kPrompt));
}

TEST_F(PromptEmbedderTest, NamesThePromptWhoseEncodersAreMissing) {
  ASSERT_TRUE(Open()->Put(kPrompt, Embeds(kPrompt)).ok());
  const auto embedder = Embedder(Copy("model.safetensors"));
  EXPECT_TRUE(embedder->Embed(kPrompt).ok());
  EXPECT_THAT(
      embedder->Embed("a dog").status().message(),
      AllOf(HasSubstr("\"a dog\" is not in the cache"), HasSubstr("flowawr encode"), HasSubstr("text_encoder_3: ")));
}

}  // namespace
}  // namespace flowawr
