#include "common/sd3/transformer_memory.h"

#include <algorithm>
#include <functional>
#include <memory>
#include <utility>

#include "common/nn/attention_kernels.h"
#include "common/nn/kernel_choice.h"
#include "common/nn/products.h"
#include "common/sd3/memory_tape.h"

namespace flowawr {
namespace {

using Block = MemoryLedger::Block;
using Blocks = MemoryTape::Blocks;
using Edge = MemoryTape::Edge;

constexpr int64_t kFloat = 4;
// Of the rank and of every number of features: kernels::kLoraMultiple.
constexpr int64_t kLoraMultiple = 16;

// A tensor [rows, tokens, width] of the base's type.
struct Value {
  Block data;
  int64_t rows = 0, tokens = 0, width = 0;
  Edge edge;  // where its gradient goes, if one is wanted

  int64_t positions() const { return rows * tokens; }
  int64_t elements() const { return positions() * width; }
};

struct Streams {
  Value& image;
  Value& text;
};

class Walk {
 public:
  // A null `tape`: without gradients.
  Walk(const PassShape& shape, const TransformerConfig& config, const LoraTargets& lora, MemoryLedger& ledger,
       MemoryTape* tape, Blocks* lora_gradients)
      : shape_(shape), config_(config), lora_(lora), ledger_(ledger), tape_(tape), lora_gradients_(lora_gradients) {}

  Value Take(int64_t rows, int64_t tokens, int64_t width) const {
    return {ledger_.Take(rows * tokens * width * shape_.bytes), rows, tokens, width, {}};
  }

  void RunBlock(const BlockSize& block, int64_t modulation_rows, Streams streams) const;
  void RunCheckpointedBlock(const BlockSize& block, int64_t modulation_rows, Streams streams) const;

 private:
  enum class Attention { kBf16Kernel, kFloatKernel, kLibTorch };

  Block Bytes(int64_t bytes) const { return ledger_.Take(bytes); }
  bool Records(const Value& x) const { return tape_ != nullptr && x.edge.is_wanted(); }
  bool IsPacked(const LinearSize& size) const {
    return shape_.bytes == 2 && shape_.has_bf16_kernels && lora_.rank % kLoraMultiple == 0 &&
           size.in % kLoraMultiple == 0 && config_.inner_dim() % kLoraMultiple == 0;
  }
  // Products and LibTorch's attention in f32: common/nn/products.h.
  bool IsWidened() const {
    return shape_.bytes == 2 && !shape_.has_bf16_kernels && kernels::WidensBf16Products();
  }
  Attention Kernel(int64_t tokens) const;

  Value Linear(const LinearSize& size, const Value& x) const;
  Value Modulate(const Value& x, int64_t modulation_rows) const;
  Value GatedResidual(const Value& x, int64_t modulation_rows, Value y) const;
  Value Gelu(Value x) const;
  // The second stream may be absent (null), or be attended to without attending itself.
  std::pair<Value, Value> Attend(const Value& first, const Value* second, bool second_has_queries) const;
  void AttentionScratch(int64_t keys, int64_t queries, bool is_backward) const;

