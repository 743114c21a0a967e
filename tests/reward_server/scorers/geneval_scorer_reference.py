"""A small random Mask2Former, a small random CLIP, pictures, and what GenEval's pipeline in plain Python says of them.

usage: geneval_scorer_reference.py FOLDER

FOLDER has `detector` and `clip` (published layouts), pictures.safetensors with bytes [height, width, 3] by number, and
cases.json: a list of {"metadata", "prompt", "objects": {class: [[box, score]...]}, "colours": {class: [...]}, "exact",
"graded"}."""

import json
import pathlib
import sys

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from safetensors.torch import save_file

ROOT = pathlib.Path(__file__).parents[3]
sys.path[:0] = [str(ROOT / "tests/common/clip"), str(ROOT / "tests/reward_server/detection")]
from geneval_reference import COLOURS, strict_and_graded  # noqa: E402
from mmdet_rules import instances, prepare  # noqa: E402
from random_clip import add_tokenizer, hf_model, make_tokenizer  # noqa: E402
from transformers import (AutoTokenizer, CLIPModel, Mask2FormerConfig,  # noqa: E402
                          Mask2FormerForUniversalSegmentation, SwinConfig)

torch.set_num_threads(1)
CLASSES = ["circle", "square", "triangle"]
SHORT, LONG, DIVISOR, CONFIDENCE, SIDE = 64, 96, 32, 0.4, 56


def make_detector(folder):
    torch.manual_seed(3)
    swin = SwinConfig(embed_dim=16, depths=[1, 1, 2, 1], num_heads=[1, 2, 2, 4], window_size=4,
                      out_features=["stage1", "stage2", "stage3", "stage4"])
    config = Mask2FormerConfig(backbone_config=swin, feature_size=32, mask_feature_size=32, hidden_dim=32,
                               encoder_layers=1, decoder_layers=3, num_attention_heads=4, num_queries=10,
                               dim_feedforward=32, encoder_feedforward_dim=32, id2label=dict(enumerate(CLASSES)),
                               label2id={name: i for i, name in enumerate(CLASSES)})
    model = Mask2FormerForUniversalSegmentation(config).eval()
    # Sure of some things, as trained ones are, and different for every picture.
    for parameter in model.parameters():
        if parameter.dim() > 1:
            parameter.mul_(2)
    model.class_predictor.weight.data.normal_(0, 0.6)
    model.class_predictor.bias.data = torch.tensor([0.0, 0.0, 0.0, 1.5])
    mask_embedder = model.model.transformer_module.decoder.mask_predictor.mask_embedder
    mask_embedder.get_submodule("2").get_submodule("0").weight.data.mul_(20)
    model.save_pretrained(folder)
    size = {"shortest_edge": SHORT, "longest_edge": LONG}
    (folder / "preprocessor_config.json").write_text(json.dumps({"size": size, "size_divisor": DIVISOR}))
    return model


def detect(model, picture):
    pixels, resized = prepare(picture, SHORT, LONG, DIVISOR)
    out = model(pixel_values=pixels)
    found = instances(out.class_queries_logits[0], out.masks_queries_logits[0], tuple(pixels.shape[-2:]), resized,
                      picture.shape[:2])
    objects = {name: [] for name in CLASSES}
    for instance in found:
        if instance["score"] > CONFIDENCE and len(objects[CLASSES[instance["label"]]]) < 16:
            objects[CLASSES[instance["label"]]].append(instance)
    return objects


MEAN = torch.tensor([0.48145466, 0.4578275, 0.40821073]).view(3, 1, 1)
STD = torch.tensor([0.26862954, 0.26130258, 0.27577711]).view(3, 1, 1)


def for_open_clip(image):
    """OpenAI's and OpenCLIP's transform: torchvision's Resize and CenterCrop of a Pillow image."""
    width, height = image.size
    short = min(width, height)
    image = image.resize((int(SIDE * width / short), int(SIDE * height / short)), Image.Resampling.BICUBIC)
    left, top = round((image.width - SIDE) / 2), round((image.height - SIDE) / 2)
    image = image.crop((left, top, left + SIDE, top + SIDE))
    return ((torch.from_numpy(np.array(image)).permute(2, 0, 1).float() / 255 - MEAN) / STD)[None]


def name_colours(clip, tokenizer, picture, name, objects):
    embeds = []
    for colour in COLOURS:
        texts = [f"a photo of a {colour} {name}", f"a photo of a {colour}-colored {name}",
                 f"a photo of a {colour} object"]
        tokens = tokenizer(texts, padding=True, return_tensors="pt")
        sentences = clip.text_projection(clip.text_model(**tokens).pooler_output)
        embeds.append(F.normalize(F.normalize(sentences, dim=-1).mean(0), dim=-1))
    whole, grey = Image.fromarray(picture), Image.new("RGB", picture.shape[1::-1], color="#999")
    colours = []
    for instance in objects:
        crop = Image.composite(whole, grey, Image.fromarray(instance["mask"].numpy())).crop(instance["box"])
        embed = F.normalize(clip.visual_projection(clip.vision_model(for_open_clip(crop)).pooler_output), dim=-1)
        colours.append(COLOURS[int((embed @ torch.stack(embeds).T).argmax())])
    return colours


@torch.no_grad()
def main(out):
    detector = make_detector(out / "detector")
    torch.manual_seed(8)
    vocab = make_tokenizer(out / "tokenizer")
    hf_model(vocab).save_pretrained(out / "clip")
    add_tokenizer(out / "clip", out / "tokenizer")
    clip, tokenizer = CLIPModel.from_pretrained(out / "clip").eval(), AutoTokenizer.from_pretrained(out / "clip")
    pictures, cases = {}, []
    for number in range(10):
        torch.manual_seed(100 + number)
        height, width = [(48, 48), (64, 40), (90, 130), (64, 64), (33, 70)][number % 5]
        smooth = F.interpolate(torch.rand(1, 3, 5, 5), size=(height, width), mode="bicubic").clamp(0, 1)
        picture = (smooth[0].permute(1, 2, 0) * 255).round().byte().contiguous()
        pictures[str(number)] = picture
        objects = detect(detector, picture.numpy())
        present = [name for name in CLASSES if objects[name]] or CLASSES[:1]
        colours = {name: name_colours(clip, tokenizer, picture.numpy(), name, objects[name]) for name in present}
        # Every fourth picture gets what it shows, one is asked for more; the others are asked for colours, most of them
        # for the colour that they show most.
        include = []
        for i, name in enumerate(present):
            clause = {"class": name, "count": max(1, len(objects[name])) + (number == 2)}
            if colours[name] and number % 4:
                clause["color"] = max(colours[name], key=colours[name].count) if number % 2 else COLOURS[number]
            if i > 0 and number % 4 and number % 3 == 0:
                clause["position"] = ["left of", 0]
            include.append(clause)
        case = {"metadata": {"tag": "color_attr", "include": include}, "colours": colours,
                "objects": {name: [o["box"] for o in objects[name]] for name in present}}
        case["exact"], case["graded"] = strict_and_graded(case)
        cases.append(case)
    save_file(pictures, out / "pictures.safetensors")
    (out / "cases.json").write_text(json.dumps(cases))


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]))
