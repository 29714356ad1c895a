"""Recipe of the domain-guided encoder: Zhu et al. 2020, section 3.1; genforce/idinvert_pytorch has no training code.

The encoder learns from real pictures through the frozen generator, which draws with its stored noise: squared error 1, the
perceptual loss, and an adversarial loss 0.1 on what is drawn of real pictures; the discriminator learns beside it, with R1 10
(invbench.methods.train.image_adversary). Adam. The paper prints the critic's bare scores; the logistic loss, which is that of
the generator's own training, is taken. The published perceptual weight 5e-5 belongs to VGG features of pictures in [0, 255];
LPIPS stands in for them here with its usual 0.8 beside the squared error.

The scale of batch normalisation stays as it was at the start, as published. That of the codes is the spread of W, where the
published one is 1: no layer follows that could change it.

Departures, for a budget of minutes: all in ``SHORTENED``, reduced widths, and the warm start of
invbench.methods.train.encoding. The generator of this domain was fitted to renders and has no discriminator to start from.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from invbench.methods.idinvert import IDInvert
from invbench.methods.nets.idinvert import DomainEncoder
from invbench.methods.train.common import ZOO, Recipe, Step, cosine, descend, step_generator
from invbench.methods.train.encoding import WEIGHTS, Reconstruction, after_warm_start
from invbench.methods.train.image_adversary import ImageAdversary
from invbench.methods.train.restyle import Untimed
from invbench.options import Options

RECIPES = {"idinvert": {"minutes": 12, "seed": 0, "help": "domain-guided encoder of in-domain inversion"}}

ADVERSARIAL_WEIGHT, R1_GAMMA = 0.1, 10.0
SPREAD_SAMPLES, SPREAD = 4096, 2  # latents that the scale of the codes is measured on, and their random stream
DISCRIMINATOR = {4: 64, 8: 64, 16: 64, 32: 32, 64: 16}  # channels of the discriminator
# What is not as published, beside the reduced widths: rates that fall along a cosine from a higher peak (1e-4), the share of
# the published part of the budget from which the adversarial loss comes in (0), so that the discriminator, which starts at
# random, knows something then, and R1 in every 16th step, times 16, in place of every step.
SHORTENED: dict[str, Any] = {"lr": 2e-3, "discriminator_lr": 1e-3, "batch": 16, "adversarial_from": 0.2}


def architecture(generator: Any) -> dict[str, Any]:
    """Arguments of the reduced encoder for ``generator``: 1.1 million parameters, most of them in the last layer."""
    return {"resolution": generator.resolution, "w_dim": generator.w_dim, "base": 16, "maximum": 48}


class Training(Recipe):
    """``lr`` and ``discriminator_lr`` are peak rates, ``batch`` the pictures in a step, ``adversarial_from`` a share of what
    follows the warm start; ``zoo`` holds the frozen networks.
    """

    eight_bits = True

    def __init__(
        self,
        *,
        seed: int,
        device: torch.device | str = "cpu",
        lr: float = SHORTENED["lr"],
        discriminator_lr: float = SHORTENED["discriminator_lr"],
        batch: int = SHORTENED["batch"],
        adversarial_from: float = SHORTENED["adversarial_from"],
        zoo: Path = ZOO,
    ) -> None:
        self.batch, self.adversarial_from = batch, adversarial_from
        self.reconstruction = Reconstruction(seed=seed, device=device, zoo=zoo)
        self.generator = self.reconstruction.generator
        self.config = architecture(self.generator)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            network = DomainEncoder(**self.config)
            channels = {resolution: DISCRIMINATOR[resolution] for resolution in self.generator.channels}
            # The loss of the other terms is halved there, so half of R1's weight keeps the published ratio.
            self.adversary = ImageAdversary(
                self.generator.resolution, channels, lr=discriminator_lr, gamma=R1_GAMMA / 2, device=device
            )
        start_in(network, self.generator, step_generator(seed, 0, SPREAD))
        self.network: nn.Module = network.to(device).to(memory_format=torch.channels_last)
        self.float32 = tuple(name for name in network.state_dict() if name.startswith(f"block{network.blocks - 1}.bn."))
        self.heads = self.adversary.network
        learned = [parameter for parameter in self.network.parameters() if parameter.requires_grad]
        self.optimisers = [torch.optim.Adam(learned, lr), self.adversary.optimiser]

    def step(self, index: int, progress: float) -> Step:
        target, w = self.reconstruction.pictures(index, self.batch)
        latents = self.network(target)
        if after_warm_start(progress) < 0:
            loss = self.reconstruction.latent_error(latents, w)
            descend(loss, self.optimisers[:1], cosine(progress))
            return Step(self.batch, {"latents": loss.item()})
        drawn = self.generator.synthesis(latents)
        losses = self._distances(drawn, target)
        total = losses["l2"] + WEIGHTS["lpips"] * losses["lpips"]
        if after_warm_start(progress) >= self.adversarial_from:
            losses["adversarial"] = self.adversary.loss(drawn)
            total = total + ADVERSARIAL_WEIGHT * losses["adversarial"]
        descend(total, self.optimisers[:1], cosine(progress))
        losses["discriminator"] = self.adversary.train(drawn, target, index, cosine(progress))
        return Step(self.batch, {name: value.item() for name, value in losses.items()})

    def validate(self, network: nn.Module) -> dict[str, float]:
        """By the method itself, the encoder alone: 200 optimisations would take minutes."""
        networks = {
            "generator": self.generator,
            "encoder_idinvert": network,
            "features_idinvert": self.reconstruction.perceptual,
            "directions": None,
        }
        row = IDInvert(networks, Options("idinvert", {"steps": 0, "lr": 0.0, "perceptual_weight": 0.0, "domain_weight": 0.0}))
        return self.reconstruction.validate_inversions(lambda images: row.invert(images, Untimed()))

    def _distances(self, drawn: Tensor, target: Tensor) -> dict[str, Tensor]:
        """The terms of the reconstruction: there is none of identity."""
        found = self.reconstruction.distances(drawn, target)
        return {name: found[name] for name in ("l2", "lpips")}


@torch.no_grad()
def start_in(encoder: DomainEncoder, generator: Any, draw: torch.Generator) -> None:
    """Give the codes the mean and the spread of W: mean [D] and standard deviation [D], the same for every layer."""
    w = generator.sample_w(SPREAD_SAMPLES, generator=draw).double()
    normal = encoder.last.get_submodule("bn.bn")
    normal.get_parameter("weight").copy_(w.std(0).float().repeat(encoder.num_ws))
    normal.get_parameter("bias").copy_(w.mean(0).float().repeat(encoder.num_ws))
