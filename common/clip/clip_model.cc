#include "common/clip/clip_model.h"

#include <torch/types.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <system_error>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "common/base/file.h"
#include "common/base/status.h"
#include "common/clip/clip_vision_tower.h"
#include "common/clip/clip_weights.h"
#include "common/nn/weight_binder.h"
#include "common/sd3/tokenizer.h"
#include "common/tensor/pinned_memory.h"
#include "common/tensor/transfer.h"
#include "common/tensor/weights_sha256.h"

namespace flowawr {
namespace {

bool IsThere(const std::string& path) {
  std::error_code ignored;  // what cannot be looked at is as good as absent
  return std::filesystem::exists(path, ignored);
}

// Looks like ORGANISATION/MODEL, as the model hubs name them.
bool IsHubId(const std::string& name) {
  const std::vector<std::string> parts = absl::StrSplit(name, '/');
  return parts.size() == 2 && !parts[0].empty() && !parts[1].empty() && parts[0][0] != '.' && parts[0][0] != '~';
}

absl::Status CheckFolder(const std::string& folder) {
  if (IsThere(folder)) return absl::OkStatus();
  const std::string what = IsHubId(folder) ? folder : "ORGANISATION/MODEL";
  const std::string where =
      IsHubId(folder) ? std::string(std::pair<std::string, std::string>(absl::StrSplit(folder, '/')).second) : folder;
  return absl::NotFoundError(absl::StrCat(
      folder, " is not a folder of this machine; fetch the model with: hf download ", what, " --local-dir ", where));
}

// The stem of the weights' files.
absl::StatusOr<std::string> OpenClipStem(const std::string& folder) {
  for (const char* stem : {"open_clip_model", "open_clip_pytorch_model"})
    for (const char* ending : {".safetensors", ".safetensors.index.json"})
      if (IsThere(absl::StrCat(folder, "/", stem, ending))) return stem;
  return absl::NotFoundError(absl::StrCat(
      folder, "/open_clip_model.safetensors is missing; tools/convert_rewards makes it of a .pt or .bin file"));
}

struct Layout {
  ClipConfig config;
  std::string stem;
};

absl::StatusOr<Layout> ReadLayout(const std::string& folder) {
  const std::string hf = folder + "/config.json", open_clip = folder + "/open_clip_config.json";
  const bool has_open_clip = IsThere(open_clip);
  const bool has_hf_weights =
      IsThere(folder + "/model.safetensors") || IsThere(folder + "/model.safetensors.index.json");
  if (IsThere(hf) && (has_hf_weights || !has_open_clip)) {
    FLOWAWR_ASSIGN_OR_RETURN(const std::string json, ReadFile(hf));
    FLOWAWR_ASSIGN_OR_RETURN(ClipConfig config, ParseHfClipConfig(json, hf));
    return Layout{std::move(config), "model"};
  }
  if (!has_open_clip)
    return absl::NotFoundError(
        absl::StrCat(folder, " is no CLIP folder: it has neither config.json nor open_clip_config.json"));
  FLOWAWR_ASSIGN_OR_RETURN(const std::string json, ReadFile(open_clip));
  FLOWAWR_ASSIGN_OR_RETURN(ClipConfig config, ParseOpenClipConfig(json, open_clip));
  FLOWAWR_ASSIGN_OR_RETURN(std::string stem, OpenClipStem(folder));
  return Layout{std::move(config), std::move(stem)};
}

absl::StatusOr<std::unique_ptr<const Tokenizer>> LoadTokenizer(const std::string& folder, const ClipConfig& config) {
  const std::string beside = folder + "/tokenizer";
  if (!IsThere(folder + "/tokenizer_config.json") && !IsThere(beside + "/tokenizer_config.json"))
    return absl::NotFoundError(
        absl::StrCat(folder,
                     " has no tokenizer; copy tokenizer_config.json, vocab.json and merges.txt into it, of "
                     "openai/clip-vit-large-patch14 for published models: all CLIP models share that tokenizer"));
  FLOWAWR_ASSIGN_OR_RETURN(auto tokenizer,
                           Tokenizer::Load(IsThere(folder + "/tokenizer_config.json") ? folder : beside));
  if (tokenizer->vocabulary_size() > config.text.vocab_size)
    return absl::InvalidArgumentError(absl::StrCat(folder, ": the tokenizer has ", tokenizer->vocabulary_size(),
                                                   " ids, the model ", config.text.vocab_size));
  return tokenizer;
}

int64_t PooledToken(const ClipTextConfig& config, const std::vector<int64_t>& ids) {
  const auto found = config.eos_token_id == 2 ? std::max_element(ids.begin(), ids.end())
                                              : std::find(ids.begin(), ids.end(), config.eos_token_id);
  return found == ids.end() ? 0 : found - ids.begin();
}

// As one tensor of so many rows on the device; the last part is repeated for those that are missing. The copy may be
// under way.
at::Tensor Uploaded(std::vector<at::Tensor> parts, int rows, at::Device device) {
  parts.resize(static_cast<size_t>(rows), parts.back());
  if (device.is_cpu()) return at::stack(parts);
  std::vector<int64_t> sizes = parts[0].sizes().vec();
  sizes.insert(sizes.begin(), rows);
  at::Tensor staged = EmptyPinned(sizes, parts[0].scalar_type());
  at::stack_out(staged, parts);
  const at::Tensor uploaded = staged.to(device, /*non_blocking=*/true);
  CountTransfer(staged, uploaded);
  return uploaded;
}

// A row an item, of what `embed` makes of `batch` of them at a time, or of those that are left: it may make more rows
// than it is given items. In f32 on the host: they come down together.
template <typename Item, typename Embed>
absl::StatusOr<at::Tensor> InBatches(absl::Span<const Item> items, int64_t dim, int batch, Embed embed) {
  if (items.empty()) return at::empty({0, dim});
  std::vector<at::Tensor> rows;
  for (size_t begin = 0; begin < items.size(); begin += static_cast<size_t>(batch)) {
    FLOWAWR_ASSIGN_OR_RETURN(rows.emplace_back(), embed(items.subspan(begin, static_cast<size_t>(batch))));
  }
  return MovedTo(at::cat(rows).narrow(0, 0, static_cast<int64_t>(items.size())).to(at::kFloat), at::kCPU);
}

}  // namespace

ClipModel::ClipModel() = default;
ClipModel::~ClipModel() = default;

absl::StatusOr<std::unique_ptr<const ClipModel>> ClipModel::Load(const std::string& folder, Placement placement,
                                                                 ReadProgress progress) {
  FLOWAWR_RETURN_IF_ERROR(CheckFolder(folder));
  FLOWAWR_ASSIGN_OR_RETURN(Layout layout, ReadLayout(folder));
  std::unique_ptr<ClipModel> model(new ClipModel);
  model->config_ = std::move(layout.config);
  model->placement_ = placement;
  FLOWAWR_ASSIGN_OR_RETURN(model->tokenizer_, LoadTokenizer(folder, model->config_));
  FLOWAWR_ASSIGN_OR_RETURN(WeightBinder binder, WeightBinder::Open(folder, layout.stem, placement, std::move(progress)));
  ClipWeights weights = BindClip(model->config_, binder);
  FLOWAWR_RETURN_IF_ERROR(binder.Finish());
  for (const auto& [name, tensor] : binder.tensors())
    model->memory_bytes_ += tensor.numel() * c10::elementSize(placement.dtype);
  model->vision_ = std::make_unique<const ClipVisionTower>(std::move(weights.vision));
  model->text_ = std::make_unique<const ClipTextEncoder>(model->config_.text, std::move(weights.text));
  model->logit_scale_ = std::exp(weights.logit_scale);
  FLOWAWR_ASSIGN_OR_RETURN(model->weights_sha256_, WeightsSha256(folder, layout.stem));
  return model;
}

at::Tensor ClipModel::ImageEmbeds(absl::Span<const at::Tensor> pixels) const { return *ImageEmbeds(pixels, kToTheEnd); }

absl::StatusOr<at::Tensor> ClipModel::ImageEmbeds(absl::Span<const at::Tensor> pixels, KeepGoing keep_going,
                                                  int batch) const {
  const at::NoGradGuard no_grad;
  return InBatches(pixels, config_.projection_dim, batch, [&](absl::Span<const at::Tensor> some) {
    return vision_->Forward(Uploaded({some.begin(), some.end()}, batch, placement_.device), keep_going);
  });
}

absl::StatusOr<at::Tensor> ClipModel::TextEmbeds(absl::Span<const std::string> texts) const {
  return TextEmbeds(texts, kToTheEnd);
}

absl::StatusOr<at::Tensor> ClipModel::TextEmbeds(absl::Span<const std::string> texts, KeepGoing keep_going,
                                                 int batch) const {
  const at::NoGradGuard no_grad;
  const auto embed = [&](absl::Span<const std::string> some) -> absl::StatusOr<at::Tensor> {
    std::vector<at::Tensor> tokens;
    for (const std::string& text : some) {
      FLOWAWR_ASSIGN_OR_RETURN(const std::vector<int64_t> ids,
                               tokenizer_->Encode(text, static_cast<int>(config_.text.max_position_embeddings)));
      // Attention is causal: what stands after the pooled token changes nothing.
      const auto length = batch == 1 ? PooledToken(config_.text, ids) + 1 : static_cast<int64_t>(ids.size());
      tokens.push_back(at::tensor(at::IntArrayRef(ids.data(), length)));
    }
    FLOWAWR_RETURN_IF_ERROR(keep_going());
    return text_->Forward(Uploaded(std::move(tokens), batch, placement_.device)).pooled;
  };
  return InBatches(texts, config_.projection_dim, batch, embed);
}

std::string ClipModel::CutOff(const std::string& text) const {
  return tokenizer_->CutOff(text, static_cast<int>(config_.text.max_position_embeddings));
}

at::Tensor Normalised(const at::Tensor& embeds) {
  return embeds / at::linalg_vector_norm(embeds, 2, {-1}, /*keepdim=*/true);
}

}  // namespace flowawr
