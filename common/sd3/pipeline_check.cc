#include "common/sd3/pipeline_check.h"

#include "absl/status/statusor.h"
#include "common/base/status.h"
#include "common/sd3/component_loader.h"
#include "common/tensor/checkpoint.h"
#include "common/tensor/strict_json.h"

namespace flowawr {

absl::Status CheckPipelineFiles(const std::string& folder, bool has_text_encoders) {
  FLOWAWR_ASSIGN_OR_RETURN(ComponentLoader loader, ComponentLoader::Open(folder, /*progress=*/nullptr));
  const auto check = [&](const std::string& component, const char* stem) {
    nlohmann::json config;
    loader.Add(component, config,
               [](const std::string& path, const ReadProgress&) { return ReadStrictJson(path + "/config.json"); });
    CheckpointTensors weights;
    loader.Add(component, weights,
               [stem](const std::string& path, const ReadProgress&) { return OpenCheckpoint(path, stem); });
  };
  if (has_text_encoders) {
    for (const char* clip : {"text_encoder", "text_encoder_2"}) check(clip, "model");
    if (loader.Has("text_encoder_3")) check("text_encoder_3", "model");
  }
  check("transformer", "diffusion_pytorch_model");
  check("vae", "diffusion_pytorch_model");
  return loader.Finish();
}

}  // namespace flowawr
