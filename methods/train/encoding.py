"""The common parts of the encoders' recipes: pictures, the frozen generator, and the published losses.

Published (eladrich/pixel2style2pixel, omertov/encoder4editing, scripts/train.py and criteria/): real pictures; L2 with
weight 1, LPIPS 0.8, identity 0.1, on the images that the frozen generator makes *with random noise*; Ranger. Here LPIPS and
identity are the networks of this domain and the pictures are new renders of the training distribution. Nothing is flipped:
new faces are unlimited, and light and hair are not symmetric.

The published start, the weights of a face recognition network, is replaced by a warm start: for the first share of the budget
the encoder learns the latents W that belong to the factors of each render, without a pass through the generator.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from invbench.api import Clock, Inversion
from invbench.datasets.procfaces import FACTORS, factors_from_z, render, render_split
from invbench.methods.train.common import ZOO, Step, descend, step_generator, step_rng
from invbench.methods.train.frozen import load_frozen
from invbench.methods.train.renders import as_images

WEIGHTS = {"l2": 1.0, "lpips": 0.8, "id": 0.1}
WARM_START = 0.3  # share of the budget that the warm start takes
VALIDATION_IMAGES = 200
FACES, NOISE = 0, 1  # random streams within a step


def architecture(generator: Any) -> dict[str, Any]:
    """Arguments of the reduced encoder for ``generator``: the published layout at about 1.4 million parameters."""
    return {
        "num_ws": generator.num_ws,
        "w_dim": generator.w_dim,
        "size": generator.resolution,
        "stages": [[8, 1], [32, 2], [64, 3], [96, 2]],
        "heads": 48,
        "groups": [3, 7],
    }


class Untimed:
    """A clock that measures nothing."""

    def stage(self, name: str) -> AbstractContextManager[None]:
        """A context without effect."""
        return nullcontext()


class Reconstruction:
    """Synthesises latents with the frozen generator and measures the distance of the images from their targets."""

    def __init__(self, *, seed: int, device: torch.device | str, zoo: Path = ZOO) -> None:
        self.seed, self.device = seed, torch.device(device)
        self.generator = load_frozen("generator", device=device, zoo=zoo)
        self.perceptual = load_frozen("perceptual", device=device, zoo=zoo)
        self.identity = load_frozen("identity", device=device, zoo=zoo)

    def prepare(self, encoder: nn.Module) -> tuple[str, ...]:
        """Set the encoder's mean latent and move it to the device. Returns the names of tensors to export in float32."""
        encoder.get_buffer("latent_avg").copy_(self.generator.mean_latent.cpu())
        encoder.to(self.device).to(memory_format=torch.channels_last)  # 1.3 times as fast on a CPU
        return tuple(key for key in encoder.state_dict() if key.endswith(("running_mean", "running_var", "latent_avg")))

    def pictures(self, index: int, batch: int, *, warm: bool = False) -> tuple[Tensor, Tensor]:
        """Renders of the training distribution, [batch, 3, H, W] in [-1, 1], and the latents W [batch, D] of their factors.

        They depend only on the seed and the step's number ``index``; ``warm``: whether the warm start asks, for which others
        (:mod:`invbench.methods.train.own`) have pictures of their own.
        """
        z = step_rng(self.seed, index, FACES).standard_normal((batch, len(FACTORS)))
        with torch.no_grad():
            latents = self.generator.mapping(torch.from_numpy(z).float().to(self.device))
        return as_images(render(factors_from_z(z)).images, self.device), latents

    def latent_error(self, latents: Tensor, w: Tensor) -> Tensor:
        """Mean squared error of ``latents`` [N, L, D] against ``w`` [N, D] in every layer, in units of the variance of W."""
        return (latents - w[:, None]).square().mean() / (w - self.generator.mean_latent).square().mean()

    def learn_latents(self, latents: Tensor, w: Tensor, optimiser: torch.optim.Optimizer, *, scale: float) -> Step:
        """A step of the warm start: the error of :meth:`latent_error`, at ``scale`` times the optimiser's peak rate."""
        error = self.latent_error(latents, w)
        descend(error, [optimiser], scale)
        return Step(len(latents), {"latents": error.item()})

    def losses(self, latents: Tensor, target: Tensor, index: int) -> dict[str, Tensor]:
        """Unweighted batch means of the reconstruction losses of ``latents`` [N, L, D] against ``target`` [N, 3, H, W]."""
        return self.distances(self.drawn(latents, step_generator(self.seed, index, NOISE, self.device)), target)

    def drawn(self, latents: Tensor, noise: torch.Generator) -> Tensor:
        """The generator's images [N, 3, H, W] of ``latents`` [N, L, D], with random noise."""
        images: Tensor = self.generator.synthesis(latents, noise="random", generator=noise)
        return images

    def distances(self, output: Tensor, target: Tensor) -> dict[str, Tensor]:
        """As :meth:`losses`, for given images [N, 3, H, W]."""
        return {
            "l2": F.mse_loss(output, target),
            "lpips": self.perceptual.distance(output, target).mean(),
            "id": (1 - self._similarity(output, target)).mean(),
        }

    @torch.no_grad()
    def validate(
        self, encoder: Callable[[Tensor], Tensor], *, images: int = VALIDATION_IMAGES, batch: int = 50
    ) -> dict[str, float]:
        """Figures on the split ``val`` with the stored noise: PSNR in dB, LPIPS, identity similarity, spread of the codes.

        ``encoder`` maps images [N, 3, H, W] to latents [N, L, D].

        ``delta`` is the mean distance of a code's vectors from its first one, ``offset`` the mean distance of a code from the
        mean latent.
        """

        def invert(real: Tensor) -> Inversion:
            latents = encoder(real)
            return Inversion(latents, self.generator.synthesis(latents))

        return self.validate_inversions(invert, images=images, batch=batch)

    @torch.no_grad()
    def validate_inversions(
        self, invert: Callable[[Tensor], Inversion], *, images: int = VALIDATION_IMAGES, batch: int = 50
    ) -> dict[str, float]:
        """As :meth:`validate`, of a method that makes pictures of its own."""
        pictures = torch.from_numpy(render_split("val", range(images)).images).to(self.device)
        target = pictures.movedim(3, 1).float() / 127.5 - 1
        rows: dict[str, list[Tensor]] = {"psnr": [], "lpips": [], "id": [], "delta": [], "offset": []}
        for real in target.split(batch):
            found = invert(real)
            latents, output = found.latents, found.images.clamp(-1, 1)
            rows["psnr"].append(10 * torch.log10(4 / (output - real).double().square().flatten(1).mean(1)))
            rows["lpips"].append(self.perceptual.distance(output, real))
            rows["id"].append(self._similarity(output, real))
            rows["delta"].append((latents[:, 1:] - latents[:, :1]).norm(dim=2).mean(1))
            rows["offset"].append((latents - self.generator.mean_latent).norm(dim=2).mean(1))
        return {name: torch.cat(values).double().mean().item() for name, values in rows.items()}

    def validate_method(self, row: Any) -> dict[str, float]:
        """As :meth:`validate_inversions`, of a method (:class:`invbench.api.Method`)."""
        return self.validate_inversions(lambda images: row.invert(images, Untimed()))

    def _similarity(self, a: Tensor, b: Tensor) -> Tensor:
        return (self.identity(a) * self.identity(b)).sum(1)


