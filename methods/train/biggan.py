"""The class-conditional generator of procfaces: a small BigGAN-deep (Brock et al., ICLR 2019).

As published: spectral norm in both networks, hinge loss with a projection discriminator, orthogonal regularisation of the
generator (beta 1e-4, without the diagonal), orthogonal initial weights, Adam without momentum for the discriminator, z from a
normal distribution, a running mean of the weights, statistics of the normalisations measured afterwards for each truncation.

Departures, for minutes on one core of a CPU: the generator is also fitted to the renderer, G(z, y) to
render(factors_in_class(z, y)), alone during the first share of the training, since adversarial training alone needs far more
pictures; Muon for its matrices; one step of the discriminator a step (2); batches of 16 (2048); statistics for 6 truncations
(51).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call

from invbench.datasets.procfaces import FACTORS
from invbench.datasets.procfaces.classes import CLASSES, factors_in_class
from invbench.methods.nets.biggan import BigGAN, Normalisation, truncated_normal
from invbench.methods.nets.projection_discriminator import ProjectionDiscriminator
from invbench.methods.train.common import Recipe, Step, cosine, descend, seeded, step_generator, step_rng
from invbench.methods.train.figures import r_squared
from invbench.methods.train.frozen import load_frozen
from invbench.methods.train.generator import fit_loss, weighted
from invbench.methods.train.muon import Muon
from invbench.methods.train.spectral import SpectralNorm, orthogonality

RECIPES = {
    "biggan": {
        "minutes": 16.0,
        "seed": 3,
        "help": "class-conditional BigGAN-deep, 64x64; needs the regressor for its figures",
    }
}

CONFIG: dict[str, Any] = {
    "output_dim": 64,
    "z_dim": len(FACTORS),
    "class_embed_dim": 8,
    "channel_width": 16,
    "num_classes": len(CLASSES),
    "layers": [  # without two blocks of 16 that the released ones have: the file stays small
        [True, 16, 16],
        [True, 16, 8],
        [False, 8, 8],
        [True, 8, 4],
        [False, 4, 4],
        [True, 4, 2],
        [False, 2, 1],
    ],
    "attention_layer_position": 3,  # at 16x16, a quarter of the picture's resolution, as in the released one of 256 pixels
    "n_stats": 6,
}
WIDTHS = (16, 32, 64, 96, 96)  # channels of the discriminator from 64x64 to 4x4
BATCH = 16
FIT_UNTIL = 0.7  # share of the budget after which the discriminator joins
ADVERSARIAL_WEIGHT = 0.01
BETA = 1e-4  # of the orthogonal regularisation
SAMPLES, PART = 512, 128  # pictures a truncation that its statistics are measured on; at a time
HELD_OUT = 900_002  # seed of the latents that no training step draws


class Training(Recipe):
    """Trains the generator; exports the running mean of the weights, with their spectral norms divided out."""

    ema = 0.998
    eight_bits = True

    def __init__(self, *, seed: int, device: torch.device | str):
        self.seed, self.device, self.config = seed, device, CONFIG
        with seeded(seed):
            network = BigGAN(**self.config)
            discriminator = ProjectionDiscriminator(widths=WIDTHS, classes=len(CLASSES))
            for part in (network, discriminator):
                for value in part.parameters():
                    if value.ndim > 1:
                        nn.init.orthogonal_(value)
            norms = SpectralNorm(network, without=["embeddings.weight"]), SpectralNorm(discriminator)
        self.network = network.to(device)
        self.float32 = tuple(key for key in network.state_dict() if key.endswith(("running_means", "running_vars")))
        self.discriminator, (self.norm, self.norm_d) = discriminator.to(device), norms
        self.heads = nn.ModuleDict({"discriminator": discriminator, "norm": norms[0], "norm_d": norms[1]}).to(device)
        matrices = [network.get_parameter(name) for name in self.norm.names]
        known = {id(value) for value in matrices}
        rest = [value for value in network.parameters() if id(value) not in known]
        self.own = [Muon(matrices, 0.02), torch.optim.Adam(rest, lr=4e-3, betas=(0.9, 0.99))]
        self.against = [torch.optim.Adam(discriminator.parameters(), lr=4e-4, betas=(0.0, 0.999))]
        self.optimisers = [*self.own, *self.against]

    def step(self, index: int, progress: float) -> Step:
        rng, scale = step_rng(self.seed, index), cosine(progress)
        z, classes = rng.standard_normal((BATCH, len(FACTORS))), rng.integers(len(CLASSES), size=BATCH)
        target, weight = weighted(factors_in_class(z, classes), self.device)
        labels = torch.from_numpy(classes).to(self.device)
        one_hot = nn.functional.one_hot(labels, len(CLASSES)).float()
        arguments = (torch.from_numpy(z).float().to(self.device), one_hot)
        output = functional_call(self.network, self.norm.weights(self.network), arguments, {"truncation": None})
        loss = fit_loss(output, target, weight)
        losses = {"fit": loss.item()}
        if progress >= FIT_UNTIL:
            losses["hinge"] = self._against(output.detach(), target, labels, scale)
            fooled = -self._logits(self.norm_d.weights(self.discriminator), output, labels).mean()
            loss = loss + ADVERSARIAL_WEIGHT * fooled
        loss = loss + BETA * orthogonality(self.network, self.norm.names)
        descend(loss, self.own, scale)
        return Step(BATCH, losses)

    def finish(self, network: nn.Module) -> None:
        """Divide the norms out and measure the statistics of each truncation."""
        assert isinstance(network, BigGAN)
        self.norm.fold(network)
        for row in range(network.config.n_stats):
            measure(network, row, partial(self._draw, network, row))

    @torch.no_grad()
    def validate(self, network: nn.Module) -> dict[str, float]:
        """PSNR in dB against the true renders, with the stored statistics; R2 of each factor, measured by the regressor.

        ``psnr_between_classes``: of the same z in two classes, as a scale for the former.
        """
        assert isinstance(network, BigGAN)
        regressor = load_frozen("regressor", device=self.device)
        rng = step_rng(HELD_OUT, 0)
        z, classes = rng.standard_normal((500, len(FACTORS))), rng.integers(len(CLASSES), size=500)
        u = factors_in_class(z, classes)
        psnr, between, read = [], [], []
        for part in np.array_split(np.arange(len(z)), 10):
            target, _ = weighted(u[part], self.device)
            numbers = torch.from_numpy(classes[part]).to(self.device)
            drawn = [
                network(torch.from_numpy(z[part]).float().to(self.device), nn.functional.one_hot(n, len(CLASSES)).float())
                for n in (numbers, (numbers + 1) % len(CLASSES))
            ]
            psnr.append(_psnr(drawn[0], target))
            between.append(_psnr(drawn[0], drawn[1]))
            read.append(regressor(drawn[0]).cpu())
        found = r_squared(u, torch.cat(read).double().numpy())
        figures = {"psnr": torch.cat(psnr).mean().item(), "psnr_between_classes": torch.cat(between).mean().item()}
        return figures | {f"r2_{f.name}": float(v) for f, v in zip(FACTORS, found, strict=True)}

    def _logits(self, weights: dict[str, Tensor], images: Tensor, labels: Tensor) -> Tensor:
        frozen = {name: value.detach() for name, value in weights.items()}
        logits: Tensor = functional_call(self.discriminator, frozen, (images, labels))
        return logits

    def _against(self, drawn: Tensor, real: Tensor, labels: Tensor, scale: float) -> float:
        """One step of the discriminator on the hinge loss; returns it."""
        weights, both = self.norm_d.weights(self.discriminator), torch.cat([real, drawn])
        logits = functional_call(self.discriminator, weights, (both, labels.repeat(2)))
        true, false = logits.chunk(2)
        loss = (1 - true).relu().mean() + (1 + false).relu().mean()
        descend(loss, self.against, scale)
        return loss.item()

    def _draw(self, network: BigGAN, row: int, part: int) -> tuple[Tensor, Tensor]:
        """z and one-hot classes of part number ``part`` at the truncation of ``row``."""
        random = step_generator(self.seed, part, stream=1)
        z = truncated_normal((PART, network.z_dim), generator=random) * (row / (network.config.n_stats - 1))
        classes = torch.randint(len(CLASSES), (PART,), generator=random)
        return z.to(self.device), nn.functional.one_hot(classes, len(CLASSES)).float().to(self.device)


@torch.no_grad()
def measure(network: BigGAN, row: int, draw: Callable[[int], tuple[Tensor, Tensor]], *, parts: int = SAMPLES // PART) -> None:
    """Store the mean and the variance of what each normalisation sees in pictures of ``draw(part)``, z and classes, in ``row``.

    Each part is normalised by its own statistics, as in training; sums in float64.
    """
    norms = [module for module in network.modules() if isinstance(module, Normalisation)]
    sums = {norm: torch.zeros(2, norm.running_means.shape[1], dtype=torch.float64) for norm in norms}

    def watch(norm: nn.Module, seen: tuple[Any, ...]) -> None:
        x = seen[0].double()
        sums[norm] += torch.stack([x.mean((0, 2, 3)), x.square().mean((0, 2, 3))]).cpu()  # type: ignore[index]

    handles = [norm.register_forward_pre_hook(watch) for norm in norms]
    try:
        for part in range(parts):
            network(*draw(part), truncation=None)
    finally:
        for handle in handles:
            handle.remove()
    for norm, (first, second) in sums.items():
        mean = first / parts
        norm.running_means[row] = mean.to(norm.running_means)
        norm.running_vars[row] = (second / parts - mean.square()).clamp_min(0).to(norm.running_vars)


def _psnr(a: Tensor, b: Tensor) -> Tensor:
    return 10 * torch.log10(4 / (a - b).square().mean((1, 2, 3)))
