#include "common/sd3/vae_memory.h"

#include <utility>

#include "common/nn/kernel_choice.h"
#include "common/sd3/memory_ledger.h"

namespace flowawr {
namespace {

using Block = MemoryLedger::Block;

constexpr int64_t kFloat = 4;
constexpr int64_t kKernelSize = 9;

struct Map {
  Block data;
  int64_t channels = 0;
  int64_t pixels = 0;  // of all rows
};

class DecoderWalk {
 public:
  DecoderWalk(MemoryLedger& ledger, int64_t bytes)
      : ledger_(ledger), bytes_(bytes), is_widened_(bytes == 2 && kernels::WidensBf16Products()) {}

  Map Take(int64_t channels, int64_t pixels) const {
    return {ledger_.Take(channels * pixels * bytes_), channels, pixels};
  }
  Map Conv(const Map& x, int64_t channels) const {
    Map out = Take(channels, x.pixels);
    if (is_widened_)
      ledger_.Touch(kFloat * (x.channels * x.pixels + channels * x.pixels + kKernelSize * x.channels * channels));
    return out;
  }
  Map NormSilu(const Map& x) const { return Take(x.channels, x.pixels); }

  Map Resnet(const Map& x, int64_t channels) const {
    Map hidden = Conv(NormSilu(x), channels);  // normalised in its place
    Map out = Conv(hidden, channels);
    hidden = {};
    if (x.channels != channels) Conv(x, channels);
    return out;
  }

  // Every pixel over all pixels.
  Map Attention(const Map& x) const {
    const Map pixels = Take(x.channels, x.pixels);
    const Map qkv = Take(3 * x.channels, x.pixels), attended = Take(x.channels, x.pixels);
    const Map projected = Take(x.channels, x.pixels);
    return Take(x.channels, x.pixels);
  }

  Map Upsample(const Map& x) const {
    Map larger = Take(x.channels, 4 * x.pixels);
    Conv(x, x.channels);  // each of four in turn
    return larger;
  }

 private:
  MemoryLedger& ledger_;
  const int64_t bytes_;
  const bool is_widened_;  // convolutions in f32: common/nn/products.h
};

}  // namespace

int64_t DecodeMemory(const VaeConfig& config, int64_t rows, int64_t latent_height, int64_t latent_width,
                     int64_t bytes) {
  MemoryLedger ledger;
  const DecoderWalk walk(ledger, bytes);
  const int64_t deepest = config.block_out_channels.back();
  const size_t levels = config.block_out_channels.size();
  const Map z = walk.Take(config.latent_channels, rows * latent_height * latent_width);
  Map x = walk.Conv(z, deepest);
  x = walk.Resnet(x, deepest);
  if (config.mid_block_add_attention) x = walk.Attention(x);
  x = walk.Resnet(x, deepest);
  for (size_t level = 0; level < levels; ++level) {
    const int64_t channels = config.block_out_channels[levels - 1 - level];
    for (int64_t i = 0; i < config.layers_per_block + 1; ++i) x = walk.Resnet(x, channels);
    if (level + 1 < levels) x = walk.Upsample(x);
  }
  Map image = walk.Conv(x, config.out_channels);  // x normalised in its place
  x = {};
  const Block picture = ledger.Take(config.out_channels * image.pixels * kFloat);
  return ledger.peak();
}

}  // namespace flowawr
