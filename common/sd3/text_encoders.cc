#include "common/sd3/text_encoders.h"

#include <torch/types.h>

#include <algorithm>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/base/file.h"
#include "common/base/status.h"
#include "common/tensor/transfer.h"

namespace flowawr {
namespace {

constexpr const char* kTokenizers[] = {"tokenizer", "tokenizer_2"};
constexpr const char* kClips[] = {"text_encoder", "text_encoder_2"};
constexpr char kT5[] = "text_encoder_3";

// A load function that reads config.json of a component's folder by `parse`.
template <typename Parse>
auto ConfigBy(Parse parse) {
  return [parse](const std::string& path, const ReadProgress&) -> decltype(parse("", "")) {
    const std::string file = absl::StrCat(path, "/config.json");
    FLOWAWR_ASSIGN_OR_RETURN(const std::string json, ReadFile(file));
    return parse(json, file);
  };
}

absl::StatusOr<std::unique_ptr<const Tokenizer>> LoadTokenizer(const std::string& path, const ReadProgress&) {
  return Tokenizer::Load(path);
}

absl::StatusOr<at::Tensor> Tokenize(const Tokenizer& tokenizer, const std::vector<std::string>& prompts, int length) {
  at::Tensor ids = at::empty({static_cast<int64_t>(prompts.size()), length}, at::kLong);
  for (size_t i = 0; i < prompts.size(); ++i) {
    const absl::StatusOr<std::vector<int64_t>> row = tokenizer.Encode(prompts[i], length);
    if (!row.ok()) return Annotate(row.status(), absl::StrCat("prompt ", i));
    std::copy(row->begin(), row->end(), ids.data_ptr<int64_t>() + i * length);
  }
  return ids;
}

// The words that a picture should show are quoted: losing them is losing what the prompt is for.
bool HasQuote(absl::string_view text) {
  return absl::StrContains(text, "\"") || absl::StrContains(text, "\u201C") || absl::StrContains(text, "\u201D");
}

}  // namespace

absl::Status TextEncoders::Options::Check() const {
  if (max_sequence_length >= 1 && max_sequence_length <= 512) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat("max_sequence_length ", max_sequence_length, "; expected 1 to 512"));
}

absl::StatusOr<std::unique_ptr<const TextEncoders>> TextEncoders::Load(const std::string& folder,
                                                                       const Options& options) {
  FLOWAWR_RETURN_IF_ERROR(options.Check());
  FLOWAWR_ASSIGN_OR_RETURN(ComponentLoader loader, ComponentLoader::Open(folder, options.progress));
  std::unique_ptr<TextEncoders> encoders = LoadSmallFiles(options, loader);
  encoders->LoadWeights(loader);
  FLOWAWR_RETURN_IF_ERROR(loader.Finish());
  return encoders;
}

std::unique_ptr<TextEncoders> TextEncoders::LoadSmallFiles(const Options& options, ComponentLoader& loader) {
  auto encoders = std::make_unique<TextEncoders>();
  encoders->options_ = options;
  for (int i = 0; i < 2; ++i) loader.Add(kTokenizers[i], encoders->clip_[i].tokenizer, LoadTokenizer);
  for (int i = 0; i < 2; ++i)
    loader.Add(kClips[i], encoders->clip_[i].config, ConfigBy(ParseClipTextConfig));
  if (loader.Has(kT5)) {
    loader.Add("tokenizer_3", encoders->t5_tokenizer_, LoadTokenizer);
    loader.Add(kT5, encoders->t5_config_, ConfigBy(ParseT5Config));
  }
  std::optional<TransformerConfig> transformer;
  loader.Add("transformer", transformer, ConfigBy(ParseTransformerConfig));
  if (!loader.Finish().ok()) return encoders;
  encoders->width_ = transformer->joint_attention_dim;
  encoders->CheckFit(*transformer, loader);
  return encoders;
}

