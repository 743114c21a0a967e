#include "common/clip/shared_clip.h"

#include <gmock/gmock.h>
#include <torch/types.h>

#include <filesystem>
#include <thread>

#include "tests/testing/python.h"
#include "tests/testing/temp_folder.h"

namespace flowawr {
namespace {

class SharedClipTest : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    folder_ = new TempFolder;
    ASSERT_TRUE(RunPython("tests/common/clip/make_clip.py", {*folder_ / "model"}));
  }
  static void TearDownTestSuite() { delete folder_; }

  static std::shared_ptr<SharedClip> Open(const std::string& folder, at::ScalarType dtype = at::kFloat) {
    auto clip = SharedClip::Open(folder, dtype);
    EXPECT_TRUE(clip.ok()) << clip.status();
    return clip.value_or(nullptr);
  }
  static std::string Model() { return *folder_ / "model"; }

  static TempFolder* folder_;
};
TempFolder* SharedClipTest::folder_ = nullptr;

TEST_F(SharedClipTest, OneModelForAFolderHoweverItIsWritten) {
  const auto clip = Open(Model());
  EXPECT_EQ(Open(*folder_ / "./model/"), clip);
  std::filesystem::create_directory_symlink("model", *folder_ / "link");
  EXPECT_EQ(Open(*folder_ / "link"), clip);
  EXPECT_NE(Open(Model(), at::kBFloat16), clip);
}

TEST_F(SharedClipTest, ThreadsThatAskAtOnceGetOneModel) {
  std::vector<std::shared_ptr<SharedClip>> clips(8);
  std::vector<std::thread> threads;
  for (auto& clip : clips) threads.emplace_back([&clip] { clip = Open(Model()); });
  for (std::thread& thread : threads) thread.join();
  for (const auto& clip : clips) EXPECT_EQ(clip, clips[0]);
}

TEST_F(SharedClipTest, IsFreedWithItsLastUser) {
  std::weak_ptr<SharedClip> last;
  {
    const auto first = Open(Model());
    const auto second = Open(Model());
    last = second;
  }
  EXPECT_TRUE(last.expired());
  EXPECT_NE(Open(Model()), nullptr);
}

TEST_F(SharedClipTest, AFolderWhoseFilesChangedIsAnotherModel) {
  const std::string copy = *folder_ / "copy";
  std::filesystem::copy(Model(), copy);
  const auto before = Open(copy);
  const std::string weights = copy + "/model.safetensors";
  std::filesystem::last_write_time(weights, std::filesystem::last_write_time(weights) + std::chrono::seconds(1));
  EXPECT_NE(Open(copy), before);
}

TEST_F(SharedClipTest, EmbedsTheSamePictureAndTextOnce) {
  const auto clip = Open(Model());
  const std::vector<at::Tensor> pixels = {at::randn({3, 56, 56}), at::randn({3, 56, 56})};
  const std::vector<at::Tensor> again = {pixels[1].clone(), pixels[0].clone(), pixels[1].clone()};
  const std::vector<std::string> texts = {"a cat", "a dog"};
  const at::Tensor first = *clip->ImageEmbeds(pixels);
  const at::Tensor second = *clip->ImageEmbeds(again);
  EXPECT_EQ(clip->images_embedded(), 2);
  EXPECT_TRUE(at::equal(first, clip->model().ImageEmbeds(pixels)));
  EXPECT_TRUE(at::equal(second, first.index_select(0, at::tensor({1, 0, 1}))));
  EXPECT_TRUE(at::equal(*clip->TextEmbeds(texts), *clip->model().TextEmbeds(texts)));
  ASSERT_TRUE(clip->TextEmbeds({texts[1]}).ok());
  EXPECT_EQ(clip->texts_embedded(), 2);
}

TEST_F(SharedClipTest, RemembersWhatOtherBatchesMadeApart) {
  const auto clip = Open(Model());
  const std::vector<at::Tensor> pixels = {at::randn({3, 56, 56})};
  for (int i = 0; i < 2; ++i) {
    for (const int batch : {1, 4}) {
      ASSERT_TRUE(clip->ImageEmbeds(pixels, kToTheEnd, batch).ok());
      ASSERT_TRUE(clip->TextEmbeds({"a cat"}, kToTheEnd, batch).ok());
    }
  }
  EXPECT_EQ(clip->images_embedded(), 2);
  EXPECT_EQ(clip->texts_embedded(), 2);
}

TEST_F(SharedClipTest, AModelThatCannotBeLoadedIsNotRemembered) {
  const std::string late = *folder_ / "late";
  EXPECT_TRUE(absl::IsNotFound(SharedClip::Open(late, at::kFloat).status()));
  std::filesystem::copy(Model(), late);
  EXPECT_NE(Open(late), nullptr);
}

}  // namespace
}  // namespace flowawr
