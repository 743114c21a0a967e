"""Tokenizers like the published ones, trained here: files that transformers' CLIPTokenizer and T5Tokenizer load."""
import json
import os

import sentencepiece
from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, trainers


def write_json(path, value):
    with open(path, "w", encoding="utf-8") as file:
        json.dump(value, file)


def train_clip(folder, corpus, size, pad_token="!"):
    """Byte-level BPE by CLIP's rules, the same one every time for a corpus. One of its special tokens is looked for in
    normalized text, as in SD3.5's folder."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    bpe = Tokenizer(models.BPE(end_of_word_suffix="</w>"))
    bpe.normalizer = normalizers.Sequence([normalizers.NFC(), normalizers.Replace(Regex(r"\s+"), " "),
                                           normalizers.Lowercase()])
    bpe.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"), "removed",
                             invert=True),
        pre_tokenizers.ByteLevel(add_prefix_space=False)])
    # The trainer numbers the ends of words in the order of a hash map, and breaks ties by number: they get theirs here.
    words = [word for text in corpus
             for word, _ in bpe.pre_tokenizer.pre_tokenize_str(bpe.normalizer.normalize_str(text))]
    ends = sorted({word[-1] + "</w>" for word in words})
    bpe.train_from_iterator(corpus, trainers.BpeTrainer(
        vocab_size=size, initial_alphabet=alphabet, end_of_word_suffix="</w>", special_tokens=ends,
        show_progress=False))
    state = json.loads(bpe.to_str())["model"]
    vocab = dict(state["vocab"])
    for token in [*alphabet, *(c + "</w>" for c in alphabet), "<|startoftext|>", "<|endoftext|>"]:
        vocab.setdefault(token, len(vocab))
    os.makedirs(folder)
    write_json(f"{folder}/vocab.json", vocab)
    with open(f"{folder}/merges.txt", "w", encoding="utf-8") as file:
        file.write("#version: 0.2\n" + "".join(" ".join(merge) + "\n" for merge in state["merges"]))

    def added(token, normalized=False):
        return {str(vocab[token]): {"content": token, "normalized": normalized, "lstrip": False, "rstrip": False,
                                    "single_word": False, "special": True}}

    write_json(f"{folder}/tokenizer_config.json", {
        "tokenizer_class": "CLIPTokenizer", "model_max_length": 77, "pad_token": pad_token,
        "bos_token": "<|startoftext|>",
        "eos_token": "<|endoftext|>", "unk_token": "<|endoftext|>",
        "added_tokens_decoder": {**added(pad_token), **added("<|startoftext|>", True), **added("<|endoftext|>")}})
    return vocab


def train_t5(folder, corpus, size):
    """Unigram by T5's rules, with the usual hundred sentinels. Returns the number of ids."""
    os.makedirs(folder)
    with open(f"{folder}/corpus.txt", "w", encoding="utf-8") as file:
        file.write("\n".join(" ".join(text.replace("\x00", "").split()) for text in corpus if text.strip()))
    sentencepiece.SentencePieceTrainer.train(
        input=f"{folder}/corpus.txt", model_prefix=f"{folder}/spiece", vocab_size=size, model_type="unigram", pad_id=0,
        eos_id=1, unk_id=2, bos_id=-1, pad_piece="<pad>", eos_piece="</s>", unk_piece="<unk>", hard_vocab_limit=False,
        character_coverage=0.98, normalization_rule_name="nmt_nfkc", minloglevel=2, num_threads=1)
    write_json(f"{folder}/tokenizer_config.json", {
        "tokenizer_class": "T5Tokenizer", "model_max_length": 512, "extra_ids": 100, "eos_token": "</s>",
        "unk_token": "<unk>", "pad_token": "<pad>"})
    return sentencepiece.SentencePieceProcessor(model_file=f"{folder}/spiece.model").get_piece_size() + 100
