"""Edit directions of procfaces by the procedure of InterFaceGAN (Shen et al. 2020; genforce/interfacegan).

A linear SVM separates the latents with the top and the bottom 2 % of a factor; its unit normal is the direction.
The labels are the true factors of each z. The length is then set so that strength 1 changes the factor, measured by the
regressor on the pictures, by the unit of the edit, on average over strengths -3 to 3.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from invbench.datasets.procfaces import EDITS, FACTORS, INDEX, factors_from_z, sample_z
from invbench.datasets.procfaces.classes import CLASSES, factors_in_class
from invbench.methods.directions.interfacegan import boundary
from invbench.methods.directions.linear import Directions
from invbench.methods.nets.biggan import TRUNCATED
from invbench.methods.train.common import Recipe, Step, step_rng
from invbench.methods.train.frozen import load_frozen

RECIPES = {
    "directions": {
        "minutes": 0.0,
        "seed": 0,
        "help": "edit directions by linear SVM; needs the generator and the regressor",
        "options": {"samples": 50_000},
    },
    "biggan_directions": {
        "minutes": 0.0,
        "seed": 0,
        "help": "edit directions of z and class embedding by linear SVM; needs biggan and the regressor",
        "options": {"samples": 20_000, "classes": True, "probes": 16},
    },
}

STRENGTHS = (-3.0, -2.0, -1.0, 1.0, 2.0, 3.0)
PROBES = 100


class Training(Recipe):
    """Computes the edit directions from ``samples`` latents; there are no training steps.

    classes  whether the generator is the class-conditional one, whose latents are z and the class's embedding
    probes   number of latents on which lengths and effects are measured
    """

    float32 = ("vectors",)

    def __init__(self, *, seed: int, device: torch.device | str, samples: int, classes: bool = False, probes: int = PROBES):
        self.generator = load_frozen("biggan" if classes else "generator", device=device)
        self.drawn = drawn_conditions if classes else drawn_latents
        self.regressor = load_frozen("regressor", device=device)
        self.seed, self.samples, self.probes, self.device = seed, samples, probes, device
        self.config = {"names": list(EDITS), "layers": self.generator.num_ws, "dim": self.generator.w_dim}
        self.network: nn.Module = Directions(**self.config)
        self.heads, self.optimisers = nn.ModuleDict(), []
        self.accuracy: dict[str, float] = {}

    def step(self, index: int, progress: float) -> Step:
        raise RuntimeError("directions: nothing to train; give it no minutes")

    def finish(self, network: nn.Module) -> None:
        """Compute the direction of every edit, with its length."""
        assert isinstance(network, Directions)
        factors, drawn = self.drawn(self.generator, self.seed, self.samples)
        latents = drawn.double().cpu().numpy()
        _, probes = self.drawn(self.generator, self.seed + 1, self.probes)
        for row, (name, (factor, _, _)) in enumerate(EDITS.items()):
            normal, self.accuracy[name] = boundary(latents, factors[:, INDEX[factor]], self.seed)
            unit = torch.from_numpy(normal).float().to(self.device)
            network.vectors[row] = (self._length(unit, name, probes) * unit).expand(self.generator.num_ws, -1)

    def validate(self, network: nn.Module) -> dict[str, float]:
        """The accuracy of each SVM, and on other latents the effect and the leakage of each direction.

        The effect is in units of the edit; the ideal effect equals the strength. The leakage is the root mean square change of
        the other factors at strengths 3 and -3, divided by that of the edited factor.
        """
        assert isinstance(network, Directions)
        _, probes = self.drawn(self.generator, self.seed + 2, self.probes)
        base = self._read(probes)
        figures = {f"{name}_svm_accuracy": value for name, value in self.accuracy.items()}
        for name, (factor, _, _) in EDITS.items():
            own = INDEX[factor]
            change = {s: self._read(probes + s * network[name][0]) - base for s in STRENGTHS}
            for s in STRENGTHS:
                figures[f"{name}_effect_{s:+.0f}"] = change[s][:, own].mean().item() / unit_of(name)
            rms = torch.cat([change[-3.0], change[3.0]]).square().mean(0).sqrt()
            others = rms / rms[own]
            others[own] = 0
            worst = int(others.argmax())
            figures[f"{name}_leakage_mean"] = others.sum().item() / (len(FACTORS) - 1)
            figures[f"{name}_leakage_worst"] = others[worst].item()
            figures |= {f"{name}_leakage_on_{other}": others[INDEX[other]].item() for other in EDITS if other != name}
        return figures

    def _length(self, unit: Tensor, name: str, probes: Tensor) -> float:
        """Length at which the mean change over STRENGTHS is proportional to the strength with factor 1 (secant iteration)."""
        own, base, length = INDEX[EDITS[name][0]], self._read(probes), 1.0
        for _ in range(4):
            slopes = [
                (self._read(probes + s * length * unit)[:, own] - base[:, own]).mean().item() / (s * unit_of(name))
                for s in STRENGTHS
            ]
            length /= float(np.clip(np.mean(slopes), 0.25, 4.0))
        return length

    def _read(self, latents: Tensor) -> Tensor:
        """Factors that the regressor measures on the pictures of ``latents`` [N, D]; float64 [N, K]."""
        with torch.no_grad():
            parts = [self.generator.synthesis(self.generator.repeat(w)).clamp(-1, 1) for w in latents.split(50)]
            return torch.cat([self.regressor(images) for images in parts]).double()


def drawn_latents(generator: Any, seed: int, count: int) -> tuple[np.ndarray, Tensor]:
    """Factors [count, K] and w [count, D] of random z."""
    z = sample_z(seed, count)
    with torch.no_grad():
        return factors_from_z(z), generator.mapping(torch.from_numpy(z).float().to(generator.mean_latent.device))


def drawn_conditions(generator: Any, seed: int, count: int) -> tuple[np.ndarray, Tensor]:
    """Factors [count, K] and conditions (z, embedding) [count, D] of truncated z in random classes."""
    rng = step_rng(seed, 0)
    z, classes = rng.standard_normal((count, generator.z_dim)), rng.integers(len(CLASSES), size=count)
    while (far := np.abs(z) > TRUNCATED).any():
        z[far] = rng.standard_normal(int(far.sum()))
    with torch.no_grad():
        embedded = generator.embeddings.weight.T[torch.from_numpy(classes).to(generator.mean_latent.device)]
        return factors_in_class(z, classes), torch.cat([torch.from_numpy(z).to(embedded), embedded], dim=1)


def unit_of(name: str) -> float:
    """The change of the factor, in [0, 1], that strength 1 of the edit asks for."""
    factor, step, _ = EDITS[name]
    described = FACTORS[INDEX[factor]]
    return step / (described.high - described.low)
