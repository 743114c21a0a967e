"""The pipeline's parts, in the classes and file formats of the real Stable Diffusion 3 pipeline, at toy size."""

import io
import json
import os
import shutil

import sentencepiece
import torch
from diffusers import AutoencoderKL, FlowMatchEulerDiscreteScheduler, SD3Transformer2DModel, StableDiffusion3Pipeline
from sentencepiece import sentencepiece_model_pb2
from transformers import (CLIPTextConfig, CLIPTextModelWithProjection, CLIPTokenizer, T5Config, T5EncoderModel,
                          T5Tokenizer)



def split_word(word, merges):
    """CLIP's byte-pair encoding of one word: the merge that comes first in the list is done first."""
    parts, ranks = [*word[:-1], word[-1] + "</w>"], {pair: i for i, pair in enumerate(merges)}
    while pairs := [(ranks[pair], i) for i, pair in enumerate(zip(parts, parts[1:])) if pair in ranks]:
        _, i = min(pairs)
        parts[i : i + 2] = [parts[i] + parts[i + 1]]
    return parts


def merges_of(words):
    """Merges that make each of these words one token, with few merges of two letters, which fire in other words too."""
    merges = []
    for word in words:
        while len(parts := split_word(word, merges)) > 1:
            pairs = list(zip(parts, parts[1:]))
            merges.append(max(pairs, key=lambda pair: len("".join(pair).replace("</w>", ""))))
    return merges


def _byte_symbols():
    """CLIP's printable stand-ins for the 256 bytes (the GPT-2 table)."""
    kept = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    table, extra = {b: chr(b) for b in kept}, 0
    for byte in range(256):
        if byte not in table:
            table[byte] = chr(256 + extra)
            extra += 1
    return [table[b] for b in [*kept, *(b for b in range(256) if b not in kept)]]


def write_clip_tokenizer(folder, merges, pad_token, length):
    symbols = _byte_symbols()
    tokens = symbols + [s + "</w>" for s in symbols] + [a + b for a, b in merges]
    tokens += ["<|startoftext|>", "<|endoftext|>"]
    shutil.rmtree(folder, ignore_errors=True)  # an earlier tokenizer.json would win over what is written here
    os.makedirs(folder)
    vocab, merges_file = f"{folder}/vocab.json", f"{folder}/merges.txt"
    with open(vocab, "w", encoding="utf-8") as file:
        json.dump({token: i for i, token in enumerate(tokens)}, file, ensure_ascii=False)
    with open(merges_file, "w", encoding="utf-8") as file:
        file.write("#version: 0.2\n" + "".join(f"{a} {b}\n" for a, b in merges))
    tokenizer = CLIPTokenizer.from_pretrained(folder, pad_token=pad_token, model_max_length=length)
    tokenizer.save_pretrained(folder)
    return CLIPTokenizer.from_pretrained(folder)


def write_t5_tokenizer(folder, world):
    """A Unigram model whose pieces are the templates' words and single characters, each as likely as needed to win."""
    os.makedirs(folder, exist_ok=True)
    model = f"{folder}/spiece.model"
    trained = io.BytesIO()  # for the trainer and normaliser settings of a real spiece.model
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(world.T5_SAMPLE), model_writer=trained,
        model_type="unigram", vocab_size=40, hard_vocab_limit=False, pad_id=0, eos_id=1, unk_id=2, bos_id=-1,
        pad_piece="<pad>", eos_piece="</s>", unk_piece="<unk>", minloglevel=2)
    proto = sentencepiece_model_pb2.ModelProto.FromString(trained.getvalue())
    del proto.pieces[3:]
    for word in world.T5_WORDS:
        proto.pieces.add(piece="▁" + word, score=-2.0)
    for piece in ["▁", *map(chr, range(ord("!"), ord("~") + 1))]:
        proto.pieces.add(piece=piece, score=-5.0)
    proto.trainer_spec.vocab_size = len(proto.pieces)
    with open(model, "wb") as file:
        file.write(proto.SerializeToString())
    tokenizer = T5Tokenizer.from_pretrained(folder, extra_ids=0, model_max_length=512)
    tokenizer.save_pretrained(folder)
    return T5Tokenizer.from_pretrained(folder)


