"""Writes tokenizers and a JSON file of texts with the ids that transformers gives them.

usage: make_tokenizer_cases.py OUT_FOLDER PIPELINE_FOLDER
Cases: the tokenizers of PIPELINE_FOLDER, a CLIP tokenizer with a few thousand learnt merges, and a T5 Unigram model
trained here with sentencepiece; each as transformers loads it, from Unicode of every kind.
"""
import json
import os
import random
import sys
import unicodedata

import sentencepiece
from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from transformers import CLIPTokenizer, T5Tokenizer

out, pipeline = sys.argv[1:]
random.seed(7)

HAND_MADE = [
    "", " ", "\n\t \r", "a", "!", "!!", "a!b !", 'a sign that says "CAT"', "don't can't we're I've I'm he'll she'd it's 's 'S",
    "a'sb 'st ''s !'s", "caf\u00e9 cafe\u0301", "\u0130stanbul STRASSE \u00df \u03a3\u03b1\u03c3 \u03a3", "\u1e9e \u01c5 \ufb01 \u2460 \u00bd",
    "\U0001f600 \U0001f468\u200d\U0001f469\u200d\U0001f467\u200d\U0001f466 \U0001f1e9\U0001f1ea \u2764\ufe0f", "\u65e5\u672c\u8a9e \ud55c\uad6d\uc5b4 \u1112\u1161\u11ab",
    "\u0627\u0644\u0639\u0631\u0628\u064a\u0629 \u0e20\u0e32\u0e29\u0e32\u0e44\u0e17\u0e22 \u0939\u093f\u0928\u094d\u0926\u0940 \u05e2\u05d1\u05e8\u05d9\u05ea", "x\u00a0y\u2003z\u3000w\u200bv\u2028u\u0085t",
    "\x00a\x01b\x1fc\x7fd\x80e", "<|endoftext|> <|startoftext|>x<|ENDOFTEXT|>!!", "!!<|endoftext|>!!<|StartOfText|><|endoftext|>",
    "</s> <pad><unk> <extra_id_0>a <extra_id_99> <extra_id_100> </S>", "\u2581a\u2581\u2581b \u2581 c\u2581", "1234 12.5 \u0661\u0662 \u2167 \u00b2",
    "a" * 500, "!?" * 300, "ab cd " * 200, "e\u0301\u0301\u0301 a\u0308\u0323 \u0323\u0308", "\uff21\uff22\uff23 \uff71\uff76\uff9e", "\ufeffbom \ufffd \ufffe",
    "tab\tsep  two   three", "  lead and trail  ", "[x](y) {z} #tag @me $5 100% ~/a_b-c", "A\u030a \u212b \u2126 \u1e9b\u0323",
]
RANGES = [(0x20, 0x7F)] * 6 + [(0, 0x20), (0x80, 0x250), (0x250, 0x370), (0x370, 0x530), (0x590, 0x780), (0x900, 0xE80), (0x1100, 0x1200),
          (0x1E00, 0x2000), (0x2000, 0x2300), (0x2460, 0x2800), (0x3000, 0x3400), (0x4E00, 0x9FA6), (0xAC00, 0xD7A4),
          (0xF900, 0xFB50), (0xFE00, 0xFFF0), (0x1D400, 0x1D800), (0x1F300, 0x1FA00), (0x300, 0x370)]
SNIPPETS = ["<|endoftext|>", "</s>", "<pad>", "!", "'s", "'ll", " ", "  ", "\n", "sign", "that says", '"', "e\u0301", "\u2581", "\U0001f468\u200d\U0001f469"]


def is_old(character):
    """Unassigned in an older Unicode is left out: its class depends on which library is newer."""
    return unicodedata.category(character) not in ("Cn", "Cs") and unicodedata.ucd_3_2_0.category(character) != "Cn"


def random_text():
    parts = []
    for _ in range(random.randint(1, 24)):
        if random.random() < 0.25:
            parts.append(random.choice(SNIPPETS))
            continue
        low, high = random.choice(RANGES)
        parts.append("".join(c for c in (chr(random.randrange(low, high)) for _ in range(random.randint(1, 6))) if is_old(c)))
    return "".join(parts)


texts = HAND_MADE + [random_text() for _ in range(1500)]
corpus = [open(__file__, encoding="utf-8").read(), *texts[len(HAND_MADE):],
          *open(os.path.join(pipeline, "prompts/train.txt"), encoding="utf-8").read().split("\n")[:300]]
