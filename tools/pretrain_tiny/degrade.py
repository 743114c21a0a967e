"""What a generator does to pictures: softness, noise, off colours, and the small errors of the VAE."""

import torch


def soften(images, amount):
    """images [B, 3, H, W] in -1..1, amount [B] in 0..1: mixed with their own blur, shifted in colour, with noise."""
    amount = amount[:, None, None, None]
    padded = torch.nn.functional.pad(images, (2, 2, 2, 2), mode="replicate")
    blurred = torch.nn.functional.avg_pool2d(padded, 5, 1)
    images = images + amount * (blurred - images)
    images = images + 0.12 * amount * torch.randn(len(images), 3, 1, 1) + 0.25 * amount * torch.randn_like(images)
    return images.clamp(-1, 1)


@torch.no_grad()
def through_vae(vae, images, noise):
    """Encoded, disturbed in latent space by up to `noise` standard deviations of all latents, and decoded."""
    result = []
    for batch in images.split(250):
        latents = vae.encode(batch).latent_dist.mean
        level = noise * torch.rand(len(batch), 1, 1, 1) / vae.config.scaling_factor
        result.append(vae.decode(latents + level * torch.randn_like(latents)).sample.clamp(-1, 1))
    return torch.cat(result)