void TextEncoders::CheckFit(const TransformerConfig& transformer, ComponentLoader& loader) const {
  int64_t clip_width = 0, pooled_width = 0;
  for (int i = 0; i < 2; ++i) {
    const ClipTextConfig& clip = *clip_[i].config;
    clip_width += clip.hidden_size;
    pooled_width += clip.projection_dim;
    loader.Require(clip_length() >= 2 && clip_length() <= clip.max_position_embeddings,
                   absl::StrCat("tokenizer: model_max_length ", clip_length(), ", but ", kClips[i], " has ",
                                clip.max_position_embeddings, " positions"));
    loader.Require(clip_[i].tokenizer->vocabulary_size() <= clip.vocab_size,
                   absl::StrCat(kTokenizers[i], " has ", clip_[i].tokenizer->vocabulary_size(), " tokens, ", kClips[i],
                                " embeds ", clip.vocab_size));
  }
  loader.Require(
      pooled_width == transformer.pooled_projection_dim,
      absl::StrCat("the two CLIP projections give ", pooled_width,
                   " values, the transformer's pooled_projection_dim is ", transformer.pooled_projection_dim));
  loader.Require(clip_width <= transformer.joint_attention_dim,
                 absl::StrCat("the two CLIP encoders give ", clip_width,
                              " values a token, more than the transformer's joint_attention_dim ",
                              transformer.joint_attention_dim));
  if (!HasT5()) return;
  loader.Require(t5_config_->d_model == transformer.joint_attention_dim,
                 absl::StrCat("text_encoder_3: d_model ", t5_config_->d_model,
                              ", but the transformer's joint_attention_dim is ", transformer.joint_attention_dim));
  loader.Require(t5_tokenizer_->vocabulary_size() <= t5_config_->vocab_size,
                 absl::StrCat("tokenizer_3 has ", t5_tokenizer_->vocabulary_size(), " tokens, text_encoder_3 embeds ",
                              t5_config_->vocab_size));
}

void TextEncoders::LoadWeights(ComponentLoader& loader) {
  for (int i = 0; i < 2; ++i) LoadClip(i, loader);
  LoadT5(loader);
}

void TextEncoders::LoadClip(int i, ComponentLoader& loader) {
  if (!clip_[i].config.has_value()) return;  // complained about already
  loader.Add(kClips[i], clip_[i].encoder, [&](const std::string& path, ReadProgress progress) {
    return ClipTextEncoder::Load(path, options_.placement, std::move(progress));
  });
}

void TextEncoders::LoadT5(ComponentLoader& loader) {
  if (!t5_config_.has_value()) return;
  loader.Add(kT5, t5_encoder_, [&](const std::string& path, ReadProgress progress) {
    return T5Encoder::Load(path, options_.placement, std::move(progress));
  });
}

absl::StatusOr<ClipTextEncoder::Output> TextEncoders::EncodeByClip(int i,
                                                                   const std::vector<std::string>& prompts) const {
  FLOWAWR_ASSIGN_OR_RETURN(const at::Tensor ids, Tokenize(*clip_[i].tokenizer, prompts, clip_length()));
  return clip_[i].encoder->Forward(MovedTo(ids, options_.placement.device));
}

absl::StatusOr<at::Tensor> TextEncoders::EncodeByT5(const std::vector<std::string>& prompts) const {
  const int length = options_.max_sequence_length;
  const Placement& placement = options_.placement;
  if (!HasT5())
    return at::zeros({static_cast<int64_t>(prompts.size()), length, width_},
                     at::TensorOptions(placement.dtype).device(placement.device));
  FLOWAWR_ASSIGN_OR_RETURN(const at::Tensor ids, Tokenize(*t5_tokenizer_, prompts, length));
  return t5_encoder_->Forward(MovedTo(ids, placement.device));
}

at::Tensor TextEncoders::PadClip(const at::Tensor& first, const at::Tensor& second) const {
  return at::constant_pad_nd(at::cat({first, second}, -1), {0, width_ - first.size(-1) - second.size(-1)});
}

std::vector<std::string> TextEncoders::DescribeCut(const std::string& prompt) const {
  std::vector<std::string> lines;
  const auto add = [&](const char* kind, const Tokenizer& tokenizer, int length) {
    const std::string cut = tokenizer.CutOff(prompt, length);
    if (cut.empty()) return;
    lines.push_back(absl::StrCat(kind, " reads ", length, " tokens of a prompt, not this end of it: \"", cut, "\"",
                                 HasQuote(cut) ? "; it holds quoted text" : ""));
  };
  add("CLIP", *clip_[0].tokenizer, clip_length());
  if (lines.empty()) add("the second CLIP", *clip_[1].tokenizer, clip_length());  // most often the same tokens
  if (HasT5()) add("T5", *t5_tokenizer_, options_.max_sequence_length);
  return lines;
}

