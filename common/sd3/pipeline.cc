#include "common/sd3/pipeline.h"

#include <torch/types.h>

#include <filesystem>
#include <nlohmann/json.hpp>
#include <system_error>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "common/base/status.h"
#include "common/sd3/model_folder.h"
#include "common/tensor/strict_json.h"

namespace flowawr {

// Loads components one by one and collects what went wrong.
class Pipeline::Loader {
 public:
  Loader(std::string folder, nlohmann::json index, ComponentProgress progress)
      : folder_(std::move(folder)), index_(std::move(index)), progress_(std::move(progress)) {}

  // The component is named with a class that is not null.
  bool Has(const char* component) const {
    const auto found = index_.find(component);
    return found != index_.end() && found->is_array() && found->size() == 2 && (*found)[1].is_string();
  }

  // Checks the class that model_index.json names and loads the folder of the component into `target`.
  template <typename Target, typename Load>
  void Add(const char* component, const char* class_name, Target& target, Load&& load) {
    if (!Has(component)) {
      Complain(absl::StrCat("model_index.json: ", component, " is missing"));
      return;
    }
    const std::string named = index_[component][1].get<std::string>();
    if (absl::StripSuffix(named, "Fast") != class_name) {
      Complain(absl::StrCat("model_index.json: ", component, " is a ", named, ", expected ", class_name));
      return;
    }
    const std::string path = absl::StrCat(folder_, "/", component);
    std::error_code ignored;
    if (!std::filesystem::is_directory(path, ignored)) {
      Complain(
          absl::StrCat(component, ": ", path, " is not a folder; fetch it",
                       component == std::string("text_encoder_3")
                           ? ", or set text_encoder_3 and tokenizer_3 to [null, null] in model_index.json to do without"
                           : ""));
      return;
    }
    ReadProgress progress;
    if (progress_) progress = [&](int64_t bytes, int64_t total) { progress_(component, bytes, total); };
    auto loaded = load(path, std::move(progress));
    if (loaded.ok()) {
      target = *std::move(loaded);
    } else {
      Complain(absl::StrCat(component, ": ", loaded.status().message()));
    }
  }

  void Complain(std::string complaint) { complaints_.push_back(std::move(complaint)); }

  absl::Status Finish() const {
    return AllComplaints(absl::StrCat(folder_, " is not a usable Stable Diffusion 3 pipeline"), complaints_);
  }

