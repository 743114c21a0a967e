"""Makes small random text encoders with transformers and runs them. usage: OUT_FOLDER

Each OUT_FOLDER/NAME is a model folder with expected.safetensors beside it: the ids and what the model gives for them,
in f32 and (..._bf16) in bf16."""
import sys

import bf16_products  # noqa: F401
import torch
import transformers
from safetensors.torch import save_file
from transformers import CLIPTextConfig, CLIPTextModelWithProjection, T5Config, T5EncoderModel

torch.manual_seed(11)
torch.set_num_threads(1)
transformers.logging.disable_progress_bar()


def save(name, model, ids, compute):
    folder = f"{sys.argv[1]}/{name}"
    model.save_pretrained(folder)
    low = type(model).from_pretrained(folder, dtype=torch.bfloat16)
    results = {**compute(model), **{f"{key}_bf16": value.float() for key, value in compute(low).items()}}
    save_file({"ids": ids, **{key: value.contiguous() for key, value in results.items()}},
              f"{folder}/expected.safetensors")


def randomise(model):
    """Away from initial values that hide mistakes: norms of ones, biases of zeros."""
    for name, parameter in model.named_parameters():
        std = min(0.2, parameter.shape[-1] ** -0.5)
        torch.nn.init.normal_(parameter, mean=1.0 if "norm" in name and name.endswith("weight") else 0.0, std=std)
    return model.eval()


@torch.no_grad()
def clip(name, ids, **fields):
    config = CLIPTextConfig(**{"vocab_size": 40, "hidden_size": 24, "intermediate_size": 56, "projection_dim": 20,
                               "num_hidden_layers": 3, "num_attention_heads": 3, "max_position_embeddings": 16,
                               "bos_token_id": 38, "eos_token_id": 39, "pad_token_id": 0, **fields})
    model = randomise(CLIPTextModelWithProjection(config))

    def compute(model):
        output = model(ids, output_hidden_states=True)
        return {"hidden": output.hidden_states[-2], "pooled": output[0]}

    save(name, model, ids, compute)


@torch.no_grad()
def t5(name, ids, **fields):
    config = T5Config(**{"vocab_size": 50, "d_model": 24, "d_kv": 10, "d_ff": 40, "num_layers": 3, "num_heads": 3,
                         **fields})
    model = randomise(T5EncoderModel(config))
    save(name, model, ids, lambda model: {"hidden": model(ids)[0]})


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
ids = torch.randint(1, 500, (6, 77))
for row, end in enumerate((76, 1, 20, 50, 8, 33)):
    ids[row, end:] = 499
published = dict(vocab_size=500, hidden_size=192, intermediate_size=768, projection_dim=192, num_hidden_layers=6,
                 max_position_embeddings=77, eos_token_id=499)
clip("clip_l_like", ids, hidden_act="quick_gelu", **published)
clip("clip_g_like", ids, hidden_act="gelu", **published)

ids = torch.randint(0, 50, (3, 40))
ids[0, 6:] = 0
t5("t5_plain", ids, feed_forward_proj="relu")
t5("t5_gated", ids, feed_forward_proj="gated-gelu")
t5("t5_gated_silu", ids, feed_forward_proj="gated-silu", layer_norm_epsilon=1e-3)
t5("t5_few_buckets", ids, relative_attention_num_buckets=8, relative_attention_max_distance=20, num_layers=1)
t5("t5_far", torch.randint(0, 50, (1, 300)), num_layers=2)
t5("t5_xxl_like", torch.randint(0, 50, (4, 256)), d_model=192, d_kv=64, d_ff=480, num_layers=4, num_heads=4,
   feed_forward_proj="gated-gelu")
