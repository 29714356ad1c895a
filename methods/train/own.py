"""What a suite of one's own generator needs, measured on it or trained for it: statistics, directions, an e4e encoder.

The generator is any StyleGAN2; the pictures are those that it was trained on, or like ones. The e4e recipe is that of the zoo
(:mod:`invbench.methods.train.e4e`) with other pictures: the warm start learns the latents of the generator's own pictures,
which are known, and the published part takes the real ones. Their latents are not known, as in the paper.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from invbench.api import InvbenchError
from invbench.datasets.procfaces import EDITS, INDEX
from invbench.methods.convert.directions import sefa
from invbench.methods.directions.interfacegan import boundary
from invbench.methods.directions.positions import EditDirections
from invbench.methods.nets.latent_stats import LatentStatistics
from invbench.methods.nets.style_space import measure
from invbench.methods.train import e4e
from invbench.methods.train.common import Budget, fit, save_network, step_generator, step_rng
from invbench.methods.train.directions import unit_of
from invbench.methods.train.encoding import FACES, Reconstruction
from invbench.methods.train.frozen import load_frozen

SAMPLES = 20_000  # random latents of the statistics, as many as of procfaces
STYLES = 20_000  # of the anchors; the published number takes minutes for wide generators
COMPONENTS = 3  # directions in closed form
SMALLEST = 32  # pixels a side that the encoder's four halvings leave something of
REGRESSED = 5_000  # pictures that a regressor measures
LABELLED = 0.2  # share of labelled pictures at each end that the SVM sees
FEWEST = 20  # labelled pictures
RECORD = {"recipe": "invbench.methods.train.own"}
Strengths = Mapping[str, tuple[str, Tensor]]  # name of an edit -> the unit of strength 1, and its direction [L, D]


class OwnPictures(Reconstruction):
    """Pictures, generator and losses for an encoder of one's own generator.

    generator   the frozen generator, ``perceptual`` a network with ``distance(a, b)`` -> [N]
    identity    a network of unit embeddings [N, E], or None: no loss of that kind
    real        uint8 pictures [N, H, W, 3] to train on; ``held_out`` others for the figures
    """

    def __init__(
        self,
        *,
        seed: int,
        device: torch.device | str,
        generator: Any,
        perceptual: Any,
        identity: Any | None,
        real: np.ndarray,
        held_out: np.ndarray,
    ) -> None:
        self.seed, self.device = seed, torch.device(device)
        self.generator, self.perceptual, self.identity = generator, perceptual, identity
        self._real, self._held_out = real, held_out

    def pictures(self, index: int, batch: int, *, warm: bool = False) -> tuple[Tensor, Tensor]:
        """Pictures [batch, 3, H, W] in [-1, 1] and latents W [batch, D]: in the warm start the generator's own with
        their latents, later real ones with the mean latent."""
        draws = step_generator(self.seed, index, FACES, self.device)
        if warm:
            with torch.no_grad():
                latents = self.generator.sample_w(batch, generator=draws)
                return self.generator.synthesis(self.generator.repeat(latents)).clamp(-1, 1), latents
        chosen = step_rng(self.seed, index, FACES).integers(len(self._real), size=batch)
        return images(self._real[chosen], self.device), self.generator.mean_latent.expand(batch, -1)

    def distances(self, output: Tensor, target: Tensor) -> dict[str, Tensor]:
        """The unweighted losses; without ``id`` if there is no such network."""
        found = {"l2": F.mse_loss(output, target), "lpips": self.perceptual.distance(output, target).mean()}
        return found if self.identity is None else {**found, "id": (1 - self._similarity(output, target)).mean()}

    @torch.no_grad()
    def validate(
        self, encoder: Callable[[Tensor], Tensor], *, images: int = 200, batch: int = 50
    ) -> dict[str, float]:
        """Figures on held-out pictures with the stored noise: PSNR in dB, LPIPS, spread of the codes."""
        rows: dict[str, list[Tensor]] = {"psnr": [], "lpips": [], "delta": []}
        for real in _split(self._held_out[:images], self.device, batch):
            latents = encoder(real)
            output = self.generator.synthesis(latents).clamp(-1, 1)
            rows["psnr"].append(10 * torch.log10(4 / (output - real).double().square().flatten(1).mean(1)))
            rows["lpips"].append(self.perceptual.distance(output, real))
            rows["delta"].append((latents[:, 1:] - latents[:, :1]).norm(dim=2).mean(1))
        return {name: torch.cat(values).double().mean().item() for name, values in rows.items()}


def images(pictures: np.ndarray, device: torch.device | str) -> Tensor:
    """uint8 [N, H, W, 3] -> float32 [N, 3, H, W] in [-1, 1]."""
    return torch.from_numpy(np.ascontiguousarray(pictures)).to(device).movedim(3, 1).float() / 127.5 - 1


def embedded_perceptual(device: torch.device | str) -> Any:
    """The perceptual network of the embedded suite, for a machine that has no other."""
    return load_frozen("perceptual", device=device)


def save_generator(generator: Any, folder: Path) -> Path:
    """Write the generator as a network of the zoo, every number as it is."""
    names = tuple(key for key, value in generator.state_dict().items() if value.is_floating_point())
    config = {"config": generator.config.to_dict()}
    return save_network(folder / "generator.safetensors", generator, config, RECORD, float32=names)


def save_statistics(generator: Any, folder: Path, *, seed: int) -> LatentStatistics:
    """Measure and write ``latent_stats`` and ``style_space``. Returns the former."""
    latents = generator.sample_w(SAMPLES, generator=step_generator(seed, 0, 0, generator.mean_latent.device)).cpu()
    stats = LatentStatistics.measure(latents)
    exact = tuple(stats.state_dict())
    save_network(folder / "latent_stats.safetensors", stats, {"dim": generator.w_dim}, RECORD, float32=exact)
    styles, config = measure(generator, samples=STYLES, seed=seed)
    save_network(folder / "style_space.safetensors", styles, config, RECORD, float32=tuple(styles.state_dict()))
    return stats


def train_e4e(recipe: OwnPictures, folder: Path, *, minutes: float, seed: int, device: str) -> tuple[nn.Module, dict[str, Any]]:
    """Train the encoder for ``minutes`` of processor time and write it as ``e4e``. Returns it, and figures on other pictures.

    Raises InvbenchError for a generator whose pictures are too small for the encoder.
    """
    if recipe.generator.resolution < SMALLEST:
        found = f"{recipe.generator.resolution} pixels"
        raise InvbenchError(f"e4e: expected a generator of at least {SMALLEST} pixels a side, found one of {found}")
    training = e4e.Training(seed=seed, device=device, reconstruction=recipe)
    fit(training, "e4e", budget=Budget(minutes), seed=seed, device=device, folder=folder / "training", zoo=folder)
    network = load_frozen("e4e", device=device, zoo=folder)
    return network, recipe.validate(network)


def closed_form(generator: Any, *, seed: int) -> Strengths:
    """SeFa's first components over all layers. Strength 1 is a standard deviation of random latents along the component."""
    names = [f"sefa{number}" for number in range(COMPONENTS)]
    found, _ = sefa(generator, edits={name: {"component": number} for number, name in enumerate(names)})
    latents = generator.sample_w(SAMPLES, generator=step_generator(seed, 0, 0, generator.mean_latent.device)).cpu().double()
    vectors = {name: found[name].double() for name in names}
    spread = {name: float((latents @ vector[0]).std()) for name, vector in vectors.items()}
    return {name: ("standard deviations of W", (spread[name] * vector).float()) for name, vector in vectors.items()}


