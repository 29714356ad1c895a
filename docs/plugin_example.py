"""A whole third-party method in one file: the nearest of many random latent codes.

Try it with ``invbench run --plugin docs/plugin_example.py --methods nearest``, and test it with
``pytest tests/contract --plugin docs/plugin_example.py``.
"""

import torch

from invbench.api import Inversion

SPEC = {
    "id": "nearest",
    "class": "Nearest",
    "title": "Nearest of K samples",
    "family": "search",
    "paper": "none: an example",
    "venue": "none",
    "roles": ["generator", "directions"],
    "options": {
        "candidates": {
            "default": 64,
            "unit": "samples",
            "range": "[1, inf)",
            "help": "latent codes that are tried for every image",
        },
        "seed": {"default": 0, "unit": "seed", "range": "[0, 4294967296)", "help": "draws the latent codes"},
    },
    "presets": {"paper": {}},
    "summary": "Draws latent codes once and gives each image the one whose picture is nearest in mean squared error.",
}


class Nearest:
    def __init__(self, networks, options):
        self.generator, self.directions = networks["generator"], networks["directions"]
        self.options = options

    @torch.inference_mode()
    def invert(self, images, clock):
        with clock.stage("optimise"):
            rng = torch.Generator().manual_seed(self.options.seed)
            z = torch.randn(self.options.candidates, self.generator.z_dim, generator=rng).to(images.device)
            w = self.generator.mapping(z)
            latents = w[:, None].repeat(1, self.generator.num_ws, 1)  # [K, D] -> [K, L, D]
            pictures = self.generator.synthesis(latents)
            errors = torch.stack([(pictures - image).square().mean(dim=(1, 2, 3)) for image in images])  # [N, K]
            best = errors.argmin(dim=1)
        return Inversion(latents=latents[best], images=pictures[best])

    @torch.inference_mode()
    def edit(self, inversion, edit, clock):
        with clock.stage("edit"):
            return self.generator.synthesis(inversion.latents + edit.strength * self.directions[edit.name])

    def max_batch(self, memory):
        return 64
