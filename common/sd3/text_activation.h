// The activation functions of the text encoders, by transformers' names.
#pragma once

#include <ATen/core/Tensor.h>

#include <string>

namespace flowawr {

using TextActivation = at::Tensor (*)(const at::Tensor&);

// "quick_gelu", "gelu", "gelu_new", "gelu_pytorch_tanh", "relu" or "silu"; null for another name.
TextActivation TextActivationByName(const std::string& name);

}  // namespace flowawr