absl::StatusOr<PromptEmbeds> TextEncoders::EncodePrompts(const std::vector<std::string>& prompts) const {
  if (prompts.empty()) return absl::InvalidArgumentError("no prompts to encode");
  const at::NoGradGuard no_grad;
  FLOWAWR_ASSIGN_OR_RETURN(const ClipTextEncoder::Output first, EncodeByClip(0, prompts));
  FLOWAWR_ASSIGN_OR_RETURN(const ClipTextEncoder::Output second, EncodeByClip(1, prompts));
  FLOWAWR_ASSIGN_OR_RETURN(const at::Tensor t5, EncodeByT5(prompts));
  return PromptEmbeds{MovedTo(at::cat({PadClip(first.hidden, second.hidden), t5}, -2), at::kCPU),
                      MovedTo(at::cat({first.pooled, second.pooled}, -1), at::kCPU)};
}

absl::Status TextEncoders::EncodeInTurn(const std::string& folder, const Options& options,
                                        const std::vector<std::string>& prompts, size_t batch,
                                        absl::FunctionRef<void(const std::string&)> tell_cut,
                                        absl::FunctionRef<bool(const Step&)> progress,
                                        absl::FunctionRef<absl::Status(size_t prompt, PromptEmbeds)> take) {
  FLOWAWR_RETURN_IF_ERROR(options.Check());
  const at::NoGradGuard no_grad;
  FLOWAWR_ASSIGN_OR_RETURN(ComponentLoader loader, ComponentLoader::Open(folder, options.progress));
  const std::unique_ptr<TextEncoders> encoders = LoadSmallFiles(options, loader);
  FLOWAWR_RETURN_IF_ERROR(loader.Finish());
  for (const std::string& prompt : prompts) {
    for (const std::string& line : encoders->DescribeCut(prompt)) tell_cut(line);
  }
  // Calls `encode` for the prompts from `first` on, a batch at a time.
  const auto in_batches =
      [&](const char* component,
          absl::FunctionRef<absl::Status(size_t first, const std::vector<std::string>& some)> encode) -> absl::Status {
    for (size_t first = 0; first < prompts.size();) {
      const size_t end = std::min(first + batch, prompts.size());
      FLOWAWR_RETURN_IF_ERROR(encode(first, {prompts.begin() + first, prompts.begin() + end}));
      first = end;
      if (!progress({component, end, prompts.size()})) return absl::CancelledError("stopped");
    }
    return absl::OkStatus();
  };

  std::vector<ClipTextEncoder::Output> clip[2];  // by prompt
  for (int i = 0; i < 2; ++i) {
    encoders->LoadClip(i, loader);
    FLOWAWR_RETURN_IF_ERROR(loader.Finish());
    FLOWAWR_RETURN_IF_ERROR(in_batches(kClips[i], [&](size_t, const std::vector<std::string>& some) -> absl::Status {
      FLOWAWR_ASSIGN_OR_RETURN(const ClipTextEncoder::Output output, encoders->EncodeByClip(i, some));
      const at::Tensor hidden = MovedTo(output.hidden, at::kCPU), pooled = MovedTo(output.pooled, at::kCPU);
      // Copies: a view would keep its whole batch.
      for (size_t row = 0; row < some.size(); ++row)
        clip[i].push_back({hidden.narrow(0, row, 1).clone(), pooled.narrow(0, row, 1).clone()});
      return absl::OkStatus();
    }));
    encoders->clip_[i].encoder.reset();
  }
  encoders->LoadT5(loader);
  FLOWAWR_RETURN_IF_ERROR(loader.Finish());
  return in_batches(
      encoders->HasT5() ? kT5 : "zeros for text_encoder_3",
      [&](size_t begin, const std::vector<std::string>& some) -> absl::Status {
        FLOWAWR_ASSIGN_OR_RETURN(const at::Tensor encoded, encoders->EncodeByT5(some));
        const at::Tensor t5 = MovedTo(encoded, at::kCPU);
        for (size_t row = 0; row < some.size(); ++row) {
          const ClipTextEncoder::Output first = std::exchange(clip[0][begin + row], {});
          const ClipTextEncoder::Output second = std::exchange(clip[1][begin + row], {});
          const at::Tensor embeds = at::cat({encoders->PadClip(first.hidden, second.hidden), t5.narrow(0, row, 1)}, -2);
          FLOWAWR_RETURN_IF_ERROR(take(begin + row, {embeds, at::cat({first.pooled, second.pooled}, -1)}));
        }
        return absl::OkStatus();
      });
}

}  // namespace flowawr
