#include "common/sd3/latent_shape.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "common/base/file.h"
#include "common/base/status.h"
#include "common/sd3/config_fields.h"
#include "common/sd3/vae_config.h"

namespace flowawr {
namespace {

constexpr size_t kMaxConfigBytes = size_t{1} << 20;

}  // namespace

absl::StatusOr<LatentShape> LatentShapeFor(const TransformerConfig& transformer, int vae_downscale, int height,
                                           int width) {
  const int64_t step = vae_downscale * transformer.patch_size;
  const int64_t largest = step * transformer.pos_embed_max_size;
  const auto fits = [&](int64_t side) { return side > 0 && side % step == 0 && side <= largest; };
  if (fits(height) && fits(width))
    return LatentShape{transformer.in_channels, height / vae_downscale, width / vae_downscale};
  const auto below = [&](int64_t side) { return std::clamp(side / step * step, step, largest); };
  const auto above = [&](int64_t side) { return std::clamp((side + step - 1) / step * step, step, largest); };
  const std::string smaller = absl::StrCat(below(height), "x", below(width));
  const std::string larger = absl::StrCat(above(height), "x", above(width));
  return absl::InvalidArgumentError(absl::StrCat("an image of ", height, "x", width,
                                                 " pixels (height x width): with this model each side must be a ",
                                                 "multiple of ", step, " up to ", largest, ", like ", smaller,
                                                 smaller == larger ? "" : absl::StrCat(" or ", larger)));
}

namespace {

std::string DefaultsFile(const std::string& model_folder) { return model_folder + "/flowawr.json"; }

// Into the fields of `sizes` that the file names. A folder without one says nothing.
absl::Status ReadDefaults(const std::string& path, PictureSizes* sizes) {
  const absl::StatusOr<std::string> json = ReadFile(path, kMaxConfigBytes);
  if (absl::IsNotFound(json.status())) return absl::OkStatus();
  FLOWAWR_RETURN_IF_ERROR(json.status());
  FLOWAWR_ASSIGN_OR_RETURN(ConfigFields fields, ConfigFields::Parse(*json, path));
  sizes->usual_height = static_cast<int>(fields.Int("height", sizes->usual_height));
  sizes->usual_width = static_cast<int>(fields.Int("width", sizes->usual_width));
  sizes->usual_sequence_length = static_cast<int>(fields.Int("max_sequence_length", 0, 1, 512));
  return fields.Finish();
}

absl::Status ReadUsualSize(const std::string& path, PictureSizes* sizes) {
  sizes->usual_height = sizes->usual_width = static_cast<int>(sizes->transformer.sample_size) * sizes->vae_downscale;
  const int by_transformer = sizes->usual_height;
  FLOWAWR_RETURN_IF_ERROR(ReadDefaults(path, sizes));
  if (sizes->usual_height == by_transformer && sizes->usual_width == by_transformer) return absl::OkStatus();
  return Annotate(sizes->LatentShapeFor(sizes->usual_height, sizes->usual_width).status(), path);
}

}  // namespace

absl::StatusOr<PictureSizes> ReadPictureSizes(const std::string& model_folder) {
  const std::string transformer_path = model_folder + "/transformer/config.json";
  const std::string vae_path = model_folder + "/vae/config.json";
  FLOWAWR_ASSIGN_OR_RETURN(const std::string transformer_json, ReadFile(transformer_path, kMaxConfigBytes));
  FLOWAWR_ASSIGN_OR_RETURN(const std::string vae_json, ReadFile(vae_path, kMaxConfigBytes));
  PictureSizes sizes;
  FLOWAWR_ASSIGN_OR_RETURN(sizes.transformer, ParseTransformerConfig(transformer_json, transformer_path));
  FLOWAWR_ASSIGN_OR_RETURN(const VaeConfig vae, ParseVaeConfig(vae_json, vae_path));
  sizes.vae_downscale = vae.downscale();
  FLOWAWR_RETURN_IF_ERROR(ReadUsualSize(DefaultsFile(model_folder), &sizes));
  return sizes;
}

absl::StatusOr<int> ReadSequenceLength(const std::string& model_folder, int otherwise) {
  PictureSizes sizes;
  FLOWAWR_RETURN_IF_ERROR(ReadDefaults(DefaultsFile(model_folder), &sizes));
  return sizes.usual_sequence_length > 0 ? sizes.usual_sequence_length : otherwise;
}

void FillInModelDefaults(const PictureSizes& sizes, v1::ModelConfig* model) {
  if (model->height() == 0) model->set_height(sizes.usual_height);
  if (model->width() == 0) model->set_width(sizes.usual_width);
  if (model->max_sequence_length() == 0)
    model->set_max_sequence_length(sizes.usual_sequence_length > 0 ? sizes.usual_sequence_length
                                                                   : kUsualSequenceLength);
}

absl::Status FillInModelDefaults(v1::ModelConfig* model) {
  if (model->height() != 0 && model->width() != 0 && model->max_sequence_length() != 0) return absl::OkStatus();
  FLOWAWR_ASSIGN_OR_RETURN(const PictureSizes sizes, ReadPictureSizes(model->path()));
  FillInModelDefaults(sizes, model);
  return absl::OkStatus();
}

}  // namespace flowawr
