// `flowawr sample` as people run it: a process, and files in a folder.
#include <ATen/ops/ones.h>
#include <ATen/ops/stack.h>
#include <signal.h>

#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "cli/sample_images.h"
#include "cli/sample_progress.h"
#include "common/diffusion/noise.h"
#include "common/nn/lora_files.h"
#include "common/sd3/transformer.h"
#include "common/tensor/image.h"
#include "common/tensor/safetensors.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/cli/command.h"
#include "tests/cli/files_of.h"
#include "tests/cli/outcome.h"
#include "tests/testing/python.h"
#include "tests/testing/temp_folder.h"

namespace flowawr {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::Pair;

constexpr char kPrompts[] = R"(--prompt 'a sign that says "CAT"' --prompt 'a sign that says "DOG"')";

std::string Model() { return SourceFolder() + "/models/tiny-sd3"; }

Outcome Sample(const TempFolder& folder, const std::string& out, const std::string& more) {
  return RunFlowawr(folder, absl::StrCat("sample --model ", Model(), " --height 32 --width 64 --steps 2 ", kPrompts,
                                         " --out ", folder / out, " ", more));
}

TEST(SampleCommand, WritesEveryImageAndAGridAndTheSameBytesForTheSameSeed) {
  const TempFolder folder;
  const Outcome first = Sample(folder, "a", "--count 2 --seed 7");
  ASSERT_EQ(first.exit_code, 0) << first.output;
  EXPECT_THAT(first.output, HasSubstr("4 images in "));
  ASSERT_EQ(Sample(folder, "b", "--count 2 --seed 7").exit_code, 0);
  ASSERT_EQ(Sample(folder, "c", "--count 2 --seed 8").exit_code, 0);

  const auto a = FilesOf(folder / "a");
  EXPECT_EQ(a, FilesOf(folder / "b"));
  std::set<std::string> pixels;
  int images = 0;
  for (const auto* run : {"a", "c"}) {
    for (const auto& [name, bytes] : FilesOf(folder / run)) {
      const auto image = DecodePng(bytes);
      ASSERT_TRUE(image.ok()) << name << ": " << image.status();
      if (name == "grid.png") {
        EXPECT_GT(image->height, 2 * 32);
        EXPECT_GT(image->width, 2 * 64);
        continue;
      }
      EXPECT_EQ(image->height, 32);
      EXPECT_EQ(image->width, 64);
      pixels.insert(image->rgb);
      ++images;
    }
  }
  EXPECT_EQ(images, 8);
  EXPECT_EQ(pixels.size(), 8u) << "prompts, samples and seeds must all tell in the picture";
  EXPECT_THAT(a.at("prompt-001-image-01.png"), HasSubstr("a sign that says \"DOG\""));
  EXPECT_EQ(a.count("grid.png"), 1u);
}

TEST(SampleCommand, TellsPillowWhatMadeEveryPictureInAnyScript) {
  const TempFolder folder;
  const std::vector<std::string> prompts = {"a sign that says \"CAT\"", "gr\u00f6\u00dfe \u043a\u043e\u0442 \u732b",
                                            "\U0001F600\ttab"};
  std::string draw = absl::StrCat("sample --model ", Model(), " --steps 1 --seed 7 --count 2 --guidance 2 --out ",
                                  folder / "out", " --negative-prompt \u60aa\u3044");
  for (const std::string& prompt : prompts) absl::StrAppend(&draw, " --prompt '", prompt, "'");
  const Outcome outcome = RunFlowawr(folder, draw);
  ASSERT_EQ(outcome.exit_code, 0) << outcome.output;
  nlohmann::json expected;
  for (size_t prompt = 0; prompt < prompts.size(); ++prompt)
    for (int sample = 0; sample < 2; ++sample)
      expected[SampleFileName(prompt, sample)] = {{"prompt", prompts[prompt]},
                                                  {"prompt index", absl::StrCat(prompt)},
                                                  {"sample", absl::StrCat(sample)},
                                                  {"seed", "7"},
                                                  {"negative prompt", "\u60aa\u3044"},
                                                  {"model", Model()}};
  expected["grid.png"] = {{"prompts", nlohmann::json(prompts).dump()}, {"count", "2"},  {"seed", "7"},
                          {"steps", "1"},                              {"height", "32"}, {"width", "64"}};
  const std::string file = folder.Write("expected.json", expected.dump());
  EXPECT_TRUE(RunPython("tests/cli/read_png_text.py", {folder / "out", file}));
}

TEST(SampleCommand, AnAdapterOfZerosChangesNothingAndAnyOtherDoes) {
  const TempFolder folder;
  const auto transformer = Transformer::Load(Model() + "/transformer", at::kFloat);
  ASSERT_TRUE(transformer.ok()) << transformer.status();
  const auto layout = (*transformer)->MakeLoraLayout({"attn.to_q", "attn.to_out.0"}, 4, 8);
  ASSERT_TRUE(layout.ok()) << layout.status();
  const LoraAdapter zeros = LoraAdapter::Initialise(*layout, 3);
  const LoraAdapter ones = zeros.Clone();
  ones.flat().fill_(0.05);
  ASSERT_TRUE(WritePeftFolder(zeros, "tiny", folder / "zeros").ok());
  ASSERT_TRUE(WritePeftFolder(ones, "tiny", folder / "ones").ok());

  ASSERT_EQ(Sample(folder, "base", "").exit_code, 0);
  const Outcome with_zeros = Sample(folder, "with-zeros", absl::StrCat("--adapter ", folder / "zeros"));
  ASSERT_EQ(with_zeros.exit_code, 0) << with_zeros.output;
  ASSERT_EQ(Sample(folder, "with-ones", absl::StrCat("--adapter ", folder / "ones")).exit_code, 0);
  const auto rgb = [&](const char* run) {
    return DecodePng(FilesOf(folder / run).at("prompt-000-image-00.png")).value().rgb;
  };
  EXPECT_EQ(rgb("base"), rgb("with-zeros"));
  EXPECT_NE(rgb("base"), rgb("with-ones"));
}

TEST(SampleCommand, ScalesAndAddsAdapters) {
  const TempFolder folder;
  const auto transformer = Transformer::Load(Model() + "/transformer", at::kFloat);
  ASSERT_TRUE(transformer.ok()) << transformer.status();
  const auto layout = (*transformer)->MakeLoraLayout({"attn.to_q", "ff.net.2"}, 4, 8);
  ASSERT_TRUE(layout.ok()) << layout.status();
  const LoraAdapter adapter = LoraAdapter::Initialise(*layout, 3);
  adapter.flat().mul_(0.5).add_(0.05);
  ASSERT_TRUE(WritePeftFolder(adapter, "tiny", folder / "peft").ok());
  ASSERT_TRUE(WriteDiffusersLora(adapter, folder / "lora.safetensors").ok());
  const auto latents = [&](const std::string& adapters) {
    const Outcome outcome = Sample(folder, "out", absl::StrCat(adapters, " --save-latents ", folder / "x0"));
    EXPECT_EQ(outcome.exit_code, 0) << outcome.output;
    return SafetensorsFile::Open(folder / "x0")->tensors().at("latents").clone();
  };
  const std::string peft = absl::StrCat("--adapter ", folder / "peft"), file = folder / "lora.safetensors";
  const at::Tensor base = latents(""), whole = latents(peft);
  const double effect = (whole - base).norm().item<double>();
  EXPECT_GT(effect, 0.1);
  EXPECT_TRUE(latents(peft + " --scale 0").equal(base));
  EXPECT_TRUE(latents(peft + ":0").equal(base));
  const at::Tensor half = latents(peft + ":0.5");
  EXPECT_GT((half - base).norm().item<double>(), 0.1 * effect);
  EXPECT_GT((half - whole).norm().item<double>(), 0.1 * effect);
  // The same adapter in another form, and in two parts.
  EXPECT_LT((latents("--adapter " + file) - whole).norm().item<double>(), 1e-3 * effect);
  EXPECT_LT((latents(absl::StrCat(peft, ":0.25 --scale 0.75 --adapter ", file)) - whole).norm().item<double>(),
            1e-3 * effect);
  EXPECT_THAT(FilesOf(folder / "out").at("prompt-000-image-00.png"),
              HasSubstr(absl::StrCat(folder / "peft", ":0.25\n", file, ":0.75")));
}

TEST(SampleCommand, NamesWhatAnAdapterOfAnotherModelHasTooMuch) {
  const TempFolder folder;
  std::map<std::string, at::Tensor> tensors;
  for (const char* module : {"transformer_blocks.0.attn.to_q", "transformer_blocks.77.attn.to_q"}) {
    tensors[absl::StrCat("transformer.", module, ".lora_A.weight")] = at::ones({2, 128});
    tensors[absl::StrCat("transformer.", module, ".lora_B.weight")] = at::ones({128, 2});
  }
  ASSERT_TRUE(WriteSafetensors(folder / "other.safetensors", tensors).ok());
  const Outcome outcome = Sample(folder, "out", absl::StrCat("--adapter ", folder / "other.safetensors"));
  EXPECT_EQ(outcome.exit_code, 78);
  EXPECT_THAT(outcome.output, HasSubstr("transformer_blocks.77.attn.to_q"));
  EXPECT_THAT(outcome.output, HasSubstr("other.safetensors"));
}

TEST(SampleCommand, TellsAllFaultsOfAFolderBeforeItReadsAnyWeights) {
  const TempFolder folder;
  std::filesystem::copy(Model(), folder / "model", std::filesystem::copy_options::recursive);
  std::filesystem::resize_file(folder / "model/text_encoder/model.safetensors", 1000);
  std::filesystem::resize_file(folder / "model/transformer/diffusion_pytorch_model.safetensors", 5000);
  const std::string draw =
      absl::StrCat("sample --model ", folder / "model", " --height 32 --width 64 --prompt x --out ", folder / "out");
  for (const char* missing : {"", "vae/config.json"}) {
    if (*missing != 0) std::filesystem::remove(folder / absl::StrCat("model/", missing));
    const Outcome outcome = RunFlowawr(folder, draw);
    EXPECT_EQ(outcome.exit_code, 78) << outcome.output;
    for (const char* fault : {"text_encoder: ", "transformer: ", missing})
      EXPECT_THAT(outcome.output, HasSubstr(fault)) << missing;
    EXPECT_FALSE(std::filesystem::exists(folder / "out"));
  }
}

TEST(SampleCommand, SaysInOneLineWhatIsMissingAndExitsAsSysexitsDoes) {
  const TempFolder folder;
  struct Case {
    std::string arguments;
    int exit_code;
    std::string message;
  };
  const Case cases[] = {
      {absl::StrCat("sample --model ", Model()), 64, "--prompt TEXT"},
      {"sample --prompt x", 64, "name a run directory"},
      {absl::StrCat("sample ", folder.path(), " --prompt x"), 66, "is not a run directory"},
      {absl::StrCat("sample --model ", Model(), " --prompt x --prompts ", folder / "none.txt"), 66, "none.txt"},
      {absl::StrCat("sample --model ", Model(), " --prompt x --height 33 --width 64"), 78, "33"},
      {absl::StrCat("sample --model ", Model(), " --prompt x --adapter ", folder / "none"), 66,
       "none: No such file or directory"},
      {"sample --model nowhere --prompt x", 66,
       "nowhere does not exist; a relative path starts at the working directory"},
      {absl::StrCat("sample --model ", folder.path(), " --prompt x"), 66,
       "it has no model_index.json; a relative path"},
      {absl::StrCat("sample --model ", Model(), " --prompt x --negative-prompt y"), 64, "--guidance SCALE above 1"},
      {"sample --prompt x --model m --seed 1 --latents f", 64, "--seed"},
      {absl::StrCat("sample --model ", Model(), " --prompt x --guidance nan"), 64, "not a number from 1 to 100"},
      {absl::StrCat("sample --model ", Model(), " --prompt x --scale nan"), 64, "not a number from -100 to 100"},
      {absl::StrCat("sample --model ", Model(), " --prompt x --adapter a:nan"), 64, "from -100 to 100"},
      {absl::StrCat("sample --model ", Model(), " --prompt x --save-latents ", folder.path()), 64, "name a file"},
      {absl::StrCat("sample --model ", Model(), " --prompt \"$(printf 'a\\377')\""), 64,
       "--prompt \"a\ufffd\" is not UTF-8"},
      // Without quotes.
      {"sample --prompt a sign that says", 64,
       "not expected here: that says\na value with spaces or quotes in it needs quotes around it; probably meant:\n  "
       "flowawr sample --prompt 'a sign that says'\n"},
      {"sample --model m --prompt a sign", 66, "probably meant:\n  flowawr sample --model m --prompt 'a sign'\n"},
      {"sample --guidance 0.5", 64, "--guidance"},
      {"sample --solver heun", 64, "dpm_solver_pp_2m"},
      {"sample --steps 0", 64, "--steps"},
  };
  for (const Case& c : cases) {
    const Outcome outcome = RunFlowawr(folder, c.arguments);
    EXPECT_EQ(outcome.exit_code, c.exit_code) << c.arguments << "\n" << outcome.output;
    EXPECT_THAT(outcome.output, HasSubstr(c.message)) << c.arguments;
  }
}

// By our kernels and, with two threads or in bf16, by LibTorch's operations; with one prompt in a batch and with
// several.
TEST(SampleCommand, GivesTheSameBytesWhateverTheBatch) {
  const TempFolder folder;
  for (const char* how : {"--threads 1", "--threads 2 --guidance 3", "--threads 1 --dtype bfloat16",
                          "--threads 2 --dtype bfloat16 --guidance 3"}) {
    const auto with_batch = [&](int batch) {
      const std::string out = absl::StrCat("batch-", batch);
      const Outcome outcome = Sample(
          folder, out,
          absl::StrCat(how, " --count 3 --batch ", batch, " --save-latents ", folder / out, "/latents.safetensors"));
      EXPECT_EQ(outcome.exit_code, 0) << outcome.output;
      return FilesOf(folder / out);
    };
    const auto expected = with_batch(1);
    EXPECT_EQ(expected.size(), 6u + 2);
    EXPECT_TRUE(with_batch(2) == expected) << how;
    EXPECT_TRUE(with_batch(5) == expected) << how;
  }
}

TEST(SampleCommand, GuidanceLeadsAwayFromTheNegativePrompt) {
  const TempFolder folder;
  const auto rgb = [&](const std::string& how) {
    const Outcome outcome = Sample(folder, "out", how);
    EXPECT_EQ(outcome.exit_code, 0) << outcome.output;
    return DecodePng(FilesOf(folder / "out").at("prompt-000-image-00.png")).value().rgb;
  };
  const std::string plain = rgb(""), guided = rgb("--guidance 3");
  EXPECT_EQ(rgb("--guidance 1"), plain);
  EXPECT_NE(guided, plain);
  EXPECT_EQ(rgb("--guidance 3 --negative-prompt ''"), guided);
  EXPECT_NE(rgb("--guidance 3 --negative-prompt blurry"), guided);
  EXPECT_THAT(FilesOf(folder / "out").at("prompt-000-image-00.png"), HasSubstr("blurry"));
}

TEST(SampleCommand, TakesNoiseFromAFileAndWritesFinalLatents) {
  const TempFolder folder;
  const std::string noise_file = folder / "noise.safetensors";
  const auto draw = [&](const std::string& how) {
    const Outcome outcome =
        RunFlowawr(folder, absl::StrCat("sample --model ", Model(), " --steps 2 ", kPrompts, " --out ", folder / "out",
                                        " --save-latents ", folder / "x0", " ", how));
    EXPECT_EQ(outcome.exit_code, 0) << outcome.output;
    const auto file = SafetensorsFile::Open(folder / "x0");
    EXPECT_TRUE(file.ok()) << file.status();
    return *file;
  };
  const SafetensorsFile by_seed = draw("--seed 9 --height 32 --width 64 --count 2");
  EXPECT_THAT(by_seed.metadata(), ::testing::IsSupersetOf({Pair("seed", "9"), Pair("count", "2"), Pair("steps", "2"),
                                                           Pair("height", "32"), Pair("width", "64")}));
  const at::Tensor expected = by_seed.tensors().at("latents");
  ASSERT_EQ(expected.sizes(), (at::IntArrayRef{4, 8, 8, 16}));

  // The noise of the same seed, as any other program would hand it over: size and count follow from it.
  std::vector<at::Tensor> rows;
  for (const uint64_t prompt : {0, 1})
    for (const uint32_t sample : {0, 1}) rows.push_back(InitialNoise(9, prompt, sample, {8, 8, 16}));
  ASSERT_TRUE(WriteSafetensors(noise_file, {{"any name", at::stack(rows)}}).ok());
  const SafetensorsFile by_noise = draw(absl::StrCat("--latents ", noise_file));
  EXPECT_TRUE(by_noise.tensors().at("latents").equal(expected));
  EXPECT_THAT(by_noise.metadata(), ::testing::Contains(Pair("initial latents", noise_file)));
  EXPECT_EQ(by_noise.metadata().count("seed"), 0u);
  // Two rows that both prompts share, here as doubles beside another tensor.
  const at::Tensor shared = at::stack({rows[0], rows[1]}).to(at::kDouble);
  ASSERT_TRUE(WriteSafetensors(noise_file, {{"latents", shared}, {"other", shared[0]}}).ok());
  const at::Tensor of_shared = draw(absl::StrCat("--count 2 --latents ", noise_file)).tensors().at("latents");
  EXPECT_TRUE(of_shared.narrow(0, 0, 2).equal(expected.narrow(0, 0, 2)));
  EXPECT_FALSE(of_shared.narrow(0, 2, 2).equal(expected.narrow(0, 2, 2)));
}

TEST(SampleCommand, SaysWhatIsWrongWithTheNoise) {
  const TempFolder folder;
  const at::Tensor noise = at::ones({3, 8, 8, 16});
  struct Case {
    std::map<std::string, at::Tensor> tensors;
    std::string arguments, message;
  };
  const Case cases[] = {
      {{{"a", noise}, {"b", noise}}, "", "holds 2 tensors, none of them named \"latents\""},
      {{{"a", noise[0]}}, "", "\"a\" is Float [8,8,16], expected floats [images, channels, height, width]"},
      {{{"a", noise.to(at::kLong)}}, "", "expected floats"},
      {{{"a", noise / 0}}, "", "not finite"},
      {{{"a", noise}}, "", "latents of 3 images for 2 prompts"},
      {{{"a", noise}}, "--count 2", "expected 4 (2 prompts, 2 images each), or 2 that all prompts share"},
      {{{"a", noise}}, "--count 3 --height 64", "latents are 3x8x8x16, a 64x64 image of this model has 8x16x16"},
  };
  for (const Case& c : cases) {
    ASSERT_TRUE(WriteSafetensors(folder / "noise", c.tensors).ok());
    const Outcome outcome =
        RunFlowawr(folder, absl::StrCat("sample --model ", Model(), " ", kPrompts, " --out ", folder / "out",
                                        " --latents ", folder / "noise ", c.arguments));
    EXPECT_EQ(outcome.exit_code, 78);
    EXPECT_THAT(outcome.output, HasSubstr(c.message));
  }
}

TEST(SampleCommand, WarnsOnceOfAPromptThatIsTooLong) {
  const TempFolder folder;
  const std::string text = "a sign that says more than the model can read";
  const Outcome outcome =
      RunFlowawr(folder, absl::StrCat("sample --model ", Model(), " --height 32 --width 64 --steps 1 ",
                                      "--max-sequence-length 512 --count 2 --prompt '", text, "' --prompt '", text,
                                      "' --out ", folder / "out"));
  EXPECT_EQ(outcome.exit_code, 0) << outcome.output;
  EXPECT_THAT(outcome.output, HasSubstr("warning: CLIP reads 12 tokens of a prompt, not this end of it: \""));
  EXPECT_THAT(outcome.output, HasSubstr("the model can read\"\n"));
  EXPECT_EQ(outcome.output.find("warning"), outcome.output.rfind("warning"));
}

TEST(SampleCommand, KeepsWhatIsDoneOnCtrlC) {
  const TempFolder folder;
  const std::string out = folder / "out";
  Command command(folder, {"sample", "--model", Model(), "--height",       "32",         "--width",  "64", "--steps",
                           "50",     "--count", "1000",  "--batch",        "2",          "--prompt", "x",  "--threads",
                           "1",      "--out",   out,     "--save-latents", folder / "x0"});
  ASSERT_TRUE(command.ReadUntil("images 5-6 of 1000")) << command.output();
  command.Signal(SIGINT);
  EXPECT_EQ(command.AwaitEnd(), "exit status 130");
  size_t images = 0;
  for (const auto& [name, bytes] : FilesOf(out)) {
    EXPECT_TRUE(DecodePng(bytes).ok()) << name;
    images += name == "grid.png" ? 0 : 1;
  }
  EXPECT_GE(images, 4u);
  EXPECT_LT(images, 1000u);
  EXPECT_TRUE(std::filesystem::exists(out + "/grid.png"));
  EXPECT_THAT(command.output(), HasSubstr(absl::StrCat("stopped: ", images, " of 1000 images are in ", out)));
  const auto latents = SafetensorsFile::Open(folder / "x0");
  ASSERT_TRUE(latents.ok()) << latents.status();
  EXPECT_EQ(latents->tensors().at("latents").size(0), static_cast<int64_t>(images));
}

TEST(SampleCommand, RefusesASizeBeforeItLoadsAnyWeight) {
  const TempFolder folder;
  const std::string model = folder / "model";
  for (const char* file : {"model_index.json", "transformer/config.json", "vae/config.json"}) {
    std::filesystem::create_directories(std::filesystem::path(model + "/" + file).parent_path());
    std::filesystem::copy_file(Model() + "/" + file, model + "/" + file);
  }
  const std::string draw = absl::StrCat("sample --prompt x --out ", folder / "out", " --model ", model);
  const Outcome refused = RunFlowawr(folder, draw + " --height 60 --width 1024");
  EXPECT_EQ(refused.exit_code, 78);
  EXPECT_THAT(refused.output, HasSubstr("each side must be a multiple of 8 up to 128, like 56x128 or 64x128"));
  EXPECT_THAT(RunFlowawr(folder, draw + " --height 64").output, Not(HasSubstr("multiple")));
}

TEST(DescribeStep, TellsImagesStepsAndTimeLeft) {
  EXPECT_EQ(DescribeStep({8, 0, 1, 0, 40}, absl::Seconds(3)), "image 1 of 8, step 1 of 40");
  EXPECT_EQ(DescribeStep({8, 2, 2, 10, 40}, absl::Seconds(100)),
            "images 3-4 of 8, step 11 of 40, about 3:40 left");  // 100 of 320 image steps took 100 s
  EXPECT_EQ(DescribeStep({2, 1, 1, 40, 40}, absl::Seconds(100)), "image 2 of 2, decoding, about 0:00 left");
}

TEST(BatchForSize, HoldsOneMegapixel) {
  EXPECT_EQ(BatchForSize(1024, 1024, false), 1);
  EXPECT_EQ(BatchForSize(1024, 1024, true), 1);
  EXPECT_EQ(BatchForSize(512, 512, false), 4);
  EXPECT_EQ(BatchForSize(512, 512, true), 2);
  EXPECT_EQ(BatchForSize(2048, 1024, false), 1);
  EXPECT_EQ(BatchForSize(32, 64, false), 64);
}

TEST(ImageMetadata, TellsAllThatMadeThePicture) {
  SampleRequest request;
  request.prompts = {"a", "b"};
  request.seed = 5;
  request.steps = 12;
  request.solver = v1::DPM_SOLVER_PP_2M;
  request.height = 512;
  request.width = 768;
  const auto metadata =
      ImageMetadata(request, {.model = "model", .dtype = "bfloat16", .max_sequence_length = 12}, 1, 3);
  EXPECT_THAT(metadata, ::testing::IsSupersetOf({Pair("prompt", "b"), Pair("prompt index", "1"), Pair("sample", "3"),
                                                 Pair("seed", "5"), Pair("steps", "12"), Pair("adapter", "none"),
                                                 Pair("solver", "dpm_solver_pp_2m"), Pair("model", "model"),
                                                 Pair("height", "512"), Pair("width", "768"), Pair("dtype", "bfloat16"),
                                                 Pair("guidance", "1")}));
  EXPECT_EQ(metadata.count("negative prompt"), 0u);
  request.guidance = 4.5;
  request.negative_prompt = "blurry";
  EXPECT_THAT(ImageMetadata(request, {.adapters = {{"folder", 1}, {"file", 0.5}}}, 0, 0),
              ::testing::IsSupersetOf(
                  {Pair("adapter", "folder\nfile:0.5"), Pair("guidance", "4.5"), Pair("negative prompt", "blurry")}));
}

TEST(ImagesMetadata, ListsThePromptsOfTheImagesThatAreThere) {
  SampleRequest request;
  request.prompts = {"a", "\"b\"", "c"};
  request.count = 2;
  for (const auto& [images, prompts] :
       {std::pair<size_t, const char*>{6, R"(["a","\"b\"","c"])"}, {3, R"(["a","\"b\""])"}, {0, "[]"}}) {
    EXPECT_THAT(ImagesMetadata(request, {}, images),
                ::testing::IsSupersetOf({Pair("prompts", prompts), Pair("count", "2"), Pair("seed", "1")}));
  }
}

TEST(ImageCaption, TellsImagesOfOnePromptApart) {
  SampleRequest request;
  request.prompts = {"a", "b"};
  request.seed = 5;
  EXPECT_EQ(ImageCaption(request, 1, 0).text, "b");
  EXPECT_EQ(ImageCaption(request, 1, 0).note, "");
  request.count = 3;
  EXPECT_EQ(ImageCaption(request, 0, 2).note, "image 2, seed 5");
  request.noise = at::ones({3, 8, 8, 16});
  EXPECT_EQ(ImageCaption(request, 0, 2).note, "image 2");
}

}  // namespace
}  // namespace flowawr