def make_vae(world):
    return AutoencoderKL(
        block_out_channels=(16, 32, 48), down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3, layers_per_block=1, latent_channels=8, norm_num_groups=8,
        mid_block_add_attention=False, use_quant_conv=False, use_post_quant_conv=False, sample_size=world.WIDTH,
        scaling_factor=1.0, shift_factor=0.0)


def make_text_encoders(clip_vocab, eos, t5_vocab, length):
    def clip(activation, pad):
        return CLIPTextModelWithProjection(CLIPTextConfig(
            vocab_size=clip_vocab, hidden_size=32, intermediate_size=128, num_hidden_layers=2, num_attention_heads=4,
            projection_dim=32, max_position_embeddings=length, hidden_act=activation, initializer_factor=10.0,
            bos_token_id=eos - 1, eos_token_id=eos, pad_token_id=pad))
    t5 = T5EncoderModel(T5Config(
        vocab_size=t5_vocab, d_model=64, d_kv=16, d_ff=128, num_layers=2, num_heads=4, feed_forward_proj="gated-gelu",
        pad_token_id=0, eos_token_id=1, dropout_rate=0.0))
    return clip("quick_gelu", eos), clip("gelu", 0), t5


def make_transformer(world):
    return SD3Transformer2DModel(
        patch_size=2, in_channels=8, out_channels=8, num_attention_heads=4,
        attention_head_dim=32, joint_attention_dim=64, caption_projection_dim=128, pooled_projection_dim=64,
        pos_embed_max_size=16, qk_norm="rms_norm", **world.TRANSFORMER)


def make_pipeline(folder, world):
    """An untrained pipeline; tokenizer files are written below `folder` first."""
    length = world.TEXT_LENGTH
    clip_1 = write_clip_tokenizer(f"{folder}/tokenizer", world.CLIP_MERGES, "<|endoftext|>", length)
    clip_2 = write_clip_tokenizer(f"{folder}/tokenizer_2", world.CLIP_MERGES, "!", length)
    t5_tokenizer = write_t5_tokenizer(f"{folder}/tokenizer_3", world)
    text_1, text_2, text_3 = make_text_encoders(len(clip_1), clip_1.eos_token_id, len(t5_tokenizer), length)
    return StableDiffusion3Pipeline(
        transformer=make_transformer(world), scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0), vae=make_vae(world),
        text_encoder=text_1, tokenizer=clip_1, text_encoder_2=text_2, tokenizer_2=clip_2, text_encoder_3=text_3,
        tokenizer_3=t5_tokenizer)


def tokenize(pipeline, prompts):
    """Token ids for the three encoders, as StableDiffusion3Pipeline.encode_prompt makes them."""
    length = pipeline.tokenizer.model_max_length
    clip = [t(prompts, padding="max_length", max_length=length, truncation=True, return_tensors="pt").input_ids
            for t in (pipeline.tokenizer, pipeline.tokenizer_2)]
    t5 = pipeline.tokenizer_3(prompts, padding="max_length", max_length=length, truncation=True,
                              add_special_tokens=True, return_tensors="pt").input_ids
    return clip[0], clip[1], t5


def encode(pipeline, ids):
    """(prompt_embeds [B, CLIP's tokens + T5's, 64], pooled [B, 64]); differentiable."""
    first = pipeline.text_encoder(ids[0], output_hidden_states=True)
    second = pipeline.text_encoder_2(ids[1], output_hidden_states=True)
    t5 = pipeline.text_encoder_3(ids[2]).last_hidden_state
    clip = torch.cat([first.hidden_states[-2], second.hidden_states[-2]], dim=-1)
    clip = torch.nn.functional.pad(clip, (0, t5.shape[-1] - clip.shape[-1]))
    return torch.cat([clip, t5], dim=1), torch.cat([first.text_embeds, second.text_embeds], dim=-1)
