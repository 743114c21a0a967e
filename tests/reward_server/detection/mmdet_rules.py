"""mmdet's test pipeline and instance post-processing for Mask2Former in plain torch, one step after the other."""

import numpy as np
import torch
import torch.nn.functional as F

MEAN = torch.tensor([123.675, 116.28, 103.53]).view(1, 3, 1, 1)
STD = torch.tensor([58.395, 57.12, 57.375]).view(1, 3, 1, 1)


def prepare(picture, short_edge, long_edge, divisor):
    """`picture` [height, width, 3] bytes. The padded input and the height and width of the picture in it."""
    height, width = picture.shape[:2]
    scale = min(long_edge / max(height, width), short_edge / min(height, width))
    resized = (int(height * scale + 0.5), int(width * scale + 0.5))
    pixels = torch.from_numpy(np.array(picture)).permute(2, 0, 1)[None].float()
    pixels = F.interpolate(pixels, size=resized, mode="bilinear", align_corners=False).round()
    pixels = (pixels - MEAN) / STD
    below, right = (-resized[0] % divisor, -resized[1] % divisor)
    return F.pad(pixels, (0, right, 0, below)), resized


def instances(class_logits, mask_logits, padded, resized, original, most=100):
    """Of one picture, all of them: a list of {label, score, box, mask} by descending score."""
    masks = F.interpolate(mask_logits[None], size=padded, mode="bilinear", align_corners=False)[0]
    masks = masks[:, : resized[0], : resized[1]]
    masks = F.interpolate(masks[:, None], size=original, mode="bilinear", align_corners=False)[:, 0]
    scores = F.softmax(class_logits, dim=-1)[:, :-1]
    classes = scores.shape[1]
    top, indices = scores.flatten().topk(min(most, scores.numel()), sorted=False)
    found = []
    for score, index in zip(top, indices):
        logits = masks[index // classes]
        binary = (logits > 0).float()
        mean = (logits.sigmoid() * binary).sum() / (binary.sum() + 1e-6)
        rows, columns = torch.where(binary.any(1))[0], torch.where(binary.any(0))[0]
        box = [0, 0, 0, 0]
        if len(rows) > 0:
            box = [int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1]
        found.append({"label": int(index % classes), "score": float(score * mean), "box": box, "mask": binary.bool()})
    return sorted(found, key=lambda instance: -instance["score"])