  const PassShape& shape_;
  const TransformerConfig& config_;
  const LoraTargets& lora_;
  MemoryLedger& ledger_;
  MemoryTape* const tape_;
  Blocks* const lora_gradients_;
};

Value Walk::Linear(const LinearSize& size, const Value& x) const {
  Value y = Take(x.rows, x.tokens, size.out);
  const auto widened = [&](int64_t out) { return kFloat * (x.positions() * (size.in + out) + size.in * out); };
  if (IsWidened()) ledger_.Touch(widened(std::min(size.out, WidenedOutputs(size.in))));
  const int64_t widened_backward = IsWidened() ? widened(size.out) : 0;
  const bool trains = tape_ != nullptr && size.is_adapted();
  if (tape_ == nullptr || (!trains && !x.edge.is_wanted())) return y;  // an adapter is merged, or there is none
  const int64_t positions = x.positions();
  const int64_t stacked = size.adapted_parts * lora_.rank;
  const bool is_packed = IsPacked(size), is_wide = shape_.bytes == kFloat;
  Block h;
  if (trains && is_packed) h = Bytes(positions * stacked * shape_.bytes);
  // f32 copies of the input and of the outputs that an adapter adds to.
  if (trains && !is_packed && !is_wide)
    ledger_.Touch(positions * kFloat * (size.in + stacked + 2 * size.adapted_out / size.adapted_parts));
  y.edge = {tape_->Add({trains ? x.data : nullptr, h}, {x.edge}, 1,
                       [=, this, wants_dx = x.edge.is_wanted()](const Blocks& gradients) -> Blocks {
                         (void)gradients;
                         Block dx = wants_dx ? Bytes(positions * size.in * shape_.bytes) : nullptr;
                         if (wants_dx && widened_backward != 0) ledger_.Touch(widened_backward);
                         if (!trains) return {dx};
                         lora_gradients_->push_back(Bytes(size.LoraValues(lora_.rank) * kFloat));
                         if (is_packed) {
                           ledger_.Touch(positions * stacked * shape_.bytes);
                         } else {
                           const int64_t copies = is_wide ? 0 : size.in + size.out + (wants_dx ? size.in : 0);
                           ledger_.Touch(positions * kFloat * (2 * stacked + copies));
                         }
                         return {dx};
                       }),
            0};
  return y;
}

Value Walk::Modulate(const Value& x, int64_t modulation_rows) const {
  Value out = Take(std::max(x.rows, modulation_rows), x.tokens, x.width);
  if (!Records(x)) return out;
  const int64_t bytes = out.elements() * shape_.bytes;
  out.edge = {tape_->Add({x.data}, {x.edge}, 1, [=, this](const Blocks&) -> Blocks { return {Bytes(bytes)}; }), 0};
  return out;
}

Value Walk::GatedResidual(const Value& x, int64_t modulation_rows, Value y) const {
  const int64_t rows = std::max({x.rows, modulation_rows, y.rows});
  if (y.rows != rows) y.data = Bytes(rows * y.tokens * y.width * shape_.bytes);
  y.rows = rows;
  if (!Records(x) && !Records(y)) return y;  // overwritten
  Value out = Take(rows, y.tokens, y.width);
  if (x.rows != rows) ledger_.Touch(out.elements() * shape_.bytes);
  const int64_t bytes = out.elements() * shape_.bytes;
  out.edge = {tape_->Add({}, {x.edge, y.edge}, 1,
                         [=, this](const Blocks& gradients) -> Blocks {
                           return {gradients[0], Bytes(bytes)};
                         }),
              0};
  return out;
}

Value Walk::Gelu(Value x) const {
  if (!Records(x)) return x;  // overwritten
  Value out = Take(x.rows, x.tokens, x.width);
  const int64_t bytes = out.elements() * shape_.bytes;
  out.edge = {tape_->Add({x.data}, {x.edge}, 1, [=, this](const Blocks&) -> Blocks { return {Bytes(bytes)}; }), 0};
  return out;
}

Walk::Attention Walk::Kernel(int64_t tokens) const {
  const int64_t head = config_.attention_head_dim;
  if (head % kernels::kHeadDimMultiple != 0 || head > kernels::kMaxHeadDim) return Attention::kLibTorch;
  if (shape_.bytes == 2) return shape_.has_bf16_kernels ? Attention::kBf16Kernel : Attention::kLibTorch;
  const bool uses_kernel = tokens <= kernels::kMaxAttentionTokens && shape_.threads == 1 &&
                           kernels::IsChosen(kernels::Kernel::kAttention);
  return uses_kernel ? Attention::kFloatKernel : Attention::kLibTorch;
}

// What one head of one sample is gathered into, for each thread.
void Walk::AttentionScratch(int64_t keys, int64_t queries, bool is_backward) const {
  const int64_t head = config_.attention_head_dim;
  if (Kernel(keys) == Attention::kFloatKernel) {
    ledger_.Touch(kFloat * ((is_backward ? 4 : 2) * (queries + keys) * head + (is_backward ? 2 : 1) * queries * keys));
  } else if (is_backward) {
    ledger_.Touch(shape_.threads * head * (queries * (2 * 6 + kFloat) + keys * 2 * 3));
  } else {
    ledger_.Touch(shape_.threads * head * 2 * (2 * queries + 3 * keys));
  }
}

std::pair<Value, Value> Walk::Attend(const Value& first, const Value* second, bool second_has_queries) const {
  const int64_t dim = config_.inner_dim();
  const int64_t rows = std::max(first.rows, second == nullptr ? 1 : second->rows);
  const int64_t keys = first.tokens + (second == nullptr ? 0 : second->tokens);
  const int64_t queries = first.tokens + (second_has_queries && second != nullptr ? second->tokens : 0);
  const bool needs_gradient = Records(first) || (second != nullptr && Records(*second));
  const bool is_kernel = Kernel(keys) != Attention::kLibTorch;
  const int64_t bytes = IsWidened() ? kFloat : shape_.bytes;  // of an element of what LibTorch attends to
  Block gathered;
  if (!is_kernel) {
    // Norms, then queries, keys and values of both streams behind one another.
    gathered = Bytes(rows * keys * 3 * dim * bytes);
    ledger_.Touch(rows * first.tokens * dim * 3 * kFloat);
  }
  std::pair<Value, Value> out = {Take(rows, first.tokens, dim), {}};
  if (second != nullptr && second_has_queries) out.second = Take(rows, second->tokens, dim);
  if (is_kernel) AttentionScratch(keys, queries, /*is_backward=*/false);
  if (!is_kernel && out.second.data != nullptr) ledger_.Touch(rows * queries * dim * bytes);
  if (!needs_gradient) return out;

  Blocks saved = {first.data, second == nullptr ? nullptr : second->data, gathered};
  const bool keeps_out = Kernel(keys) == Attention::kBf16Kernel;
  if (keeps_out) {
    saved.insert(saved.end(),
                 {out.first.data, out.second.data, Bytes(rows * config_.num_attention_heads * queries * kFloat)});
  } else if (!is_kernel) {
    saved.push_back(second == nullptr && !IsWidened() ? out.first.data : Bytes(rows * queries * dim * bytes));
    // Normalised queries and keys in f32, where that is not what they are in anyway.
    if (config_.has_qk_norm && shape_.bytes != kFloat) saved.push_back(Bytes(rows * (keys + queries) * dim * kFloat));
  }
  const int64_t first_bytes = rows * first.tokens * first.width * shape_.bytes;
  const int64_t second_bytes = second == nullptr ? 0 : rows * second->tokens * second->width * shape_.bytes;
  const int node = tape_->Add(
      std::move(saved), {first.edge, second == nullptr ? Edge{} : second->edge}, 2, [=, this](const Blocks&) -> Blocks {
        Block qkv;
        if (!is_kernel) {  // of what was gathered, and the norms' way back
          Block wide;  // the gradients and that of the output, until they are rounded
          if (IsWidened()) {
            wide = Bytes(rows * keys * 3 * dim * kFloat);
            ledger_.Touch(rows * queries * dim * kFloat);
          }
          qkv = Bytes(rows * keys * 3 * dim * shape_.bytes);
          wide = nullptr;
          if (config_.has_qk_norm) ledger_.Touch(first_bytes + rows * first.tokens * dim * 3 * kFloat);
        }
        Blocks gradients = {Bytes(first_bytes), second_bytes == 0 ? nullptr : Bytes(second_bytes)};
        if (is_kernel) AttentionScratch(keys, queries, /*is_backward=*/true);
        return gradients;
      });
  out.first.edge = {node, 0};
  if (out.second.data != nullptr) out.second.edge = {node, 1};
  return out;
}

// Run() of transformer_block.cc, statement by statement: what a variable there holds, one here does.
void Walk::RunBlock(const BlockSize& block, int64_t modulation_rows, Streams streams) const {
  auto& [image, text] = streams;
  Value self_attended;
  if (block.is_dual)
    self_attended = Attend(Linear(block.dual_qkv, Modulate(image, modulation_rows)), nullptr, false).first;

  const auto join = [&](const Value& text_in) {
    const Value image_qkv = Linear(block.qkv, Modulate(image, modulation_rows));
    const Value text_qkv = Linear(block.context_qkv, text_in);
    return Attend(image_qkv, &text_qkv, !block.context_pre_only);
  };
  const auto feed_forward = [&](const LinearSize& in, const LinearSize& out, const Value& x) {
    const Value inner = Gelu(Linear(in, x));
    return Linear(out, inner);
  };
  const auto finish_image = [&](const Value& attended) {
    image = GatedResidual(image, modulation_rows, Linear(block.to_out, attended));
    if (block.is_dual) image = GatedResidual(image, modulation_rows, Linear(block.dual_to_out, self_attended));
    image = GatedResidual(image, modulation_rows,
                          feed_forward(block.ff_in, block.ff_out, Modulate(image, modulation_rows)));
  };
  if (block.context_pre_only) {
    finish_image(join(Modulate(text, modulation_rows)).first);
    return;
  }
  const auto [image_attended, text_attended] = join(Modulate(text, modulation_rows));
  finish_image(image_attended);
  text = GatedResidual(text, modulation_rows, Linear(block.context_to_out, text_attended));
  text = GatedResidual(text, modulation_rows,
                       feed_forward(block.context_ff_in, block.context_ff_out, Modulate(text, modulation_rows)));
}

void Walk::RunCheckpointedBlock(const BlockSize& block, int64_t modulation_rows, Streams streams) const {
  const Value image_in = streams.image, text_in = streams.text;
  const Walk without_gradients(shape_, config_, lora_, ledger_, nullptr, nullptr);
  without_gradients.RunBlock(block, modulation_rows, streams);
  const int node = tape_->Add({image_in.data, text_in.data}, {image_in.edge, text_in.edge}, 2,
                              [=, this](const Blocks& gradients) -> Blocks {
                                MemoryTape tape;
                                const Walk again(shape_, config_, lora_, ledger_, &tape, lora_gradients_);
                                Value image = image_in, text = text_in;
                                const Edge image_leaf = image_in.edge.is_wanted() ? tape.AddLeaf() : Edge{};
                                const Edge text_leaf = text_in.edge.is_wanted() ? tape.AddLeaf() : Edge{};
                                image.edge = image_leaf;
                                text.edge = text_leaf;
                                again.RunBlock(block, modulation_rows, {image, text});
                                tape.Send(image.edge, gradients[0]);
                                if (!block.context_pre_only) tape.Send(text.edge, gradients[1]);
                                tape.Run();
                                return {tape.Take(image_leaf), tape.Take(text_leaf)};
                              });
  streams.image.edge = {node, 0};
  streams.text.edge = block.context_pre_only ? Edge{} : Edge{node, 1};
}

// Both streams' tokens and what steers the norms.
struct Inputs {
  Value image, text;
  int64_t modulation_rows = 1;
  Block modulation;
};

Inputs Begin(const Walk& walk, const PassShape& shape, const TransformerConfig& config, int64_t modulation_rows,
             MemoryLedger& ledger) {
  const int64_t tokens = shape.latent_height / config.patch_size * (shape.latent_width / config.patch_size);
  const int64_t dim = config.inner_dim();
  Inputs inputs{.modulation_rows = modulation_rows};
  {
    const Value projected = walk.Take(shape.rows, tokens, dim);  // before the positions are added
    inputs.image = walk.Take(shape.rows, tokens, dim);
  }
  inputs.text = walk.Take(1, shape.text_tokens, dim);
  ledger.Touch(shape.text_tokens * config.joint_attention_dim * shape.bytes);
  inputs.modulation = ledger.Take(modulation_rows * ModulationWidth(config) * shape.bytes);
  return inputs;
}

// The output's norm and projection, without gradients.
void End(const Walk& walk, const TransformerConfig& config, const Value& image) {
  const Value normalised = walk.Take(image.rows, image.tokens, image.width);
  walk.Take(image.rows, image.tokens, 2 * config.patch_size * config.patch_size * config.out_channels);
}

int64_t LatentBytes(const TransformerConfig& config, const PassShape& shape) {
  return shape.rows * config.in_channels * shape.latent_height * shape.latent_width * kFloat;
}

void Evaluate(const TransformerConfig& config, const PassShape& shape, int64_t modulation_rows, MemoryLedger& ledger) {
  const LoraTargets none;
  const Walk walk(shape, config, none, ledger, nullptr, nullptr);
  Inputs in = Begin(walk, shape, config, modulation_rows, ledger);
  for (int64_t i = 0; i < config.num_layers; ++i)
    walk.RunBlock(SizeOfBlock(config, i, none), modulation_rows, {in.image, in.text});
  End(walk, config, in.image);
}

}  // namespace

PassMemory TrainingMemory(const TransformerConfig& config, const LoraTargets& lora, const PassShape& shape,
                          int64_t checkpointed_blocks, bool has_reference) {
  MemoryLedger ledger;
  PassMemory memory;
  // x0, x_t, the noise and the three velocities of these rows, and the loss's gradient.
  const Block latents = ledger.Take(7 * LatentBytes(config, shape));
  if (has_reference) Evaluate(config, shape, shape.rows, ledger);
  {
    MemoryTape tape;
    Blocks lora_gradients;
    const Walk walk(shape, config, lora, ledger, &tape, &lora_gradients);
    Inputs in = Begin(walk, shape, config, shape.rows, ledger);
    for (int64_t i = 0; i < config.num_layers; ++i) {
      const BlockSize block = SizeOfBlock(config, i, lora);
      if (i < checkpointed_blocks) {
        walk.RunCheckpointedBlock(block, shape.rows, {in.image, in.text});
      } else {
        walk.RunBlock(block, shape.rows, {in.image, in.text});
      }
    }
    End(walk, config, in.image);
    const Edge last = in.image.edge;
    const int64_t output_bytes = in.image.elements() * shape.bytes;
    // The output's norm keeps its input.
    const int norm =
        tape.Add({in.image.data}, {last}, 1, [&](const Blocks&) -> Blocks { return {ledger.Take(output_bytes)}; });
    in.image = {};
    in.text = {};
    memory.kept = ledger.live();
    tape.Send({norm, 0}, ledger.Take(output_bytes));
    tape.Run();
    ledger.Touch(SizeOfAdapter(config, lora).values * kFloat);  // the gradients in one vector
  }
  memory.peak = ledger.peak();
  return memory;
}

int64_t BoundAdapterBytes(const TransformerConfig& config, const LoraTargets& lora, const PassShape& shape) {
  const AdapterSize adapter = SizeOfAdapter(config, lora);
  if (shape.bytes == kFloat) return adapter.folded_weights * kFloat;
  // Two orders of each matrix, in bfloat16.
  return shape.has_bf16_kernels ? adapter.values * 2 * 2 : 0;
}

PassMemory SamplingMemory(const TransformerConfig& config, const PassShape& shape) {
  MemoryLedger ledger;
  const Block latents = ledger.Take(4 * LatentBytes(config, shape));  // with what the solver keeps
  Evaluate(config, shape, /*modulation_rows=*/1, ledger);
  return {.kept = 0, .peak = ledger.peak()};
}

}  // namespace flowawr
