// Parity at the published sizes, on random weights; labelled `slow`. Python runs first and ends, then we: one side at a
// time holds a model.
#include <ATen/Parallel.h>
#include <gtest/gtest.h>
#include <torch/types.h>

#include <nlohmann/json.hpp>

#include "common/base/file.h"
#include "common/clip/clip_model.h"
#include "common/tensor/safetensors.h"
#include "tests/testing/parity.h"
#include "tests/testing/python.h"
#include "tests/testing/temp_folder.h"
#include "tests/testing/tensor_error.h"

namespace flowawr {
namespace {

void ExpectParityAtSize(const std::string& size, const std::string& layout, const std::string& reference) {
  const TempFolder temp;
  const std::string folder = temp / "model";
  ASSERT_TRUE(RunPython("tests/common/clip/full_size_reference.py", {size, layout, folder}));
  const auto file = SafetensorsFile::Open(folder + "/expected/expected.safetensors");
  ASSERT_TRUE(file.ok()) << file.status();
  const auto& expected = file->tensors();
  const std::vector<std::string> texts = nlohmann::json::parse(*ReadFile(folder + "/expected/texts.json"));
  const std::vector<at::Tensor> pixels = expected.at("pixels").unbind();
  at::set_num_threads(2);
  for (const at::ScalarType dtype : {at::kFloat, at::kBFloat16}) {
    const auto model = ClipModel::Load(folder, dtype);
    ASSERT_TRUE(model.ok()) << model.status();
    const std::map<std::string, at::Tensor> ours = {{"image_embeds", (*model)->ImageEmbeds(pixels)},
                                                    {"text_embeds", *(*model)->TextEmbeds(texts)}};
    for (const auto& [name, embeds] : ours) {
      const bool is_exact = dtype == at::kFloat;
      const ParityCheck check{"CLIP " + name + (is_exact ? ", f32" : ", bf16"), size + ", random weights", reference,
                              /*is_slow=*/true};
      const double error = RelativeError(embeds, expected.at(name));
      if (is_exact) {
        ExpectAtMost(check, layout, "relative error", error, 1e-4);
      } else {
        ExpectNoFurther(check, layout, error, RelativeError(expected.at(name + "_bf16"), expected.at(name)));
      }
    }
  }
}

TEST(ClipFullSizeTest, ViTL14OfTransformers) { ExpectParityAtSize("vit-l-14", "hf", "transformers CLIPModel"); }

TEST(ClipFullSizeTest, ViTH14OfTransformers) { ExpectParityAtSize("vit-h-14", "hf", "transformers CLIPModel"); }

TEST(ClipFullSizeTest, ViTH14OfOpenClip) {
  ExpectParityAtSize("vit-h-14", "open_clip", "OpenCLIP's layers in torch (nn.MultiheadAttention)");
}

}  // namespace
}  // namespace flowawr
