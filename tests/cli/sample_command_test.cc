// `flowawr sample` as people run it: a process, and files in a folder.
#include <sys/wait.h>

#include <cstdlib>
#include <filesystem>
#include <map>
#include <optional>
#include <set>
#include <string>

#include "absl/strings/str_cat.h"
#include "cli/sample_images.h"
#include "common/base/file.h"
#include "common/nn/lora_files.h"
#include "common/sd3/transformer.h"
#include "common/tensor/image.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/testing/python.h"
#include "tests/testing/temp_folder.h"

namespace flowawr {
namespace {

using ::testing::HasSubstr;
using ::testing::Pair;

constexpr char kPrompts[] = R"(--prompt 'a sign that says "CAT"' --prompt 'a sign that says "DOG"')";

std::string Model() { return SourceFolder() + "/models/tiny-sd3"; }

struct Outcome {
  int exit_code = -1;
  std::string output;  // stdout and stderr
};

Outcome Flowawr(const TempFolder& folder, const std::string& arguments) {
  const std::string log = folder / "log";
  const std::string command = absl::StrCat("OMP_NUM_THREADS=1 '", std::getenv("FLOWAWR_BUILD_DIR"), "/bin/flowawr' ",
                                           arguments, " >", log, " 2>&1");
  const int status = std::system(command.c_str());
  return {WIFEXITED(status) ? WEXITSTATUS(status) : -1, ReadFile(log).value_or("")};
}

Outcome Sample(const TempFolder& folder, const std::string& out, const std::string& more) {
  return Flowawr(folder, absl::StrCat("sample --model ", Model(), " --height 32 --width 64 --steps 2 ", kPrompts,
                                      " --out ", folder / out, " ", more));
}

// By name; grid.png too.
std::map<std::string, std::string> FilesOf(const std::string& folder) {
  std::map<std::string, std::string> files;
  for (const auto& entry : std::filesystem::directory_iterator(folder))
    files[entry.path().filename().string()] = ReadFile(entry.path().string()).value();
  return files;
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

TEST(SampleCommand, SaysInOneLineWhatIsMissingAndExitsAsSysexitsDoes) {
  const TempFolder folder;
  struct Case {
    std::string arguments;
    int exit_code;
    std::string message;
  };
  const Case cases[] = {
      {absl::StrCat("sample --model ", Model()), 78, "--prompt TEXT"},
      {"sample --prompt x", 78, "name a run directory"},
      {absl::StrCat("sample ", folder.path(), " --prompt x"), 66, "is not a run directory"},
      {absl::StrCat("sample --model ", Model(), " --prompt x --prompts ", folder / "none.txt"), 66, "none.txt"},
      {absl::StrCat("sample --model ", Model(), " --prompt x --height 33 --width 64"), 78, "33"},
      {absl::StrCat("sample --model ", Model(), " --prompt x --adapter ", folder / "none"), 66,
       "none/adapter_config.json: No such file or directory; an adapter is a folder with"},
      {"sample --model nowhere --prompt x", 66,
       "nowhere does not exist; a relative path starts at the working directory"},
      {absl::StrCat("sample --model ", folder.path(), " --prompt x"), 66,
       "it has no model_index.json; a relative path"},
      {"sample --solver heun", 64, "dpm_solver_pp_2m"},
      {"sample --steps 0", 64, "--steps"},
  };
  for (const Case& c : cases) {
    const Outcome outcome = Flowawr(folder, c.arguments);
    EXPECT_EQ(outcome.exit_code, c.exit_code) << c.arguments << "\n" << outcome.output;
    EXPECT_THAT(outcome.output, HasSubstr(c.message)) << c.arguments;
  }
}

TEST(SampleMetadata, TellsAllThatMadeThePicture) {
  SampleRequest request;
  request.prompts = {"a", "b"};
  request.seed = 5;
  request.steps = 12;
  request.solver = v1::DPM_SOLVER_PP_2M;
  const auto metadata = SampleMetadata(request, 1, 3, "model", "");
  EXPECT_THAT(metadata, ::testing::IsSupersetOf({Pair("prompt", "b"), Pair("prompt index", "1"), Pair("sample", "3"),
                                                 Pair("seed", "5"), Pair("steps", "12"), Pair("adapter", "none"),
                                                 Pair("solver", "dpm_solver_pp_2m"), Pair("model", "model")}));
  EXPECT_THAT(SampleMetadata(request, 0, 0, "model", "folder"), ::testing::Contains(Pair("adapter", "folder")));
}

TEST(SolverName, IsReadBack) {
  EXPECT_EQ(SolverFromName(SolverName(v1::EULER)), v1::EULER);
  EXPECT_EQ(SolverFromName(SolverName(v1::DPM_SOLVER_PP_2M)), v1::DPM_SOLVER_PP_2M);
  EXPECT_EQ(SolverFromName(""), std::nullopt);
  EXPECT_EQ(SolverFromName("solver_unspecified"), std::nullopt);
}

}  // namespace
}  // namespace flowawr
