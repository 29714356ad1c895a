"""A plug-in file with methods that come home, or do not: what a round trip finds is known exactly."""

import hashlib

import numpy as np
import torch

from invbench.api import Inversion, Sample

STEP = 10  # levels that an edit of strength 1 adds to every channel

SPECS = [
    {
        "id": "homing",
        "title": "Homing",
        "class": "Homing",
        "family": "encoder",
        "paper": "none",
        "venue": "none",
        "roles": [],
        "options": {
            "drift": {"default": 0.0, "unit": "", "help": "added to the latents by every inversion, times its number"},
            "darker": {"default": 0, "unit": "levels", "help": "taken from the picture by every inversion"},
            "trouble": {"default": "", "unit": "", "choices": ["", "raise", "nan"], "help": "what goes wrong the second time"},
        },
        "presets": {"paper": {}},
    },
    {"id": "lost", "title": "Lost", "class": "Lost", "family": "encoder", "paper": "none", "venue": "none", "roles": [],
     "options": {}, "presets": {"paper": {}}},
    {"id": "middle", "title": "Mid greys", "class": "Middle", "domain": "toys", "size": 6},
]  # fmt: skip


class Homing:
    """Latents [N, 2, 3]: the picture's mean colour, and twice that colour. Edits brighten by whole levels, so none is lost."""

    def __init__(self, networks, options):
        self.drift, self.darker, self.trouble, self.inverted = options.drift, options.darker, options.trouble, 0

    def invert(self, images, clock):
        with clock.stage("encode"):
            mean = images.double().mean(dim=(2, 3))
            second = images.amax(dim=(1, 2, 3)) > 0.5  # the pictures of the dataset stay below
            if self.trouble == "raise" and second.any():
                raise RuntimeError("cannot come back")
            latents = torch.stack([mean, 2 * mean], dim=1).float()
            latents = latents + self.drift * second[:, None, None]
            output = images - self.darker / 127.5
            if self.trouble == "nan":
                output[second] = float("nan")
        return Inversion(latents, output)

    def edit(self, inversion, edit, clock):
        with clock.stage("edit"):
            return inversion.images + edit.strength * STEP / 127.5

    def move_latents(self, latents, edit):
        return latents + edit.strength * STEP / 127.5 * torch.tensor([1.0, 2.0])[:, None]

    def max_batch(self, memory):
        return 4


class Lost(Homing):
    """Does not say how its edits move latents."""

    move_latents = None

    def __init__(self, networks, options):
        self.drift, self.darker, self.trouble, self.inverted = 0.0, 0, "", 0


class Middle:
    """Noise between 60 and 180 of 255, so that three steps up or down stay inside the range."""

    def __init__(self):
        self.names = [f"grey-{index}" for index in range(6)]

    def read(self, index):
        picture = np.random.default_rng(index).integers(60, 181, (8, 8, 3), dtype=np.uint8)
        return Sample(picture, self.names[index], hashlib.sha256(picture.tobytes()).hexdigest())

    def truth(self, index, edit):
        return None
