"""A plug-in file with a method that comes nearer by known steps, and shows them."""

import numpy as np
import torch

from invbench.api import Inversion
from invbench.methods.common.curves import show

SHORT, LONG = 3, 12  # steps of pictures whose first pixel is dark, and of the others
SECOND = 2  # of another stage, for all

SPECS = [
    {
        "id": "walker",
        "title": "Walker",
        "class": "Walker",
        "family": "optimisation",
        "paper": "none",
        "venue": "none",
        "roles": [],
        "options": {
            "steps": {"default": 12, "unit": "steps", "range": "[1, inf)", "help": "most steps of the first stage"},
            "wide": {"default": False, "unit": "", "help": "show pictures of a wrong size"},
        },
        "presets": {"paper": {}},
    },
]


def at(images, step):
    """What is shown after so many steps of both stages."""
    return images * (0.9713 * step / (LONG + SECOND + 1))


class Walker:
    def __init__(self, networks, options):
        self.options = options

    def invert(self, images, clock):
        kept = torch.arange(len(images))
        with clock.stage("optimise"):
            for step in range(self.options.steps):
                if step == SHORT:
                    kept = kept[images[kept, 0, 0, 0] > 0]
                shown = at(images[kept], step)
                show(clock, step, shown[..., 1:] if self.options.wide else shown, rows=kept)
        with clock.stage("refine"):
            for step in range(SECOND):
                show(clock, step, at(images, self.options.steps + step))
        return Inversion(images.mean(dim=(2, 3))[:, None], at(images, self.options.steps + SECOND))

    def edit(self, inversion, edit, clock):
        with clock.stage("edit"):
            show(clock, 0, inversion.images)  # nobody watches an edit
            return inversion.images + 0.1 * edit.strength

    def max_batch(self, memory):
        return 8


def psnr(picture, step):
    """Of what is shown after so many steps, from the uint8 picture alone."""
    wanted = picture.astype(np.float32) / 127.5 - 1
    shown = ((at(wanted, step) + 1) * 127.5).round().clip(0, 255) / 127.5 - 1
    return 10 * np.log10(4 / np.square(shown - wanted, dtype=np.float64).mean())
