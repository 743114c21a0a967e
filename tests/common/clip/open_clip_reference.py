"""OpenCLIP's CLIP (ViT image tower, CLIP's own text tower) in plain torch, with its parameter names: an independent
source for the tests that needs no torchvision. What the names mean: common/clip/clip_weights.h.

When it was written it took the weights of open_clip_torch 3.3.0's CLIP and gave its embeddings: of pictures to the bit,
of texts to 2e-6."""

import json
from collections import OrderedDict

import torch
from torch import nn


class QuickGELU(nn.Module):
    def forward(self, x):
        return x * torch.sigmoid(1.702 * x)


class Block(nn.Module):
    def __init__(self, width, heads, inner, activation):
        super().__init__()
        self.ln_1 = nn.LayerNorm(width)
        self.attn = nn.MultiheadAttention(width, heads, batch_first=True)
        self.ln_2 = nn.LayerNorm(width)
        self.mlp = nn.Sequential(OrderedDict(
            c_fc=nn.Linear(width, inner), gelu=activation(), c_proj=nn.Linear(inner, width)))

    def forward(self, x, mask):
        normed = self.ln_1(x)
        x = x + self.attn(normed, normed, normed, need_weights=False, attn_mask=mask)[0]
        return x + self.mlp(self.ln_2(x))


class Transformer(nn.Module):
    def __init__(self, width, layers, heads, ratio, activation):
        super().__init__()
        self.resblocks = nn.ModuleList(Block(width, heads, int(width * ratio), activation) for _ in range(layers))

    def forward(self, x, mask=None):
        for block in self.resblocks:
            x = block(x, mask)
        return x


class Visual(nn.Module):
    def __init__(self, embed_dim, activation, image_size, patch_size, width, layers, head_width=64, mlp_ratio=4.0):
        super().__init__()
        tokens = 1 + (image_size // patch_size) ** 2
        self.class_embedding = nn.Parameter(torch.empty(width))
        self.positional_embedding = nn.Parameter(torch.empty(tokens, width))
        self.proj = nn.Parameter(torch.empty(width, embed_dim))
        self.conv1 = nn.Conv2d(3, width, patch_size, patch_size, bias=False)
        self.ln_pre = nn.LayerNorm(width)
        self.transformer = Transformer(width, layers, width // head_width, mlp_ratio, activation)
        self.ln_post = nn.LayerNorm(width)

    def forward(self, pixels):
        patches = self.conv1(pixels).flatten(2).transpose(1, 2)
        first = self.class_embedding.expand(len(pixels), 1, -1)
        x = torch.cat([first, patches], 1) + self.positional_embedding
        return self.ln_post(self.transformer(self.ln_pre(x))[:, 0]) @ self.proj


class OpenClip(nn.Module):
    def __init__(self, config):
        super().__init__()
        activation = QuickGELU if config.get("quick_gelu") else nn.GELU
        text = config["text_cfg"]
        width = text["width"]
        self.positional_embedding = nn.Parameter(torch.empty(text["context_length"], width))
        self.text_projection = nn.Parameter(torch.empty(width, config["embed_dim"]))
        self.logit_scale = nn.Parameter(torch.tensor(4.3))
        self.visual = Visual(config["embed_dim"], activation, **config["vision_cfg"])
        self.transformer = Transformer(width, text["layers"], text["heads"], text.get("mlp_ratio", 4.0), activation)
        self.token_embedding = nn.Embedding(text["vocab_size"], width)
        self.ln_final = nn.LayerNorm(width)

    def encode_image(self, pixels):
        return self.visual(pixels.to(self.visual.proj.dtype))

    def encode_text(self, ids):
        length = ids.shape[1]
        mask = torch.full((length, length), float("-inf"), dtype=self.text_projection.dtype).triu(1)
        x = self.token_embedding(ids) + self.positional_embedding[:length]
        x = self.ln_final(self.transformer(x, mask))
        return x[torch.arange(len(ids)), ids.argmax(-1)] @ self.text_projection


def save_config(folder, config):
    with open(f"{folder}/open_clip_config.json", "w", encoding="utf-8") as file:
        json.dump({"model_cfg": config, "preprocess_cfg": {"mean": [0.48145466, 0.4578275, 0.40821073],
                                                           "std": [0.26862954, 0.26130258, 0.27577711]}}, file)
