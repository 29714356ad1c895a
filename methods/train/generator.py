"""The generator of procfaces: a StyleGAN2 that is fitted to the renderer, G(z) to render(factors(z)).

Adversarial training needs far more pictures than a CPU can process in an hour; a fit also keeps the factors of every z exact.
The resolution grows, 16 -> 32 -> 64; the small networks share their blocks with the final one. Facial features cover few
pixels, so the loss is weighted by the parsing map.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from invbench.datasets.procfaces import FACTORS, PARSING_CLASSES, factors_from_z, render, sample_z
from invbench.methods.nets.stylegan2 import Generator
from invbench.methods.train.common import Recipe, Step, cosine, descend, step_generator, step_rng
from invbench.methods.train.figures import r_squared
from invbench.methods.train.frozen import load_frozen
from invbench.methods.train.muon import Muon

RECIPES = {
    "generator": {
        "minutes": 75.0,
        "seed": 1,
        "help": "StyleGAN2 generator, 64x64; needs the regressor for its figures",
        "options": {},
    }
}

CHANNELS = {4: 128, 8: 128, 16: 96, 32: 64, 64: 32}
BATCH = 32
STAGES = ((0.08, 16), (0.28, 32), (1.0, 64))  # (share of the budget, resolution until then)
FEATURE_WEIGHT = {"background": 1.0, "cloth": 1.0, "hair": 1.0, "neck": 1.0, "ears": 2.0, "skin": 2.0}
DETAIL_WEIGHT = 6.0  # weight of eyes, brows, nose and mouth
HELD_OUT = 900_001  # seed of the latents that no training step draws
MEAN_LATENT_SAMPLES = 10_000


class Training(Recipe):
    """Fits the generator to the renderer; exports the running mean of the weights."""

    ema = 0.998

    def __init__(self, *, seed: int, device: torch.device | str):
        torch_seed = torch.Generator().manual_seed(seed)
        self.seed, self.device = seed, device
        shape = {"channels": CHANNELS, "z_dim": len(FACTORS), "w_dim": 128, "n_mapping": 4, "mapping_lr_multiplier": 1.0}
        self.config = {"config": {"resolution": 64, **shape}}
        self.network = Generator(**self.config)
        initialise(self.network, torch_seed)
        self.network.to(device)
        self.heads = nn.ModuleDict()
        self.at = {64: self.network} | {r: _smaller(self.network, r, shape) for r in (16, 32)}
        kernels = [p for p in self.network.synthesis.parameters() if p.ndim == 4 and p.shape[-1] == 3]
        matrices = {id(p) for p in kernels}
        others = [p for p in self.network.synthesis.parameters() if id(p) not in matrices]
        adam = [{"params": others, "lr": 1e-2}, {"params": list(self.network.mapping.parameters()), "lr": 5e-3}]
        self.optimisers = [Muon(kernels, 0.05), torch.optim.Adam(adam, lr=1e-2, betas=(0.9, 0.99))]

    def step(self, index: int, progress: float) -> Step:
        resolution = next(r for until, r in STAGES if progress < until)
        z = step_rng(self.seed, index).standard_normal((BATCH, len(FACTORS)))
        target, weight = pictures(z, self.device)
        factor = 64 // resolution
        target, weight = F.avg_pool2d(target, factor), F.avg_pool2d(weight, factor)
        output = self.at[resolution](torch.from_numpy(z).float().to(self.device))
        loss = fit_loss(output, target, weight)
        descend(loss, self.optimisers, cosine(progress), clip=None)
        return Step(BATCH, {"loss": loss.item()})

    def finish(self, network: nn.Module) -> None:
        """Measure the mean latent."""
        assert isinstance(network, Generator)
        draws = step_generator(self.seed, 0, stream=1)
        network.mapping.w_avg.copy_(network.sample_w(MEAN_LATENT_SAMPLES, generator=draws).double().mean(0))

    def validate(self, network: nn.Module) -> dict[str, float]:
        """PSNR in dB against the true renders; R2 of each factor, measured by the regressor on G(z) and linearly on w."""
        assert isinstance(network, Generator)
        regressor = load_frozen("regressor", device=self.device)
        z = sample_z(HELD_OUT, 1000)
        psnr, read, latents = [], [], []
        with torch.no_grad():
            for part in np.array_split(z, 20):
                target, _ = pictures(part, self.device)
                output = network(torch.from_numpy(part).float().to(self.device)).clamp(-1, 1)
                psnr.append(10 * torch.log10(4 / (output - target).square().mean((1, 2, 3))))
                read.append(regressor(output).cpu())
            draws = sample_z(HELD_OUT + 1, 8000)
            both = torch.from_numpy(np.concatenate([z, draws])).float().to(self.device)
            latents = network.mapping(both).double().cpu().numpy()
        u = factors_from_z(z)
        x = np.concatenate([latents, np.ones((len(latents), 1))], axis=1)
        coefficients = np.linalg.lstsq(x[len(z) :], factors_from_z(draws), rcond=None)[0]
        from_picture = r_squared(u, torch.cat(read).double().numpy())
        from_w = r_squared(u, x[: len(z)] @ coefficients)
        figures = {"psnr": torch.cat(psnr).mean().item()}
        figures |= {f"r2_{f.name}": float(v) for f, v in zip(FACTORS, from_picture, strict=True)}
        return figures | {f"r2_w_{f.name}": float(v) for f, v in zip(FACTORS, from_w, strict=True)}


def pictures(z: np.ndarray, device: torch.device | str) -> tuple[Tensor, Tensor]:
    """Latents z [N, K] -> the true renders [N, 3, 64, 64] in [-1, 1] and their loss weights [N, 1, 64, 64], mean 1."""
    return weighted(factors_from_z(z), device)


def weighted(u: np.ndarray, device: torch.device | str) -> tuple[Tensor, Tensor]:
    """As :func:`pictures`, for factors u [N, K]."""
    drawn = render(u)
    images = torch.from_numpy(drawn.images).to(device).movedim(3, 1).float() / 127.5 - 1
    by_class = torch.tensor([FEATURE_WEIGHT.get(name, DETAIL_WEIGHT) for name in PARSING_CLASSES], device=device)
    weight = by_class[torch.from_numpy(drawn.parsing).long().to(device)][:, None]
    return images, weight / weight.mean((1, 2, 3), keepdim=True)


def fit_loss(output: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    """L1 + MSE / 2 + L1 of the gradients / 2, weighted by ``weight`` [N, 1, H, W], mean over three scales."""
    total = output.new_zeros(())
    for scale in range(3):
        error = output - target
        total = total + (weight * (error.abs() + 0.5 * error.square())).mean()
        for gradient, w in (
            (error[..., 1:] - error[..., :-1], weight[..., 1:]),
            (error[..., 1:, :] - error[..., :-1, :], weight[..., 1:, :]),
        ):
            total = total + 0.25 * (w * gradient.abs()).mean()
        if scale < 2:
            output, target, weight = (F.avg_pool2d(x, 2) for x in (output, target, weight))
    return total / 3


def initialise(network: Generator, draws: torch.Generator) -> None:
    """Draw all weights and noise maps from ``draws``, so that they do not depend on torch's global state."""
    with torch.no_grad():
        for name, value in _tensors(network):
            if name.endswith(("weight", "const", "noise_const")):
                value.copy_(torch.randn(value.shape, generator=draws))
            elif name.endswith("noise_strength"):
                value.fill_(0.05)


def _tensors(network: nn.Module) -> Iterator[tuple[str, Tensor]]:
    yield from network.named_parameters()
    yield from ((name, value) for name, value in network.named_buffers() if name.endswith("noise_const"))


def _smaller(network: Generator, resolution: int, shape: dict[str, Any]) -> Generator:
    """The generator of a lower resolution that shares the mapping and the first blocks of ``network``."""
    channels = {r: c for r, c in CHANNELS.items() if r <= resolution}
    small = Generator({"resolution": resolution, **shape, "channels": channels})
    small.mapping = network.mapping
    for r in channels:
        setattr(small.synthesis, f"b{r}", getattr(network.synthesis, f"b{r}"))
    return small