class FrozenEmbedder:
    """A trained encoder as the first stage of a refinement (:class:`invbench.api.Embedder` has the methods), not timed.

    encoder  makes codes [N, D] in W or [N, L, D] in W+ of images
    """

    def __init__(self, encoder: Any, generator: Any) -> None:
        self.encoder, self.generator = encoder, generator

    @torch.no_grad()
    def __call__(self, images: Tensor) -> Tensor:
        """Latents [N, L, D] of images [N, 3, H, W] in [-1, 1]."""
        found: Tensor = self.encoder(images)
        return self.generator.repeat(found) if found.ndim == 2 else found

    def embed(self, images: Tensor, clock: Clock) -> Tensor:
        return self(images)


def hold_statistics(network: nn.Module) -> None:
    """Let the batch normalisations of a network in training use their running statistics, and leave those as they are.

    For recipes that make several passes in a step. The drawn picture that such a network sees is the same for the whole batch
    in the first pass, and not in the later ones; statistics of the batch differ between the passes, and their running mean
    fits none of them. ReStyle's encoder over pSp so trained, in five passes from the start, gave 21.5 dB after the first pass
    with the statistics of first passes, and 18.7 dB with the running ones, with which it is used.
    """
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eval()


def after_warm_start(progress: float) -> float:
    """Progress in the published part of the training, in [0, 1); below 0 during the warm start."""
    return (progress - WARM_START) / (1 - WARM_START)


def weighted(losses: dict[str, Tensor]) -> Tensor:
    """The reconstruction losses, added with their published weights."""
    return torch.stack([WEIGHTS[name] * value for name, value in losses.items()]).sum()
