"""Stands in for a tuned generator of danielroich/PTI: it holds a picture, and a latent brightens it by so many levels."""

import torch


class Toy(torch.nn.Module):
    def __init__(self, picture):
        super().__init__()
        self.picture = torch.nn.Parameter(picture)

    def synthesis(self, latents, *, noise_mode, force_fp32):
        assert noise_mode == "const" and force_fp32
        return (self.picture[None] + latents.mean(dim=(1, 2)).view(-1, 1, 1, 1)) / 127.5 - 1
