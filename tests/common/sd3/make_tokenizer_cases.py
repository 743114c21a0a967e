"""Writes tokenizers and a JSON file of texts with the ids that transformers gives them.

usage: make_tokenizer_cases.py OUT_FOLDER PIPELINE_FOLDER
Cases: the tokenizers of PIPELINE_FOLDER, a CLIP tokenizer with thousands of merges and a T5 Unigram model, both trained
here; each as transformers loads it, from Unicode of every kind. "cases" have padded ids of the first texts, cut to
several lengths; "whole" has ids of all texts without padding.
"""
import json
import os
import random
import sys

from learnt_tokenizers import train_clip, train_t5
from transformers import CLIPTokenizer, T5Tokenizer

out, pipeline = sys.argv[1:]
random.seed(7)

HAND_MADE = [
    "", " ", "\n\t \r", "a", "!", "!!", "a!b !", 'a sign that says "CAT"',
    "don't can't we're I've I'm he'll she'd it's 's 'S",
    "a'sb 'st ''s !'s", "caf\u00e9 cafe\u0301", "\u0130stanbul STRASSE \u00df \u03a3\u03b1\u03c3 \u03a3",
    "\u1e9e \u01c5 \ufb01 \u2460 \u00bd",
    "\U0001f600 \U0001f468\u200d\U0001f469\u200d\U0001f467\u200d\U0001f466 \U0001f1e9\U0001f1ea \u2764\ufe0f",
    "\u65e5\u672c\u8a9e \ud55c\uad6d\uc5b4 \u1112\u1161\u11ab",
    "\u0627\u0644\u0639\u0631\u0628\u064a\u0629 \u0e20\u0e32\u0e29\u0e32\u0e44\u0e17\u0e22 "
    "\u0939\u093f\u0928\u094d\u0926\u0940 \u05e2\u05d1\u05e8\u05d9\u05ea",
    "x\u00a0y\u2003z\u3000w\u200bv\u2028u\u0085t",
    "\x00a\x01b\x1fc\x7fd\x80e", "<|endoftext|> <|startoftext|>x<|ENDOFTEXT|>!!",
    "!!<|endoftext|>!!<|StartOfText|><|endoftext|>",
    "</s> <pad><unk> <extra_id_0>a <extra_id_99> <extra_id_100> </S>", "\u2581a\u2581\u2581b \u2581 c\u2581",
    "1234 12.5 \u0661\u0662 \u2167 \u00b2",
    "a" * 500, "!?" * 300, "ab cd " * 200, "e\u0301\u0301\u0301 a\u0308\u0323 \u0323\u0308",
    "\uff21\uff22\uff23 \uff71\uff76\uff9e", "\ufeffbom \ufffd \ufffe",
    "tab\tsep  two   three", "  lead and trail  ", "[x](y) {z} #tag @me $5 100% ~/a_b-c",
    "A\u030a \u212b \u2126 \u1e9b\u0323",
]
RANGES = [(0x20, 0x7F)] * 6 + [(0, 0x20), (0x80, 0x250), (0x250, 0x370), (0x370, 0x530), (0x590, 0x780), (0x900, 0xE80),
                               (0x1100, 0x1200),
          (0x1E00, 0x2000), (0x2000, 0x2300), (0x2460, 0x2800), (0x3000, 0x3400), (0x4E00, 0x9FA6), (0xAC00, 0xD7A4),
          (0xF900, 0xFB50), (0xFE00, 0xFFF0), (0x1D400, 0x1D800), (0x1F300, 0x1FA00), (0x300, 0x370)]
SNIPPETS = ["<|endoftext|>", "</s>", "<pad>", "!", "'s", "'ll", " ", "  ", "\n", "sign", "that says", '"', "e\u0301",
            "\u2581", "\U0001f468\u200d\U0001f469"]


SCRIPTS = [  # words are drawn from one alphabet
    "abcdefghijklmnopqrstuvwxyz", "ABCDEFGHIJKLMNOPQRSTUVWXYZ",
    "\u00e0\u00e9\u00ee\u00f5\u00fc\u00df\u0131\u0130iI\u0307\u1e9e\u017f\ufb03\u01c4\u01c5\u01c6\u0149",
    "\u03b1\u03b2\u03b3\u03c3\u03c2\u03a3\u0391\u0390\u0345\u1fb3\u1fbc",
    "\u0430\u0431\u0432\u0451\u0401\u0419\u0438\u0306", "\u0561\u0587\u0531\u10d0\u1c90\u13a0\uab70",
    "\u05e9\u05b8\u05c1\u05dc\u05b9\u05d5\u05dd",
    "\u0627\u0644\u0633\u0651\u064e\u0644\u0627\u0645\u200c\u0640\u0660\u06f1",
    "\u0915\u094d\u0937\u093f\u0928\u093c\u0949\u0958\u0966",
    "\u0e01\u0e33\u0e49\u0e40\u0e32\u0e54", "\u0f40\u0f71\u0f72\u0f74\u0f0b", "\u1100\u1161\u11a8\uac00\uac01\ud7a3",
    "\u30ab\u3099\u304b\u309a\uff76\uff9e\u30fc\u3005\u4e2d\u6587\u5b57\u3400\U00020000",
    "0123456789\u0967\u2167\u00bd\u00b2\u2460\U0001d7d8", ".,;:!?'\"-_()[]{}<>|/\\@#$%^&*+=~`",
    "\u2018\u2019\u201c\u201d\u2013\u2014\u2026\u00a1\u00bf\u3002\uff01",
    "\u0300\u0301\u0308\u0323\u0327\u0338\u0345\u05b0\u0e38\u3099\u20d0\ufe20\U0001d165",
    "\U00010400\U00010428\U0001e900\U0001e922\u1e00\u24b6\u24d0\u212a\u2126\u212b",
]
EMOJI = ["\U0001f600", "\u2764", "\u2764\ufe0f", "\U0001f44d\U0001f3fd", "\U0001f468\u200d\U0001f469\u200d\U0001f467",
         "\U0001f1e9\U0001f1ea", "\U0001f1e9",
         "\U0001f3f4\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f", "1\ufe0f\u20e3", "\u200d", "\ufe0e",
         "\U0001f9d1\U0001f3ff\u200d\U0001f680", "\U0001faf7"]