cases = []


def add(name, tokenizer, folder, lengths):
    for length in lengths:
        ids = [tokenizer(text, padding="max_length", max_length=length, truncation=True).input_ids for text in texts]
        cases.append({"name": f"{name}, {length} tokens", "folder": folder, "max_length": length, "ids": ids})


add("tokenizer", CLIPTokenizer.from_pretrained(f"{pipeline}/tokenizer"), f"{pipeline}/tokenizer", [12, 300])
add("tokenizer_2", CLIPTokenizer.from_pretrained(f"{pipeline}/tokenizer_2"), f"{pipeline}/tokenizer_2", [12, 300])
add("tokenizer_3", T5Tokenizer.from_pretrained(f"{pipeline}/tokenizer_3"), f"{pipeline}/tokenizer_3", [32, 300])

# CLIP with thousands of merges, one of whose special tokens is looked for in normalized text, as in SD3.5's folder.
alphabet = pre_tokenizers.ByteLevel.alphabet()
bpe = Tokenizer(models.BPE(end_of_word_suffix="</w>"))
bpe.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), pre_tokenizers.ByteLevel(add_prefix_space=False)])
bpe.train_from_iterator([text.lower() for text in corpus], trainers.BpeTrainer(
    vocab_size=4000, initial_alphabet=alphabet, end_of_word_suffix="</w>", special_tokens=[], show_progress=False))
state = json.loads(bpe.to_str())["model"]
vocab = dict(state["vocab"])
for token in [*alphabet, *(c + "</w>" for c in alphabet), "<|startoftext|>", "<|endoftext|>"]:
    vocab.setdefault(token, len(vocab))
folder = os.path.join(out, "clip")
os.makedirs(folder)
with open(f"{folder}/vocab.json", "w", encoding="utf-8") as file:
    json.dump(vocab, file)
with open(f"{folder}/merges.txt", "w", encoding="utf-8") as file:
    file.write("#version: 0.2\n" + "".join(" ".join(merge) + "\n" for merge in state["merges"]))
flags = {"lstrip": False, "rstrip": False, "single_word": False, "special": True}
with open(f"{folder}/tokenizer_config.json", "w", encoding="utf-8") as file:
    json.dump({"tokenizer_class": "CLIPTokenizer", "model_max_length": 77, "pad_token": "!", "bos_token": "<|startoftext|>",
               "eos_token": "<|endoftext|>", "unk_token": "<|endoftext|>", "added_tokens_decoder": {
                   str(vocab["!"]): {"content": "!", "normalized": False, **flags},
                   str(vocab["<|startoftext|>"]): {"content": "<|startoftext|>", "normalized": True, **flags},
                   str(vocab["<|endoftext|>"]): {"content": "<|endoftext|>", "normalized": False, **flags}}}, file)
add("learnt CLIP", CLIPTokenizer.from_pretrained(folder), folder, [77, 400])

# T5 with a learnt Unigram model and the usual hundred sentinels.
folder = os.path.join(out, "t5")
t5_corpus = [text for text in corpus if text not in texts] + texts[: len(HAND_MADE) + 60]
os.makedirs(folder)
with open(f"{folder}/corpus.txt", "w", encoding="utf-8") as file:
    file.write("\n".join(" ".join(text.replace("\x00", "").split()) for text in t5_corpus if text.strip()))
sentencepiece.SentencePieceTrainer.train(
    input=f"{folder}/corpus.txt", model_prefix=f"{folder}/spiece", vocab_size=2500, model_type="unigram", pad_id=0, eos_id=1,
    unk_id=2, bos_id=-1, pad_piece="<pad>", eos_piece="</s>", unk_piece="<unk>", hard_vocab_limit=False,
    character_coverage=0.98, normalization_rule_name="nmt_nfkc", minloglevel=2, num_threads=1)
with open(f"{folder}/tokenizer_config.json", "w", encoding="utf-8") as file:
    json.dump({"tokenizer_class": "T5Tokenizer", "model_max_length": 512, "extra_ids": 100, "eos_token": "</s>",
               "unk_token": "<unk>", "pad_token": "<pad>"}, file)
add("learnt T5", T5Tokenizer.from_pretrained(folder), folder, [64, 400])

with open(f"{out}/cases.json", "w") as file:
    json.dump({"texts": texts, "cases": cases}, file)
