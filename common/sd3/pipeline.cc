#include "common/sd3/pipeline.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/status.h"
#include "common/sd3/component_loader.h"

namespace flowawr {

absl::StatusOr<std::unique_ptr<Pipeline>> Pipeline::Load(const std::string& folder, const Options& options) {
  return LoadParts(folder, options, /*has_text_encoders=*/true);
}

absl::StatusOr<std::unique_ptr<Pipeline>> Pipeline::LoadImageSide(const std::string& folder, const Options& options) {
  return LoadParts(folder, options, /*has_text_encoders=*/false);
}

absl::StatusOr<std::unique_ptr<Pipeline>> Pipeline::LoadParts(const std::string& folder, const Options& options,
                                                              bool has_text_encoders) {
  FLOWAWR_RETURN_IF_ERROR(options.Check());
  FLOWAWR_ASSIGN_OR_RETURN(ComponentLoader loader, ComponentLoader::Open(folder, options.progress));
  auto pipeline = std::make_unique<Pipeline>();
  if (has_text_encoders) {
    std::unique_ptr<TextEncoders> text = TextEncoders::LoadSmallFiles(options, loader);
    text->LoadWeights(loader);
    pipeline->text_encoders_ = std::move(text);
  }
  loader.Add("transformer", pipeline->transformer_,
             [&](const std::string& path, ReadProgress progress) {
               return Transformer::Load(path, options.placement, std::move(progress));
             });
  loader.Add("vae", pipeline->vae_, [&](const std::string& path, ReadProgress progress) {
    return Vae::Load(path, options.placement, std::move(progress));
  });
  loader.Add("scheduler", pipeline->scheduler_,
             [](const std::string& path, const ReadProgress&) { return SchedulerConfig::Load(path); });
  if (pipeline->transformer_ != nullptr && pipeline->vae_ != nullptr) {
    const TransformerConfig& transformer = pipeline->transformer_->config();
    const int64_t channels = pipeline->vae_->config().latent_channels;
    loader.Require(channels == transformer.in_channels && transformer.in_channels == transformer.out_channels,
                   absl::StrCat("the VAE has ", channels, " latent channels, the transformer takes ",
                                transformer.in_channels, " and gives ", transformer.out_channels));
  }
  FLOWAWR_RETURN_IF_ERROR(loader.Finish());
  return pipeline;
}

absl::StatusOr<PromptEmbeds> Pipeline::EncodePrompts(const std::vector<std::string>& prompts) const {
  if (text_encoders_ == nullptr)
    return absl::FailedPreconditionError("this pipeline was loaded without its text encoders");
  return text_encoders_->EncodePrompts(prompts);
}

}  // namespace flowawr
