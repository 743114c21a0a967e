#include "common/sd3/vae.h"

#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/file.h"
#include "common/base/status.h"
#include "common/nn/group_norm.h"
#include "common/nn/parallel.h"
#include "common/nn/products.h"
#include "common/nn/weight_binder.h"

namespace flowawr {
namespace {

constexpr double kEpsilon = 1e-6;

// Activations and kernels are kept with the channels last: oneDNN's convolutions then need no reordering between
// layers.
constexpr at::MemoryFormat kLayout = at::MemoryFormat::ChannelsLast;

struct Conv {
  at::Tensor weight, bias;

  at::Tensor operator()(const at::Tensor& x, int64_t stride = 1) const {
    const int64_t padding = stride == 1 ? weight.size(2) / 2 : 0;
    return Convolution(x, weight, bias, stride, padding);
  }
};

struct Norm {
  at::Tensor weight, bias;
  int64_t groups = 1;

  at::Tensor operator()(const at::Tensor& x) const { return at::group_norm(x, groups, weight, bias, kEpsilon); }
};

// Overwrites x if nothing else holds it.
at::Tensor NormSilu(const Norm& norm, at::Tensor x) {
  return GroupNormSilu(std::move(x), norm.groups, norm.weight, norm.bias, kEpsilon);
}

struct ResnetBlock {
  Norm norm1, norm2;
  Conv conv1, conv2;
  std::optional<Conv> shortcut;  // where the number of channels changes

  at::Tensor operator()(const at::Tensor& x) const {
    at::Tensor hidden = conv1(NormSilu(norm1, x));
    hidden = NormSilu(norm2, std::move(hidden));
    hidden = conv2(hidden);
    return hidden.add_(shortcut ? (*shortcut)(x) : x);
  }
};

// Attention of every pixel over all pixels, one head.
struct AttentionBlock {
  Norm norm;
  at::Tensor q_weight, q_bias, k_weight, k_bias, v_weight, v_bias, out_weight, out_bias;

  at::Tensor operator()(const at::Tensor& x) const {
    const at::Tensor pixels = norm(x).flatten(2).transpose(1, 2).unsqueeze(1);
    const at::Tensor attended =
        Attention(AffineProduct(pixels, q_weight, q_bias), AffineProduct(pixels, k_weight, k_bias),
                  AffineProduct(pixels, v_weight, v_bias));
    return x + AffineProduct(attended, out_weight, out_bias).squeeze(1).transpose(1, 2).view(x.sizes());
  }
};

struct MiddleBlock {
  ResnetBlock first, second;
  std::optional<AttentionBlock> attention;

  at::Tensor operator()(const at::Tensor& x) const {
    const at::Tensor hidden = first(x);
    return second(attention ? (*attention)(hidden) : hidden);
  }
};

// Every pixel repeated to 2 by 2, then a 3x3 convolution.
//
// Three rows of the enlarged picture come from two of the small one, in columns likewise: for each of the four places
// in a 2x2 square the convolution is one of 2x2 on the small picture, whose weights are sums. 4/9 of the arithmetic,
// and the enlarged picture is never made.
struct Upsampler {
  std::array<Conv, 4> places;  // top left, top right, bottom left, bottom right

  explicit Upsampler(const Conv& conv) {
    constexpr int64_t kFilters = 32;  // at a time: sums of all of them in f32 would be megabytes that the heap keeps
    const int64_t out = conv.weight.size(0), in = conv.weight.size(1);
    for (Conv& place : places) place = {at::empty({out, in, 2, 2}, conv.weight.options(), kLayout), conv.bias};
    for (int64_t first = 0; first < out; first += kFilters) {
      const int64_t count = std::min(kFilters, out - first);
      const at::Tensor some = conv.weight.narrow(0, first, count).to(at::kFloat);
      for (int place = 0; place < 4; ++place)
        places[place].weight.narrow(0, first, count).copy_(Fold(Fold(some, 2, place / 2), 3, place % 2));
    }
  }

