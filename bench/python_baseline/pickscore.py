"""PickScore's formula by transformers' CLIPModel, as public trainers score."""

import numpy as np
import torch
from transformers import AutoTokenizer, CLIPModel
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil


class PickScore:
    def __init__(self, folder, dtype, threads, device="cpu"):
        torch.set_num_threads(threads)
        self.dtype = getattr(torch, dtype)
        self.model = CLIPModel.from_pretrained(folder, dtype=self.dtype).eval().to(device)
        self.tokenizer, self.processor = AutoTokenizer.from_pretrained(folder), CLIPImageProcessorPil()

    @torch.no_grad()
    def score(self, images, prompts):
        """A reward a picture, of uint8 arrays or PIL images and as many prompts."""
        pixels = torch.from_numpy(np.stack(self.processor(images=images)["pixel_values"]))
        pixels = pixels.to(self.model.device, self.dtype)
        tokens = self.tokenizer(prompts, padding=True, truncation=True, max_length=77, return_tensors="pt")
        tokens = tokens.to(self.model.device)
        pictures = self.model.get_image_features(pixels).pooler_output
        texts = self.model.get_text_features(**tokens).pooler_output
        pictures, texts = (x / x.norm(p=2, dim=-1, keepdim=True) for x in (pictures, texts))
        return ((self.model.logit_scale.exp() * (texts @ pictures.T)).diag() / 26).tolist()
