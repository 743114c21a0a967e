// Folders that cannot be used: everything that is wrong is told at once, a line each, with what to do.
#include <gmock/gmock.h>
#include <torch/types.h>

#include <filesystem>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "common/base/file.h"
#include "common/sd3/pipeline.h"
#include "common/tensor/safetensors.h"
#include "tests/testing/temp_folder.h"

namespace flowawr {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

constexpr char kModel[] = "models/tiny-sd3";

// A copy of the embedded model, to be damaged.
class BadFolderTest : public testing::Test {
 protected:
  BadFolderTest() {
    fs::copy(kModel, folder_.path(), fs::copy_options::recursive | fs::copy_options::overwrite_existing);
  }
  // The error of loading the folder; every line of it but the first begins with two spaces.
  std::string Error() const {
    const absl::Status status = Pipeline::Load(folder_.path(), {}).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
    return std::string(status.message());
  }
  void ChangeIndex(const std::string& component, const json& value) {
    json index = json::parse(std::ifstream(folder_ / "model_index.json"));
    if (value.is_discarded()) {
      index.erase(component);
    } else {
      index[component] = value;
    }
    folder_.Write("model_index.json", index.dump());
  }
  void ChangeConfig(const std::string& path, const std::string& from, const std::string& to) {
    const std::string text = *ReadFile(folder_ / path);
    ASSERT_THAT(text, HasSubstr(from));
    folder_.Write(path, absl::StrReplaceAll(text, {{from, to}}));
  }
  const TempFolder folder_;
};

TEST_F(BadFolderTest, ListsTheFaultsOfAllComponentsAtOnce) {
  fs::remove_all(folder_ / "transformer");                                         // the folder of a component
  ChangeIndex("vae", json(json::value_t::discarded));                              // a component that is not named
  ChangeConfig("text_encoder/config.json", "\"eos_token_id\"", "\"eos_tokens\"");  // a field that is not known
  folder_.Write("text_encoder_2/model.safetensors", "");                           // an empty file
  fs::resize_file(folder_ / "text_encoder_3/model.safetensors", 300'000);          // a download that broke off
  fs::remove(folder_ / "tokenizer/tokenizer_config.json");
  fs::create_directory(folder_ / "tokenizer/tokenizer_config.json");  // a directory in place of a file
  ChangeConfig("scheduler/scheduler_config.json", "\"use_dynamic_shifting\": false", "\"use_dynamic_shifting\": true");
  const std::string error = Error();
  for (const char* line :
       {"\n  transformer: ", "/transformer is not a folder; fetch it", "\n  model_index.json: vae is missing",
        "\n  text_encoder: ", "field \"eos_tokens\" is not known",
        "\n  text_encoder_2: ", "0 bytes are too few for a safetensors file; fetch it again",
        "\n  text_encoder_3: ", "it is cut short, fetch it again", "\n  tokenizer: ", "tokenizer_config.json",
        "\n  scheduler: ", "use_dynamic_shifting is set"})
    EXPECT_THAT(error, HasSubstr(line));
}

TEST_F(BadFolderTest, RefusesComponentsOfOtherClasses) {
  ChangeIndex("text_encoder", {"transformers", "CLIPTextModel"});
  ChangeConfig("transformer/config.json", "SD3Transformer2DModel", "FluxTransformer2DModel");
  ChangeConfig("vae/config.json", "AutoencoderKL", "AutoencoderTiny");
  ChangeConfig("text_encoder_2/config.json", "CLIPTextModelWithProjection", "CLIPTextModel");
  ChangeConfig("text_encoder_3/config.json", "T5EncoderModel", "T5ForConditionalGeneration");
  ChangeConfig("tokenizer_2/tokenizer_config.json", "CLIPTokenizer", "GPT2Tokenizer");
  const std::string error = Error();
  for (const char* line : {"text_encoder is a CLIPTextModel, expected CLIPTextModelWithProjection",
                           "_class_name is \"FluxTransformer2DModel\", expected SD3Transformer2DModel",
                           "_class_name is \"AutoencoderTiny\", expected AutoencoderKL",
                           "architectures names CLIPTextModel, expected CLIPTextModelWithProjection",
                           "architectures names T5ForConditionalGeneration, expected T5EncoderModel",
                           "tokenizer_class \"GPT2Tokenizer\" is not known"})
    EXPECT_THAT(error, HasSubstr(line));
}

TEST_F(BadFolderTest, TellsHowToDoWithoutAT5ThatWasNotFetched) {
  fs::remove_all(folder_ / "text_encoder_3");
  EXPECT_THAT(Error(), HasSubstr("set text_encoder_3 and tokenizer_3 to [null, null] in model_index.json"));
  ChangeIndex("text_encoder_3", "T5EncoderModel");
  EXPECT_THAT(Error(), HasSubstr("text_encoder_3 is \"T5EncoderModel\"; expected [LIBRARY, CLASS], or [null, null]"));
  ChangeIndex("text_encoder_3", {nullptr, nullptr});
  EXPECT_TRUE(Pipeline::Load(folder_.path(), {}).ok());
  ChangeIndex("text_encoder_3", json(json::value_t::discarded));
  ChangeIndex("tokenizer_3", json(json::value_t::discarded));
  EXPECT_TRUE(Pipeline::Load(folder_.path(), {}).ok());
}

TEST_F(BadFolderTest, ListsTensorsOfSeveralComponents) {
  const auto spoil = [&](const std::string& path, const std::string& tensor) {
    auto tensors = SafetensorsFile::Open(folder_ / path)->tensors();
    ASSERT_EQ(tensors.erase(tensor), 1);
    tensors["surplus"] = at::zeros({1});
    ASSERT_TRUE(WriteSafetensors(folder_ / path, tensors).ok());
  };
  spoil("transformer/diffusion_pytorch_model.safetensors", "proj_out.bias");
  spoil("text_encoder_3/model.safetensors", "encoder.final_layer_norm.weight");
  const std::string error = Error();
  EXPECT_THAT(error, AllOf(HasSubstr("\n    tensor \"proj_out.bias\" is missing"),
                           HasSubstr("\n    tensor \"encoder.final_layer_norm.weight\" is missing"),
                           HasSubstr("\n    tensor \"surplus\" [1] is unexpected")));
  EXPECT_THAT(error, Not(HasSubstr("vae")));
}

TEST_F(BadFolderTest, TellsOfEveryComponentHowMuchOfItIsRead) {
  std::map<std::string, int64_t> read, totals;
  const auto pipeline =
      Pipeline::Load(folder_.path(), {.progress = [&](absl::string_view component, int64_t bytes, int64_t total) {
                       EXPECT_GE(bytes, read[std::string(component)]);
                       read[std::string(component)] = bytes;
                       totals[std::string(component)] = total;
                     }});
  ASSERT_TRUE(pipeline.ok()) << pipeline.status();
  EXPECT_EQ(read, totals);
  int64_t bytes = 0;
  const auto file = SafetensorsFile::Open(folder_ / "vae/diffusion_pytorch_model.safetensors");
  ASSERT_TRUE(file.ok()) << file.status();
  for (const auto& [name, tensor] : file->tensors()) bytes += static_cast<int64_t>(tensor.nbytes());
  EXPECT_EQ(totals["vae"], bytes);
  EXPECT_THAT(totals, AllOf(testing::SizeIs(5), testing::Contains(testing::Key("transformer"))));
}

}  // namespace
}  // namespace flowawr