  at::Tensor operator()(const at::Tensor& x) const {
    at::Tensor out = at::empty({x.size(0), places[0].weight.size(0), 2 * x.size(2), 2 * x.size(3)},
                               x.options().memory_format(kLayout));
    for (int place = 0; place < 4; ++place) {
      const Conv& conv = places[place];
      // One row and one column too many; which ones they are depends on the place.
      Scatter(Convolution(x, conv.weight, conv.bias, /*stride=*/1, /*padding=*/1), place / 2, place % 2, out);
    }
    return out;
  }

 private:
  // The first of two pixels sees one neighbour before it and itself twice; the second itself twice and one after it.
  static at::Tensor Fold(const at::Tensor& weight, int64_t dim, int second) {
    const at::Tensor twice = weight.narrow(dim, 1 - second, 2).sum(dim, /*keepdim=*/true);
    const at::Tensor once = weight.narrow(dim, 2 * second, 1);
    return at::cat(second == 1 ? at::TensorList{twice, once} : at::TensorList{once, twice}, dim);
  }

  // Pixel (i + row, j + column) of `from` becomes (2 i + row, 2 j + column) of `to`.
  static void Scatter(const at::Tensor& from, int row, int column, at::Tensor& to) {
    const int64_t height = to.size(2) / 2, width = to.size(3) / 2;
    if (!from.is_cpu() || !from.is_contiguous(kLayout)) {
      to.slice(2, row, std::nullopt, 2)
          .slice(3, column, std::nullopt, 2)
          .copy_(from.narrow(2, row, height).narrow(3, column, width));
      return;
    }
    const int64_t bytes = from.size(1) * static_cast<int64_t>(from.element_size());
    const char* source = static_cast<const char*>(from.const_data_ptr());
    char* target = static_cast<char*>(to.mutable_data_ptr());
    ParallelFor(0, from.size(0) * height, /*grain=*/8, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        const char* pixel = source + ((i / height * (height + 1) + i % height + row) * (width + 1) + column) * bytes;
        char* out = target + ((2 * i + row) * 2 * width + column) * bytes;
        for (int64_t j = 0; j < width; ++j) std::memcpy(out + 2 * j * bytes, pixel + j * bytes, bytes);
      }
    });
  }
};

// One resolution: a few residual blocks, then to the next resolution (absent on the last one).
template <typename Resampler>
struct Level {
  std::vector<ResnetBlock> resnets;
  std::optional<Resampler> resample;
};

struct Encoder {
  Conv in;
  std::vector<Level<Conv>> levels;
  MiddleBlock middle;
  Norm norm_out;
  Conv out;

  at::Tensor operator()(const at::Tensor& images) const {
    at::Tensor x = in(images);
    for (const Level<Conv>& level : levels) {
      for (const ResnetBlock& resnet : level.resnets) x = resnet(x);
      if (level.resample) x = (*level.resample)(at::constant_pad_nd(x, {0, 1, 0, 1}), /*stride=*/2);
    }
    return out(NormSilu(norm_out, middle(x)));
  }
};

struct Decoder {
  Conv in;
  MiddleBlock middle;
  std::vector<Level<Upsampler>> levels;
  Norm norm_out;
  Conv out;

  at::Tensor operator()(const at::Tensor& latents) const {
    at::Tensor x = middle(in(latents));
    for (const Level<Upsampler>& level : levels) {
      for (const ResnetBlock& resnet : level.resnets) x = resnet(x);
      if (level.resample) x = (*level.resample)(x);
    }
    return out(NormSilu(norm_out, std::move(x)));
  }
};

// Takes the tensors of the autoencoder's parts by their names in diffusers.
class VaeBinder {
 public:
  VaeBinder(WeightBinder& binder, const VaeConfig& config) : binder_(binder), config_(config) {}

  Conv TakeConv(const std::string& name, int64_t in, int64_t out, int64_t kernel) {
    Conv conv{binder_.Take(name + ".weight", {out, in, kernel, kernel}), binder_.Take(name + ".bias", {out})};
    if (conv.weight.defined()) conv.weight = conv.weight.contiguous(kLayout);  // undefined: Finish() will name it
    return conv;
  }

