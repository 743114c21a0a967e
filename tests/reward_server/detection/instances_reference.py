"""Pictures made ready and objects found by mmdet's rules, for instances_test.cc.

usage: instances_reference.py FOLDER     case_N.safetensors: what goes in, what comes out
"""

import sys

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from safetensors.torch import save_file

from mmdet_rules import instances, prepare

torch.set_num_threads(1)
# Height, width, the edges, the divisor.
SIZES = [(40, 56, 64, 96, 32), (48, 48, 48, 80, 32), (33, 100, 64, 96, 16), (64, 64, 96, 128, 32),
         (120, 90, 64, 96, 32)]

if __name__ == "__main__":
    for number, (height, width, short, long, divisor) in enumerate(SIZES):
        torch.manual_seed(number)
        smooth = torch.rand(1, 3, height // 4, width // 4)
        picture = (F.interpolate(smooth, size=(height, width), mode="bicubic").clamp(0, 1)[0] * 255).round().byte()
        picture = picture.permute(1, 2, 0).contiguous()
        pixels, resized = prepare(picture.numpy(), short, long, divisor)
        padded = tuple(pixels.shape[-2:])
        queries, classes = 12, 7
        class_logits = 3 * torch.randn(queries, classes + 1)
        mask_logits = F.interpolate(torch.randn(queries, 1, 4, 5), size=(padded[0] // 4, padded[1] // 4),
                                    mode="bicubic")[:, 0] - 0.5
        mask_logits[3] = -1  # nothing there
        found = instances(class_logits, mask_logits, padded, resized, (height, width), most=30)
        pillow = Image.fromarray(picture.numpy()).resize(resized[::-1], Image.Resampling.BILINEAR)
        save_file({"picture": picture, "settings": torch.tensor([short, long, divisor]), "pixels": pixels,
                   "pillow": torch.from_numpy(np.array(pillow)), "resized": torch.tensor(resized),
                   "class_logits": class_logits,
                   "mask_logits": mask_logits.contiguous(),
                   "labels": torch.tensor([f["label"] for f in found]),
                   "scores": torch.tensor([f["score"] for f in found]),
                   "boxes": torch.tensor([f["box"] for f in found], dtype=torch.float),
                   "masks": torch.stack([f["mask"] for f in found]).byte()}, f"{sys.argv[1]}/case_{number}.safetensors")
