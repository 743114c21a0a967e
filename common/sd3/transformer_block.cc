#include "common/sd3/transformer_block.h"

#include <ATen/core/grad_mode.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/csrc/autograd/custom_function.h>

#include <optional>
#include <utility>

#include "common/nn/fused_ops.h"

namespace flowawr {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

struct ShiftScaleGate {
  explicit ShiftScaleGate(Modulation& modulation)
      : shift(modulation.Next()), scale(modulation.Next()), gate(modulation.Next()) {}

  at::Tensor shift, scale, gate;
};

// AdaLayerNormContinuous: the scale comes first.
struct ScaleShift {
  explicit ScaleShift(Modulation& modulation) : scale(modulation.Next()), shift(modulation.Next()) {}

  at::Tensor scale, shift;
};

at::Tensor Modulate(const at::Tensor& x, const ShiftScaleGate& m) { return LayerNormModulate(x, m.shift, m.scale); }
at::Tensor Modulate(const at::Tensor& x, const ScaleShift& m) { return LayerNormModulate(x, m.shift, m.scale); }

// How much of a block is computed.
enum class Wanted {
  kOutputs,
  kGradients,  // the outputs are there already: what nothing but they need is left out, and they are anything
};

at::Tensor FeedForward(const FeedForwardWeights& ff, const ActiveAdapter& linear, const at::Tensor& x, Wanted wanted) {
  const at::Tensor inner = GeluTanh(linear(ff.in, x));
  return wanted == Wanted::kOutputs ? linear(ff.out, inner) : linear.ForGradient(ff.out, inner);
}

void Run(const JointBlock& block, const ActiveAdapter& linear, int64_t heads, Modulation& modulation, Streams streams,
         Wanted wanted) {
  auto& [image, text] = streams;
  const ShiftScaleGate attention(modulation);
  const ShiftScaleGate mlp(modulation);
  at::Tensor self_attended;
  at::Tensor self_gate;
  if (block.dual) {
    const ShiftScaleGate dual(modulation);
    self_attended = SelfAttention(
        {linear(block.dual->qkv, Modulate(image, dual)), true, block.dual->norm.q, block.dual->norm.k}, heads);
    self_gate = dual.gate;
  }

  const auto join = [&](const at::Tensor& text_in) {
    return JointAttention(
        {linear(block.qkv, Modulate(image, attention)), true, block.norm.q, block.norm.k},
        {linear(block.context_qkv, text_in), !block.context_pre_only, block.context_norm.q, block.context_norm.k},
        heads);
  };
  const auto finish_image = [&](const at::Tensor& attended) {
    image = GatedResidual(image, attention.gate, linear(block.to_out, attended));
    if (block.dual) image = GatedResidual(image, self_gate, linear(block.dual->to_out, self_attended));
    image = GatedResidual(image, mlp.gate, FeedForward(block.ff, linear, Modulate(image, mlp), wanted));
  };

  if (block.context_pre_only) {
    finish_image(join(Modulate(text, ScaleShift(modulation))).first);
    return;
  }
  const ShiftScaleGate text_attention(modulation);
  const ShiftScaleGate text_mlp(modulation);
  const auto [image_attended, text_attended] = join(Modulate(text, text_attention));
  finish_image(image_attended);
  text = GatedResidual(text, text_attention.gate, linear(block.context_to_out, text_attended));
  text = GatedResidual(text, text_mlp.gate, FeedForward(block.context_ff, linear, Modulate(text, text_mlp), wanted));
}

// What a checkpointed block needs to run again.
struct BlockCall : torch::CustomClassHolder {
  BlockCall(const JointBlock& of_block, const ActiveAdapter& adapter, int64_t attention_heads, const Modulation& from)
      : block(of_block), linear(adapter), heads(attention_heads), modulation(from) {}

  const JointBlock& block;
  const ActiveAdapter linear;
  const int64_t heads;
  const Modulation modulation;
};

class CheckpointedBlock : public torch::autograd::Function<CheckpointedBlock> {
 public:
  // `matrices` are those of the adapter in `call`: autograd looks at the arguments alone.
  static variable_list forward(AutogradContext* context, const at::Tensor& image, const at::Tensor& text,
                               at::TensorList /*matrices*/, c10::intrusive_ptr<BlockCall> call) {
    at::Tensor image_out = image, text_out = text;
    Modulation modulation = call->modulation;
    RunBlock(call->block, call->linear, call->heads, modulation, {image_out, text_out});
    context->save_for_backward({image, text});
    const bool text_ends = call->block.context_pre_only;
    context->saved_data["call"] = c10::IValue::make_capsule(std::move(call));
    return text_ends ? variable_list{image_out} : variable_list{image_out, text_out};
  }

  static variable_list backward(AutogradContext* context, const variable_list& gradients) {
    const auto capsule = context->saved_data["call"].toCapsule();
    const BlockCall& call = static_cast<const BlockCall&>(*capsule);
    const std::vector<const FrozenLinear*> linears = call.block.AdaptableLinears();
    const auto leaf = [](const at::Tensor& x, bool is_wanted) { return x.detach().requires_grad_(is_wanted); };

    const variable_list saved = context->get_saved_variables();
    variable_list inputs = {leaf(saved[0], context->needs_input_grad(0)), leaf(saved[1], context->needs_input_grad(1))};
    std::vector<at::Tensor> matrices;
    for (const at::Tensor& matrix : call.linear.TrainedMatrices(linears)) matrices.push_back(leaf(matrix, true));

    const at::AutoGradMode recorded(true);
    at::Tensor image = inputs[0], text = inputs[1];
    Modulation modulation = call.modulation;
    Run(call.block, call.linear.WithMatrices(linears, matrices), call.heads, modulation, {image, text},
        Wanted::kGradients);
    inputs.insert(inputs.end(), matrices.begin(), matrices.end());

    variable_list wanted;
    for (const at::Tensor& input : inputs) {
      if (input.requires_grad()) wanted.push_back(input);
    }
    const variable_list outputs = call.block.context_pre_only ? variable_list{image} : variable_list{image, text};
    variable_list found = torch::autograd::grad(outputs, wanted, gradients, /*retain_graph=*/false,
                                                /*create_graph=*/false, /*allow_unused=*/true);
    variable_list result;
    size_t next = 0;
    for (const at::Tensor& input : inputs) result.push_back(input.requires_grad() ? found[next++] : at::Tensor());
    result.emplace_back();  // of `call`
    return result;
  }
};

}  // namespace

void RunBlock(const JointBlock& block, const ActiveAdapter& linear, int64_t heads, Modulation& modulation,
              Streams streams) {
  Run(block, linear, heads, modulation, streams, Wanted::kOutputs);
}

void RunCheckpointedBlock(const JointBlock& block, const ActiveAdapter& linear, int64_t heads, Modulation& modulation,
                          Streams streams) {
  auto call = c10::make_intrusive<BlockCall>(block, linear, heads, modulation);
  const std::vector<at::Tensor> matrices = linear.TrainedMatrices(block.AdaptableLinears());
  const variable_list out =
      CheckpointedBlock::apply(streams.image, streams.text, at::TensorList(matrices), std::move(call));
  modulation.Skip((block.dual ? 9 : 6) + (block.context_pre_only ? 2 : 6));
  streams.image = out[0];
  if (!block.context_pre_only) streams.text = out[1];
}

}  // namespace flowawr
