"""Makes small random text encoders with transformers and runs them. usage: OUT_FOLDER

Each OUT_FOLDER/NAME is a model folder with expected.safetensors beside it: the ids and what the model gives for them."""
import sys

import torch
from safetensors.torch import save_file
from transformers import CLIPTextConfig, CLIPTextModelWithProjection, T5Config, T5EncoderModel

torch.manual_seed(11)


def save(name, model, ids, **outputs):
    folder = f"{sys.argv[1]}/{name}"
    model.save_pretrained(folder)
    save_file({"ids": ids, **{key: value.contiguous() for key, value in outputs.items()}}, f"{folder}/expected.safetensors")


def randomise(model):
    """Away from initial values that hide mistakes: norms of ones, biases of zeros."""
    for name, parameter in model.named_parameters():
        torch.nn.init.normal_(parameter, mean=1.0 if "norm" in name and name.endswith("weight") else 0.0, std=0.2)
    return model.eval()


@torch.no_grad()
def clip(name, ids, **fields):
    config = CLIPTextConfig(**{"vocab_size": 40, "hidden_size": 24, "intermediate_size": 56, "projection_dim": 20,
                               "num_hidden_layers": 3, "num_attention_heads": 3, "max_position_embeddings": 16,
                               "bos_token_id": 38, "eos_token_id": 39, "pad_token_id": 0, **fields})
    model = randomise(CLIPTextModelWithProjection(config))
    output = model(ids, output_hidden_states=True)
    save(name, model, ids, hidden=output.hidden_states[-2], pooled=output[0])


@torch.no_grad()
def t5(name, ids, **fields):
    config = T5Config(**{"vocab_size": 50, "d_model": 24, "d_kv": 10, "d_ff": 40, "num_layers": 3, "num_heads": 3, **fields})
    model = randomise(T5EncoderModel(config))
    save(name, model, ids, hidden=model(ids)[0])


ids = torch.randint(1, 37, (4, 16))
ids[:, 0] = 38
ids[0, 5:] = 39   # padded with the end-of-text token
ids[1, 9] = 39    # padded with others
ids[2, 15] = 39   # ends at the very end
ids[3, 1:] = 39   # an empty prompt
clip("clip_quick_gelu", ids, hidden_act="quick_gelu")
clip("clip_gelu", ids, hidden_act="gelu", layer_norm_eps=1e-3)
clip("clip_short", ids[:, :10].contiguous(), hidden_act="gelu")
clip("clip_one_layer", ids, num_hidden_layers=1)
clip("clip_legacy_eos", ids, eos_token_id=2)  # the pooled token is the one with the highest id, whatever 2 means
low_eos = torch.where(ids == 39, 7, ids)      # the end-of-text token is not the highest one
clip("clip_low_eos", low_eos, eos_token_id=7)

ids = torch.randint(0, 50, (3, 40))
ids[0, 6:] = 0
t5("t5_plain", ids, feed_forward_proj="relu")
t5("t5_gated", ids, feed_forward_proj="gated-gelu")
t5("t5_gated_silu", ids, feed_forward_proj="gated-silu", layer_norm_epsilon=1e-3)
t5("t5_few_buckets", ids, relative_attention_num_buckets=8, relative_attention_max_distance=20, num_layers=1)
t5("t5_far", torch.randint(0, 50, (1, 300)), num_layers=2)