 private:
  const std::string folder_;
  const nlohmann::json index_;
  const ComponentProgress progress_;
  std::vector<std::string> complaints_;
};

absl::StatusOr<std::unique_ptr<Pipeline>> Pipeline::Load(const std::string& folder, Options options) {
  if (options.max_sequence_length < 1 || options.max_sequence_length > 512)
    return absl::InvalidArgumentError(
        absl::StrCat("max_sequence_length ", options.max_sequence_length, "; expected 1 to 512"));
  FLOWAWR_RETURN_IF_ERROR(CheckModelFolder(folder));
  FLOWAWR_ASSIGN_OR_RETURN(nlohmann::json index, ReadStrictJson(absl::StrCat(folder, "/model_index.json")));
  if (!index.is_object() || index.value("_class_name", nlohmann::json()) != "StableDiffusion3Pipeline")
    return absl::InvalidArgumentError(
        absl::StrCat(folder, "/model_index.json: _class_name must be StableDiffusion3Pipeline"));

  Loader loader(folder, std::move(index), options.progress);
  auto pipeline = std::make_unique<Pipeline>();
  pipeline->options_ = options;
  auto clip = [&](const std::string& path, ReadProgress progress) {
    return ClipTextEncoder::Load(path, options.dtype, std::move(progress));
  };
  auto t5 = [&](const std::string& path, ReadProgress progress) {
    return T5Encoder::Load(path, options.dtype, std::move(progress));
  };
  auto transformer = [&](const std::string& path, ReadProgress progress) {
    return Transformer::Load(path, options.dtype, std::move(progress));
  };
  auto vae = [&](const std::string& path, ReadProgress progress) {
    return Vae::Load(path, options.dtype, std::move(progress));
  };
  auto tokenizer = [](const std::string& path, const ReadProgress&) { return Tokenizer::Load(path); };
  auto scheduler = [](const std::string& path, const ReadProgress&) { return SchedulerConfig::Load(path); };
  loader.Add("tokenizer", "CLIPTokenizer", pipeline->clip_[0].tokenizer, tokenizer);
  loader.Add("tokenizer_2", "CLIPTokenizer", pipeline->clip_[1].tokenizer, tokenizer);
  loader.Add("text_encoder", "CLIPTextModelWithProjection", pipeline->clip_[0].encoder, clip);
  loader.Add("text_encoder_2", "CLIPTextModelWithProjection", pipeline->clip_[1].encoder, clip);
  if (loader.Has("text_encoder_3")) {
    loader.Add("tokenizer_3", "T5Tokenizer", pipeline->t5_tokenizer_, tokenizer);
    loader.Add("text_encoder_3", "T5EncoderModel", pipeline->t5_encoder_, t5);
  }
  loader.Add("transformer", "SD3Transformer2DModel", pipeline->transformer_, transformer);
  loader.Add("vae", "AutoencoderKL", pipeline->vae_, vae);
  loader.Add("scheduler", "FlowMatchEulerDiscreteScheduler", pipeline->scheduler_, scheduler);
  FLOWAWR_RETURN_IF_ERROR(loader.Finish());
  for (std::string& disagreement : pipeline->Disagreements()) loader.Complain(std::move(disagreement));
  FLOWAWR_RETURN_IF_ERROR(loader.Finish());
  return pipeline;
}

std::vector<std::string> Pipeline::Disagreements() const {
  std::vector<std::string> lines;
  auto require = [&](bool holds, std::string line) {
    if (!holds) lines.push_back(std::move(line));
  };
  const TransformerConfig& transformer = transformer_->config();
  const int clip_length = clip_[0].tokenizer->model_max_length();
  int64_t clip_width = 0, pooled_width = 0;
  for (int i = 0; i < 2; ++i) {
    const ClipTextConfig& clip = clip_[i].encoder->config();
    const std::string suffix = i == 0 ? "" : "_2";
    clip_width += clip.hidden_size;
    pooled_width += clip.projection_dim;
    require(clip_length >= 2 && clip_length <= clip.max_position_embeddings,
            absl::StrCat("tokenizer: model_max_length ", clip_length, ", but text_encoder", suffix, " has ",
                         clip.max_position_embeddings, " positions"));
    require(clip_[i].tokenizer->vocabulary_size() <= clip.vocab_size,
            absl::StrCat("tokenizer", suffix, " has ", clip_[i].tokenizer->vocabulary_size(), " tokens, text_encoder",
                         suffix, " embeds ", clip.vocab_size));
  }
  require(pooled_width == transformer.pooled_projection_dim,
          absl::StrCat("the two CLIP projections give ", pooled_width,
                       " values, the transformer's pooled_projection_dim is ", transformer.pooled_projection_dim));
  require(clip_width <= transformer.joint_attention_dim,
          absl::StrCat("the two CLIP encoders give ", clip_width,
                       " values a token, more than the transformer's joint_attention_dim ",
                       transformer.joint_attention_dim));
  if (t5_encoder_ != nullptr) {
    const T5Config& t5 = t5_encoder_->config();
    require(t5.d_model == transformer.joint_attention_dim,
            absl::StrCat("text_encoder_3: d_model ", t5.d_model, ", but the transformer's joint_attention_dim is ",
                         transformer.joint_attention_dim));
    require(t5_tokenizer_->vocabulary_size() <= t5.vocab_size,
            absl::StrCat("tokenizer_3 has ", t5_tokenizer_->vocabulary_size(), " tokens, text_encoder_3 embeds ",
                         t5.vocab_size));
  }
  require(
      vae_->config().latent_channels == transformer.in_channels && transformer.in_channels == transformer.out_channels,
      absl::StrCat("the VAE has ", vae_->config().latent_channels, " latent channels, the transformer takes ",
                   transformer.in_channels, " and gives ", transformer.out_channels));
  return lines;
}

absl::StatusOr<at::Tensor> Pipeline::Tokenize(const Tokenizer& tokenizer, const std::vector<std::string>& prompts,
                                              int length) const {
  at::Tensor ids = at::empty({static_cast<int64_t>(prompts.size()), length}, at::kLong);
  for (size_t i = 0; i < prompts.size(); ++i) {
    const absl::StatusOr<std::vector<int64_t>> row = tokenizer.Encode(prompts[i], length);
    if (!row.ok()) return Annotate(row.status(), absl::StrCat("prompt ", i));
    std::copy(row->begin(), row->end(), ids.data_ptr<int64_t>() + i * length);
  }
  return ids;
}

absl::StatusOr<PromptEmbeds> Pipeline::EncodePrompts(const std::vector<std::string>& prompts) const {
  if (prompts.empty()) return absl::InvalidArgumentError("no prompts to encode");
  const at::NoGradGuard no_grad;
  // Both CLIP encoders take the length of the first tokenizer, as in diffusers.
  const int clip_length = clip_[0].tokenizer->model_max_length();
  std::vector<at::Tensor> hidden, pooled;
  for (const ClipPart& part : clip_) {
    FLOWAWR_ASSIGN_OR_RETURN(const at::Tensor ids, Tokenize(*part.tokenizer, prompts, clip_length));
    ClipTextEncoder::Output output = part.encoder->Forward(ids);
    hidden.push_back(std::move(output.hidden));
    pooled.push_back(std::move(output.pooled));
  }
  const int64_t width = transformer_->config().joint_attention_dim;
  at::Tensor clip = at::cat(hidden, -1);
  clip = at::constant_pad_nd(clip, {0, width - clip.size(-1)});
  at::Tensor t5;
  if (t5_encoder_ != nullptr) {
    FLOWAWR_ASSIGN_OR_RETURN(const at::Tensor ids, Tokenize(*t5_tokenizer_, prompts, options_.max_sequence_length));
    t5 = t5_encoder_->Forward(ids);
  } else {
    t5 = at::zeros({clip.size(0), options_.max_sequence_length, width}, clip.options());
  }
  return PromptEmbeds{at::cat({clip, t5}, -2), at::cat(pooled, -1)};
}

}  // namespace flowawr