SPACES = [" ", "  ", "\t", "\n", "\r\n", "\x0b", "\x0c", "\x1c", "\x1f", "\x85", "\u00a0", "\u1680", "\u180e", "\u2000",
          "\u2009", "\u200b", "\u2028", "\u2029",
          "\u202f", "\u205f", "\u2060", "\u3000", "\ufeff", "\u00ad"]
CASES = ["\u0130", "\u0131", "I\u0307", "stra\u00dfe", "STRASSE", "\ufb03", "\ufb05", "\u01c5", "\u03a3\u03a3",
         "\u1e9e", "\u1f88", "\u0149", "\u1e96", "\u212a", "\u2126"]
TOKENS = ["<|endoftext|>", "<|startoftext|>", "<|EndOfText|>", "<|endoftext", "</s>", "<pad>", "<unk>", "<extra_id_0>",
          "<extra_id_99>", "!", "</S>", "</w>", "\u0120"]


def random_text():
    """Assigned characters of many blocks."""
    parts = []
    for _ in range(random.randint(1, 24)):
        if random.random() < 0.25:
            parts.append(random.choice(SNIPPETS))
            continue
        low, high = random.choice(RANGES)
        parts.append("".join(chr(random.randrange(low, high)) for _ in range(random.randint(1, 6))))
    return without_surrogates("".join(parts))


def random_part(words):
    kind = random.random()
    if kind < 0.2:
        return random.choice(words)
    if kind < 0.5:
        alphabet = random.choice(SCRIPTS)
        return "".join(random.choice(alphabet) for _ in range(random.randint(1, 8)))
    if kind < 0.6:
        return random.choice(EMOJI)
    if kind < 0.72:
        return random.choice(SPACES)
    if kind < 0.77:
        return random.choice(CASES)
    if kind < 0.82:
        return random.choice(TOKENS)
    if kind < 0.88:  # whatever plane: assigned, unassigned, private
        return chr(random.choice([random.randrange(0x110000), random.randrange(0x20000), random.randrange(0x3000)]))
    if kind < 0.92:
        return chr(random.choice([*range(0x20), 0x7F, *range(0x80, 0xA0), *range(0x2066, 0x2070), 0xFFF9, 0xFFFD,
                                  0xFFFF]))
    base = chr(random.randrange(0x41, 0x250))
    return base + "".join(random.choice(SCRIPTS[-2]) for _ in range(random.randint(1, 4)))


def mixed_text(words):
    parts = [random_part(words) for _ in range(random.choice([1, 2, 3, 3, 5, 5, 8, 12]))]
    return without_surrogates(random.choice(["", "", " "]).join(parts))


def without_surrogates(text):
    return "".join(c for c in text if not 0xD800 <= ord(c) < 0xE000)


prompts = open(os.path.join(pipeline, "prompts/train.txt"), encoding="utf-8").read().split("\n")[:300]
words = sorted({word for text in [*prompts, open(__file__, encoding="utf-8").read()] for word in text.split()})
texts = HAND_MADE + [random_text() for _ in range(1500)]
padded = len(texts)
texts += [mixed_text(words) for _ in range(20000)] + [mixed_text(words) * 40 for _ in range(60)]
corpus = [open(__file__, encoding="utf-8").read(), *texts[len(HAND_MADE):padded], *texts[padded::2], *prompts]
cases = []
whole = []


def add(name, tokenizer, folder, lengths):
    for length in lengths:
        ids = tokenizer(texts[:padded], padding="max_length", max_length=length, truncation=True).input_ids
        cases.append({"name": f"{name}, {length} tokens", "folder": folder, "max_length": length, "ids": ids})
    ids = tokenizer(texts, truncation=True, max_length=lengths[-1]).input_ids
    whole.append({"name": name, "folder": folder, "class": type(tokenizer).__name__, "max_length": lengths[-1],
                  "pad": tokenizer.pad_token_id, "ids": ids})


add("tokenizer", CLIPTokenizer.from_pretrained(f"{pipeline}/tokenizer"), f"{pipeline}/tokenizer", [12, 300])
add("tokenizer_2", CLIPTokenizer.from_pretrained(f"{pipeline}/tokenizer_2"), f"{pipeline}/tokenizer_2", [12, 300])
add("tokenizer_3", T5Tokenizer.from_pretrained(f"{pipeline}/tokenizer_3"), f"{pipeline}/tokenizer_3", [32, 300])

train_clip(f"{out}/clip", corpus, 8000)
add("learnt CLIP", CLIPTokenizer.from_pretrained(f"{out}/clip"), f"{out}/clip", [77, 400])
train_t5(f"{out}/t5", [corpus[0], *prompts, *texts[: len(HAND_MADE) + 60], *texts[padded::20]], 6000)
add("learnt T5", T5Tokenizer.from_pretrained(f"{out}/t5"), f"{out}/t5", [64, 400])

with open(f"{out}/cases.json", "w") as file:
    json.dump({"texts": texts, "cases": cases, "whole": whole}, file)