  Encoder TakeEncoder() {
    const std::vector<int64_t>& channels = config_.block_out_channels;
    Encoder encoder;
    encoder.in = TakeConv("encoder.conv_in", config_.in_channels, channels.front(), 3);
    int64_t in = channels.front();
    for (size_t i = 0; i < channels.size(); ++i) {
      encoder.levels.push_back(TakeLevel<Conv>(absl::StrCat("encoder.down_blocks.", i), in, channels[i],
                                               config_.layers_per_block,
                                               i + 1 < channels.size() ? "downsamplers" : ""));
      in = channels[i];
    }
    encoder.middle = TakeMiddle("encoder.mid_block", in);
    encoder.norm_out = TakeNorm("encoder.conv_norm_out", in);
    encoder.out = TakeConv("encoder.conv_out", in, 2 * config_.latent_channels, 3);
    return encoder;
  }

  Decoder TakeDecoder() {
    const std::vector<int64_t>& channels = config_.block_out_channels;
    Decoder decoder;
    int64_t in = channels.back();
    decoder.in = TakeConv("decoder.conv_in", config_.latent_channels, in, 3);
    decoder.middle = TakeMiddle("decoder.mid_block", in);
    for (size_t i = 0; i < channels.size(); ++i) {
      const int64_t out = channels[channels.size() - 1 - i];
      decoder.levels.push_back(TakeLevel<Upsampler>(absl::StrCat("decoder.up_blocks.", i), in, out,
                                                    config_.layers_per_block + 1,
                                                    i + 1 < channels.size() ? "upsamplers" : ""));
      in = out;
    }
    decoder.norm_out = TakeNorm("decoder.conv_norm_out", in);
    decoder.out = TakeConv("decoder.conv_out", in, config_.out_channels, 3);
    return decoder;
  }

 private:
  Norm TakeNorm(const std::string& name, int64_t channels) {
    return {binder_.Take(name + ".weight", {channels}), binder_.Take(name + ".bias", {channels}),
            config_.norm_num_groups};
  }

  ResnetBlock TakeResnet(const std::string& name, int64_t in, int64_t out) {
    ResnetBlock resnet{.norm1 = TakeNorm(name + ".norm1", in),
                       .norm2 = TakeNorm(name + ".norm2", out),
                       .conv1 = TakeConv(name + ".conv1", in, out, 3),
                       .conv2 = TakeConv(name + ".conv2", out, out, 3)};
    if (in != out) resnet.shortcut = TakeConv(name + ".conv_shortcut", in, out, 1);
    return resnet;
  }

  template <typename Resampler>
  Level<Resampler> TakeLevel(const std::string& name, int64_t in, int64_t out, int64_t layers,
                             const std::string& resampler) {
    Level<Resampler> level;
    for (int64_t i = 0; i < layers; ++i) {
      level.resnets.push_back(TakeResnet(absl::StrCat(name, ".resnets.", i), i == 0 ? in : out, out));
    }
    if (resampler.empty()) return level;
    const Conv conv = TakeConv(absl::StrCat(name, ".", resampler, ".0.conv"), out, out, 3);
    if (conv.weight.defined()) level.resample.emplace(conv);  // undefined: Finish() will name it
    return level;
  }

  MiddleBlock TakeMiddle(const std::string& name, int64_t channels) {
    MiddleBlock middle{.first = TakeResnet(name + ".resnets.0", channels, channels),
                       .second = TakeResnet(name + ".resnets.1", channels, channels)};
    if (!config_.mid_block_add_attention) return middle;
    const std::string attention = name + ".attentions.0.";
    const auto weight = [&](const char* layer) {
      return binder_.Take(absl::StrCat(attention, layer, ".weight"), {channels, channels});
    };
    const auto bias = [&](const char* layer) {
      return binder_.Take(absl::StrCat(attention, layer, ".bias"), {channels});
    };
    middle.attention = {.norm = TakeNorm(attention + "group_norm", channels),
                        .q_weight = weight("to_q"),
                        .q_bias = bias("to_q"),
                        .k_weight = weight("to_k"),
                        .k_bias = bias("to_k"),
                        .v_weight = weight("to_v"),
                        .v_bias = bias("to_v"),
                        .out_weight = weight("to_out.0"),
                        .out_bias = bias("to_out.0")};
    return middle;
  }