@torch.no_grad()
def regressed(generator: Any, regressor: Any, *, seed: int) -> Strengths:
    """The edits of procfaces, fitted on random pictures that its regressor measures; strength 1 is the unit of each edit.

    The length follows from the slope of the measured factor along the normal, over the random latents.
    """
    latents = generator.sample_w(REGRESSED, generator=step_generator(seed, 0, 1, generator.mean_latent.device))
    parts = [regressor(generator.synthesis(generator.repeat(part)).clamp(-1, 1)) for part in latents.split(50)]
    factors = torch.cat(parts).double().cpu().numpy()
    scores = {name: (factors[:, INDEX[factor]], unit_of(name)) for name, (factor, _, _) in EDITS.items()}
    return _fitted(latents.double().cpu().numpy(), scores, generator, seed=seed, extreme=0.02)


@torch.no_grad()
def labelled(
    generator: Any, encoder: Any, pictures: np.ndarray, labels: Mapping[str, np.ndarray], *, seed: int
) -> Strengths:
    """Edits fitted on the latents (of layer 0) that the encoder gives labelled pictures; strength 1 is a standard deviation
    of the label.

    labels  name -> [N], NaN for a picture without one. Raises InvbenchError for fewer than FEWEST labels, or equal ones.
    """
    device = generator.mean_latent.device
    latents = torch.cat([encoder(part)[:, 0] for part in _split(pictures, device, 50)]).double().cpu().numpy()
    found: dict[str, tuple[str, Tensor]] = {}
    for name, values in labels.items():
        known = np.isfinite(values)
        if known.sum() < FEWEST or np.ptp(values[known]) == 0:
            raise InvbenchError(f"labels: {name}: expected at least {FEWEST} labels that differ, found {int(known.sum())}")
        scores = {name: (values[known], float(values[known].std()))}
        one = _fitted(latents[known], scores, generator, seed=seed, extreme=LABELLED)
        found |= {key: ("standard deviations of the label", vector) for key, (_, vector) in one.items()}
    return found


def save_directions(generator: Any, edits: Strengths, folder: Path) -> Path:
    """Write all edits as one network ``directions``."""
    network = EditDirections(names=tuple(edits), num_ws=generator.num_ws, dim=generator.w_dim)
    for index, (_, vector) in enumerate(edits.values()):
        network.vectors[index] = vector
    config = {"names": list(edits), "num_ws": generator.num_ws, "dim": generator.w_dim}
    return save_network(folder / "directions.safetensors", network, config, RECORD, float32=tuple(network.state_dict()))


def _fitted(
    latents: np.ndarray, scores: Mapping[str, tuple[np.ndarray, float]], generator: Any, *, seed: int, extreme: float
) -> Strengths:
    """Name -> (score [M], step): the direction along which the score changes by the step, by the slope of a line through it."""
    found: dict[str, tuple[str, Tensor]] = {}
    for name, (values, step) in scores.items():
        normal, accuracy = boundary(latents, values, seed, extreme=extreme)
        along = (latents - latents.mean(0)) @ normal
        slope = float(along @ (values - values.mean()) / (along @ along))
        if slope <= 0:
            raise InvbenchError(f"direction {name}: expected a score that grows along its normal, found slope {slope:.3g}")
        vector = torch.from_numpy(normal * step / slope).float()
        found[name] = (f"as measured (SVM accuracy {accuracy:.2f})", vector.expand(generator.num_ws, -1))
    return found


def _split(pictures: np.ndarray, device: torch.device | str, batch: int) -> Sequence[Tensor]:
    return [images(pictures[first : first + batch], device) for first in range(0, len(pictures), batch)]
