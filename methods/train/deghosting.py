"""Recipe of Diff-CAM's deghosting network: Song et al. 2022, section 3.5; HaoruiSong622/Editing-Out-of-Domain.

A picture is composed with an edited inversion by a mask of the trained differential activation network; where the mask is above
0.5 it is reversed, so that the picture itself prevails and is the target (equation 7). Published: MSE 1, features of VGG-16
(conv4_3) 0.01 in the code, 0.8 in the paper, an adversarial loss 0.01 without R1; Adam (0.9, 0.99) at 1e-4 for both networks.

Here the features are the last ones of this domain's perceptual network, and the discriminator starts at random, since none was
trained with this generator. For a budget of minutes: all in ``SHORTENED``, beside the reduced widths.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from invbench.api import Inversion
from invbench.methods.nets.deghosting import Deghosting
from invbench.methods.train.common import ZOO, Recipe, Step, cosine, descend, seeded
from invbench.methods.train.diffcam import SHORTENED as EDITS
from invbench.methods.train.diffcam import Edits
from invbench.methods.train.frozen import load_frozen
from invbench.methods.train.image_adversary import ImageAdversary

RECIPES = {"deghosting": {"minutes": 12, "seed": 0, "help": "Diff-CAM's deghosting network; needs psp and diffcam"}}

FEATURES_WEIGHT, ADVERSARIAL_WEIGHT = 0.01, 0.01  # as in the code
# Peak rates (published 1e-4 for both), pictures in a step (4), and channels of the discriminator.
SHORTENED: dict[str, Any] = {"lr": 1e-3, "discriminator_lr": 4e-4, "batch": 4, "discriminator": 24}


def architecture(generator: Any) -> dict[str, Any]:
    """Arguments of the reduced network. It sees half of the picture's size, where an eighth would be 8 pixels."""
    sizes = {4: 32, 8: 48, 16: 48, 32: 32}
    return {
        "channels": {str(size): value for size, value in generator.channels.items()},
        "num_ws": generator.num_ws,
        "w_dim": generator.w_dim,
        "in_size": generator.resolution // 2,
        "width": 24,
        "units": 3,
        "growth": 12,
        "encoded": {str(size): value for size, value in sizes.items()},
        "decoded": [32, 24],
    }


class Training(Recipe):
    """``lr`` and ``discriminator_lr`` are peak rates, ``batch`` the pictures in a step, ``discriminator`` its channels."""

    eight_bits = True

    def __init__(
        self,
        *,
        seed: int,
        device: torch.device | str = "cpu",
        lr: float = SHORTENED["lr"],
        discriminator_lr: float = SHORTENED["discriminator_lr"],
        batch: int = SHORTENED["batch"],
        discriminator: int = SHORTENED["discriminator"],
        zoo: Path = ZOO,
    ) -> None:
        self.batch = batch
        self.edits = Edits(seed=seed, device=device, strengths=EDITS["strengths"], zoo=zoo)
        self.activation: Any = load_frozen("diffcam", device=device, zoo=zoo)
        self.generator = self.edits.generator
        self.config = architecture(self.generator)
        with seeded(seed):
            self.network: Deghosting = Deghosting(**self.config)
            channels = dict.fromkeys(self.generator.channels, discriminator)
            resolution = self.generator.resolution
            self.adversary = ImageAdversary(resolution, channels, lr=discriminator_lr, gamma=0.0, device=device)
        self.network.to(device).to(memory_format=torch.channels_last)
        self.heads = self.adversary.network
        self.optimisers = [torch.optim.Adam(self.network.parameters(), lr, betas=(0.9, 0.99)), self.adversary.optimiser]

    def step(self, index: int, progress: float) -> Step:
        target, composed = self.composed(index, self.batch)
        output = self.network(composed, self.generator)
        scale = cosine(progress, floor=1e-3)
        told = self.adversary.train(output, target, index, scale)
        features = self.edits.reconstruction.perceptual.features
        losses = {
            "l2": F.mse_loss(output, target),
            "features": F.mse_loss(features(output)[-1], features(target)[-1]),
            "adversarial": self.adversary.loss(output),
        }
        total = losses["l2"] + FEATURES_WEIGHT * losses["features"] + ADVERSARIAL_WEIGHT * losses["adversarial"]
        descend(total, self.optimisers[:1], scale)
        return Step(self.batch, {name: value.item() for name, value in {**losses, "discriminator": told}.items()})

    @torch.no_grad()
    def composed(self, index: int, batch: int) -> tuple[Tensor, Tensor]:
        """Pictures [N, 3, H, W] and what equation 6 composes of them."""
        target, inverted, edited, wanted = self.edits.drawn(index, batch)
        mask = self.activation.mask(inverted, edited, wanted)
        mask = F.interpolate(mask, size=target.shape[-2:], mode="nearest")
        return target, torch.lerp(target, edited, torch.minimum(mask, 1 - mask))

    def validate(self, network: nn.Module) -> dict[str, float]:
        """Of pictures that are not edited, which the network draws anew."""
        embedder, generator = self.edits.embedder, self.generator
        return self.edits.reconstruction.validate_inversions(
            lambda images: Inversion(embedder(images), network(images, generator))
        )