  WeightBinder& binder_;
  const VaeConfig& config_;
};

}  // namespace

struct Vae::Weights {
  VaeConfig config;
  at::ScalarType dtype;
  Encoder encoder;
  std::optional<Conv> quant_conv;
  std::optional<Conv> post_quant_conv;
  Decoder decoder;
};

Vae::Vae(std::unique_ptr<const Weights> weights) : weights_(std::move(weights)) {}
Vae::~Vae() = default;

absl::StatusOr<std::shared_ptr<const Vae>> Vae::Load(const std::string& folder, Placement placement,
                                                     ReadProgress progress) {
  const at::NoGradGuard no_grad;
  const std::string config_path = absl::StrCat(folder, "/config.json");
  FLOWAWR_ASSIGN_OR_RETURN(const std::string json, ReadFile(config_path));
  FLOWAWR_ASSIGN_OR_RETURN(const VaeConfig config, ParseVaeConfig(json, config_path));
  FLOWAWR_ASSIGN_OR_RETURN(WeightBinder binder,
                           WeightBinder::Open(folder, "diffusion_pytorch_model", placement, std::move(progress)));
  std::unique_ptr<const Weights> weights = Bind(config, placement, binder);
  FLOWAWR_RETURN_IF_ERROR(binder.Finish());
  return std::shared_ptr<const Vae>(new Vae(std::move(weights)));
}

std::shared_ptr<const Vae> Vae::MadeUp(const VaeConfig& config, Placement placement) {
  const at::NoGradGuard no_grad;
  WeightBinder binder = WeightBinder::MadeUp(placement);
  return std::shared_ptr<const Vae>(new Vae(Bind(config, placement, binder)));
}

std::unique_ptr<const Vae::Weights> Vae::Bind(const VaeConfig& config, Placement placement, WeightBinder& binder) {
  auto weights = std::make_unique<Weights>();
  weights->config = config;
  weights->dtype = placement.dtype;
  VaeBinder parts(binder, config);
  weights->encoder = parts.TakeEncoder();
  weights->decoder = parts.TakeDecoder();
  const int64_t latents = config.latent_channels;
  if (config.use_quant_conv) weights->quant_conv = parts.TakeConv("quant_conv", 2 * latents, 2 * latents, 1);
  if (config.use_post_quant_conv) weights->post_quant_conv = parts.TakeConv("post_quant_conv", latents, latents, 1);
  return weights;
}

const VaeConfig& Vae::config() const { return weights_->config; }

int Vae::downscale() const { return weights_->config.downscale(); }

at::Tensor Vae::Decode(const at::Tensor& latents) const {
  const at::NoGradGuard no_grad;
  const VaeConfig& config = weights_->config;
  at::Tensor z = (latents / config.scaling_factor + config.shift_factor).to(weights_->dtype).contiguous(kLayout);
  if (weights_->post_quant_conv) z = (*weights_->post_quant_conv)(z);
  return weights_->decoder(z).to(at::kFloat).mul_(0.5).add_(0.5).clamp_(0, 1);
}

at::Tensor Vae::EncodeMean(const at::Tensor& images) const {
  const at::NoGradGuard no_grad;
  const VaeConfig& config = weights_->config;
  at::Tensor moments = weights_->encoder((images * 2 - 1).to(weights_->dtype).contiguous(kLayout));
  if (weights_->quant_conv) moments = (*weights_->quant_conv)(moments);
  const at::Tensor mean = moments.narrow(1, 0, config.latent_channels).to(at::kFloat);
  return (mean - config.shift_factor) * config.scaling_factor;
}

}  // namespace flowawr
