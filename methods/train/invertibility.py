"""Recipe of SAM's invertibility predictor: Parmar et al. 2022, section 3.2; adobe-research/sam_inversion.

Training pictures are inverted in each latent space separately, by the method's optimisation from the e4e code; the network
learns the map of the remaining perceptual error. As published: mean squared error summed over the spaces, SGD with momentum
0.9, weight decay 5e-4, polynomial schedule, ten times the rate for pyramid and decoder, batch 16, flips of picture and map,
random blur.

Half of the pictures have out-of-domain extras, as the authors' photographs do. So this network, as the only one of the zoo that
a method's decisions depend on, has seen hats, microphones, earrings and patterns in training. Faces and extras are drawn from
this recipe's seed; none is in a test split.

The spaces are W+ and those of F4 to F10 that the generator has: five from 256x256 pixels on, three at 64x64. Segments play no
part here; the method averages the predictions over them.

Departures for a training of minutes on a CPU: those of ``SHORTENED`` from ``PUBLISHED``, which trains the published network as
published: ``Training(seed=9, **PUBLISHED)``. What differs in both: random initial weights (ResNet-101 of ImageNet), a budget of
time (100 epochs), and error maps of the domain's perceptual network (LPIPS-VGG).
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
import torch.nn.functional as F
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as to_safetensors
from torch import Tensor, nn
from tqdm import tqdm

from invbench.api import InvbenchError
from invbench.datasets.procfaces import PARSING_CLASSES
from invbench.methods.common.losses import PerceptualNetwork, at_most
from invbench.methods.nets.invertibility import InvertibilityHead, InvertibilityPredictor
from invbench.methods.sam import SAM, SPEC, feature_spaces, join_classes, most_editable
from invbench.methods.train.common import ZOO, Recipe, Step, descend, seeded, step_rng, write_atomic
from invbench.methods.train.frozen import load_frozen
from invbench.methods.train.renders import blurred, draw
from invbench.methods.z_class import SPEC as Z_CLASS
from invbench.methods.z_class import ZClass
from invbench.options import make

RECIPES = {
    "invertibility": {
        "minutes": 4.0,
        "seed": 9,
        "help": "SAM's invertibility predictor; first inverts its pictures, 6 to 12 minutes beside the budget",
    },
    "biggan_invertibility": {
        "minutes": 2.0,
        "seed": 9,
        "help": "the same for the class-conditional generator; needs biggan and biggan_latent_stats",
        "options": {
            "kind": "classes", "pictures": 96, "held_out": 16, "steps": 25,
            "base": {
                "planes": [8, 12, 16, 24], "blocks": [1, 2, 2], "multi_grid": [1, 2], "stem": 16, "pool": False,
                "output_stride": 8, "rates": [1, 2, 4, 6], "width": 16, "low_level": 16, "dropouts": [0.0, 0.0, 0.0],
            },
        },  # fmt: skip
    },
}


@dataclass(frozen=True)
class Kind:
    """What is particular to a kind of generator: its networks of the zoo by role, the name of its latents' space, the prior's
    weight in its suite, and the feature spaces used there (None: all).
    """

    networks: Mapping[str, str]
    latents: str
    lambda_prior: float
    features: tuple[str, ...] | None = None


KINDS = {
    "styles": Kind(
        {"generator": "generator", "latent_stats": "latent_stats", "perceptual_vgg": "perceptual", "encoder_e4e": "e4e"},
        "W+",
        7.2e-8,  # that of SAM in the suite procfaces; the learning rate is the published one, the steps are few
    ),
    "classes": Kind(
        {"generator": "biggan", "latent_stats": "biggan_latent_stats", "perceptual_vgg": "perceptual"},
        "Z+",
        2.5e-7,  # that of SAM in the suite procclasses
        features=("F0", "F2"),
    ),
}
START_STEPS = 40  # of the optimisation of z and class, from which the inversions of that generator start
BASE: dict[str, Any] = {
    "planes": [8, 16, 32, 48],
    "blocks": [1, 2, 2],
    "multi_grid": [1, 2],
    "stem": 16,
    "pool": False,  # no pooling at 64 pixels
    "output_stride": 8,
    "rates": [1, 2, 4, 6],  # cover the 8x8 map as the published rates cover 16x16
    "width": 32,
    "low_level": 16,
    "dropouts": [0.0, 0.0, 0.0],
}
PYRAMID_FACTOR = 10  # of the rate of pyramid and decoder
# base: arguments of the shared network; rate: of backbone and heads; pictures, held_out: their numbers; steps: of an inversion;
# scaled: error maps are divided by their space's standard deviation, so that the small errors of the fine spaces count as much
# as the large ones of W+, and the heads begin at the mean error, below which their ReLU has no gradient.
PUBLISHED: dict[str, Any] = {
    "base": {}, "rate": 1e-4, "pictures": 10_000, "held_out": 1_000, "steps": 501, "scaled": False,
}  # fmt: skip
# A small network without dropout; few pictures, and higher rates, since the training is sixty times shorter; inversions of few
# steps, since a generator of 64x64 pixels is fitted quickly.
SHORTENED: dict[str, Any] = {
    "base": BASE, "rate": 0.004, "pictures": 160, "held_out": 32, "steps": 50, "scaled": True,
}  # fmt: skip
BATCH = 16
PART = 16  # number of pictures inverted together; a finished part is not computed again
DRAWS, TRAINING, HELD_OUT = 0, 1, 2  # random streams
FUSED = [name for name in PARSING_CLASSES if name not in ("background", "hair", "neck", "cloth", "occluder")]


@dataclass(frozen=True)
class Examples:
    """images float32 [M, 3, H, W] in [-1, 1]; parsing int64 [M, H, W]; errors float32 [M, K, H, W]; seconds of inversion."""

    images: Tensor
    parsing: Tensor
    errors: Tensor
    seconds: float


class Training(Recipe):
    """Trains on ``pictures`` images and validates on ``held_out``; the other arguments are explained beside PUBLISHED.

    Decisions are validated at ``threshold``. ``folder`` holds the inverted parts, ``zoo`` the frozen networks.
    """

    def __init__(
        self,
        *,
        seed: int,
        device: torch.device | str = "cpu",
        base: Mapping[str, Any] = SHORTENED["base"],
        rate: float = SHORTENED["rate"],
        pictures: int = SHORTENED["pictures"],
        held_out: int = SHORTENED["held_out"],
        steps: int = SHORTENED["steps"],
        scaled: bool = SHORTENED["scaled"],
        threshold: float = 0.095,
        kind: str = "styles",
        folder: Path = Path("runs") / "train" / "invertibility" / "targets",
        zoo: Path = ZOO,
    ) -> None:
        self.seed, self.threshold = seed, threshold
        own = KINDS[kind]
        networks = {role: load_frozen(name, device=device, zoo=zoo) for role, name in own.networks.items()}
        inverters = single_space_inverters(networks, steps, own)
        settings = {"seed": seed, "steps": steps, "lambda_prior": own.lambda_prior, "spaces": list(inverters)}
        folder = folder / _digest(networks, settings)
        encoder, perceptual = networks.get("encoder_e4e") or optimised_start(networks), networks["perceptual_vgg"]
        self.train, self.held_out = (
            prepare(inverters, encoder, perceptual, folder=folder / name, seed=[seed, stream], count=count, device=device)
            for name, stream, count in (("training", TRAINING, pictures), ("held-out", HELD_OUT, held_out))
        )
        self.config = {"spaces": list(inverters), "base": dict(base)}
        self.eight_bits = kind == "classes"
        with seeded(seed):
            self.network = InvertibilityPredictor(**self.config)
        self.spread = self.train.errors.std((0, 2, 3))  # [K]
        if scaled:
            start_from_mean(self.network, self.train.errors.mean((0, 2, 3)) / self.spread)
        else:
            self.spread = torch.ones_like(self.spread)
        self.network.to(device).to(memory_format=torch.channels_last)
        self.float32 = tuple(key for key in self.network.state_dict() if key.endswith(("running_mean", "running_var")))
        self.heads = nn.Module()
        shared = self.network.base
        fast = [*shared.aspp.parameters(), *shared.decoder.parameters()]
        slow = [*shared.backbone.parameters(), *self.network.heads.parameters()]
        groups = [{"params": slow, "lr": rate}, {"params": fast, "lr": PYRAMID_FACTOR * rate}]
        self.optimisers = [torch.optim.SGD(groups, momentum=0.9, weight_decay=5e-4)]

    def step(self, index: int, progress: float) -> Step:
        rng = step_rng(self.seed, index, DRAWS)
        count = len(self.train.images)
        rows = torch.from_numpy(rng.choice(count, min(BATCH, count), replace=False))
        flip = torch.from_numpy(rng.random(len(rows)) < 0.5)
        radius = torch.from_numpy(rng.random(len(rows)) * (rng.random(len(rows)) < 0.5)).float()  # in pixels
        images, errors = (_flipped(x[rows], flip) for x in (self.train.images, self.train.errors))
        predicted = stacked(self.network, blurred(images, (radius.square() / 4).to(images)))
        losses = (predicted - errors / self.spread.view(-1, 1, 1)).square().mean((0, 2, 3))
        descend(losses.sum(), self.optimisers, (1 - progress) ** 0.9)
        return Step(len(rows), {name: value.item() for name, value in zip(self.config["spaces"], losses, strict=True)})

    @torch.no_grad()
    def finish(self, network: nn.Module) -> None:
        """Scale the outputs from standard deviations to errors; a positive factor commutes with the final ReLU."""
        assert isinstance(network, InvertibilityPredictor)
        for last, spread in zip(last_layers(network), self.spread, strict=True):
            last.weight.mul_(spread)
            _bias(last).mul_(spread)

    @torch.no_grad()
    def validate(self, network: nn.Module) -> dict[str, float]:
        """Figures on held-out pictures; ``mean_map`` is a predictor that gives the mean error of each pixel.

        For each space: the mean true error, the mean squared error of both predictors, and R2 of the network against the mean
        map. Also the share of segments that get the same space as with the true maps, at ``threshold`` and at the median of
        all segments' errors.
        """
        true = self.held_out.errors.double()
        predicted = torch.cat([stacked(network, part) for part in self.held_out.images.split(BATCH)]).double()
        mean_map = self.train.errors.double().mean(0).expand_as(true)
        figures = {"preparation_minutes": (self.train.seconds + self.held_out.seconds) / 60}
        for k, space in enumerate(self.config["spaces"]):
            mse, baseline = ((guess[:, k] - true[:, k]).square().mean().item() for guess in (predicted, mean_map))
            figures |= {f"{space}_error": true[:, k].mean().item(), f"{space}_mse": mse, f"{space}_mse_mean_map": baseline}
            figures[f"{space}_r2"] = 1 - mse / baseline
        one_hot = F.one_hot(self.held_out.parsing, len(PARSING_CLASSES)).movedim(3, 1).double()
        segments = join_classes(one_hot, PARSING_CLASSES, FUSED)
        area = segments.flatten(2).sum(2)
        errors = torch.einsum("nchw,nkhw->nck", segments, true)[area > 0] / area[area > 0][:, None]
        figures["segments"], figures["median"] = float((area > 0).sum()), errors.median().item()
        for name, threshold in (("threshold", self.threshold), ("median", figures["median"])):
            right = most_editable(true, segments, threshold)
            for guess, prefix in ((predicted, "same_space"), (mean_map, "same_space_mean_map")):
                same = most_editable(guess, segments, threshold) == right
                figures[f"{prefix}_at_{name}"] = same[area > 0].double().mean().item()
        return figures


def single_space_inverters(networks: Mapping[str, Any], steps: int, kind: Kind) -> dict[str, SAM]:
    """SAM as in the suite, one for each space of the generator alone, from the most to the least editable."""
    options = {"steps": steps, "lambda_prior": kind.lambda_prior, "fused": []}
    features = kind.features or tuple(feature_spaces(networks["generator"]))
    choices: dict[str, list[str]] = {kind.latents: []} | {space: [space] for space in features}
    return {space: SAM(networks, make(SPEC, {**options, "spaces": choice}), None) for space, choice in choices.items()}


def optimised_start(networks: Mapping[str, Any]) -> Callable[[Tensor], Tensor]:
    """Images [N, 3, H, W] -> conditions [N, L, D] by the optimisation of z and class."""
    start = ZClass({**networks, "directions": None}, make(Z_CLASS, {"steps": START_STEPS, "lr": 0.1}))

    def run(images: Tensor) -> Tensor:
        with torch.enable_grad():
            return start.optimise(images)

    return run


def prepare(
    inverters: Mapping[str, SAM],
    encoder: Callable[[Tensor], Tensor],
    perceptual: PerceptualNetwork,
    *,
    folder: Path,
    seed: list[int],
    count: int,
    device: torch.device | str,
) -> Examples:
    """Render and invert ``count`` pictures; parts that an earlier call has finished are read from ``folder``.

    ``seed`` is a recipe's seed and a stream. Raises InvbenchError if a file of ``folder`` is not such a part.
    """
    parts = []
    for index in tqdm(range(-(-count // PART)), desc=f"inverting {folder.name} pictures", unit="part"):
        path = folder / f"{index:04d}.safetensors"
        if not path.exists():
            _invert_part(inverters, encoder, perceptual, path, rng_key=(seed[0], index, seed[1]), device=device)
        parts.append(_read_part(path))
    tensors = {key: torch.cat([found[key] for found, _ in parts])[:count] for key in ("images", "parsing", "errors")}
    return Examples(
        images=(tensors["images"].to(device).float() / 127.5 - 1).contiguous(memory_format=torch.channels_last),
        parsing=tensors["parsing"].to(device).long(),
        errors=tensors["errors"].to(device).float(),
        seconds=sum(seconds for _, seconds in parts),
    )


def error_map(perceptual: PerceptualNetwork, a: Tensor, b: Tensor) -> Tensor:
    """Perceptual error at every pixel, [N, 1, H, W]: the layers' maps, resized bilinearly and added, as in spatial LPIPS."""
    maps = [F.interpolate(m, size=a.shape[-2:], mode="bilinear", align_corners=False) for m in perceptual.maps(a, b)]
    return torch.stack(maps).sum(0)


def stacked(network: nn.Module, images: Tensor) -> Tensor:
    """The predicted error maps of all spaces, [N, K, H, W], for images [N, 3, H, W] in [-1, 1]."""
    return torch.cat(list(network(images).values()), dim=1)


def last_layers(network: InvertibilityPredictor) -> list[nn.ConvTranspose2d]:
    """The last layer of each space's head, in the order of the spaces."""
    return [cast(InvertibilityHead, head).last for head in network.heads.values()]


def _bias(layer: nn.ConvTranspose2d) -> Tensor:
    assert layer.bias is not None
    return layer.bias


def start_from_mean(network: InvertibilityPredictor, means: Tensor) -> None:
    """Initialise the output of each head near the mean [K] of its target; below zero its ReLU has no gradient."""
    with torch.no_grad():
        for last, mean in zip(last_layers(network), means, strict=True):
            last.weight.mul_(0.5)
            _bias(last).fill_(mean.item())


def _invert_part(
    inverters: Mapping[str, SAM],
    encoder: Callable[[Tensor], Tensor],
    perceptual: PerceptualNetwork,
    path: Path,
    *,
    rng_key: tuple[int, int, int],
    device: torch.device | str,
) -> None:
    started = time.monotonic()
    batch = draw(step_rng(*rng_key), PART, device, occluded=0.5)
    target = at_most(batch.images, 256)
    with torch.no_grad():
        start = encoder(batch.images)
    errors = []
    for inverter in inverters.values():
        output = at_most(inverter.invert_single_space(batch.images, start), 256).clamp(-1, 1)
        with torch.no_grad():
            errors.append(error_map(perceptual, output, target))
    tensors = {
        "images": ((batch.images + 1) * 127.5).round().to(torch.uint8),
        "parsing": batch.parsing.to(torch.uint8),
        "errors": torch.cat(errors, dim=1),
    }
    if not torch.isfinite(tensors["errors"]).all():
        raise FloatingPointError(f"inversion diverged in pictures {rng_key}: an error map is not finite")
    data = {key: value.cpu().contiguous() for key, value in tensors.items()}
    write_atomic(path, to_safetensors(data, {"seconds": str(time.monotonic() - started)}))


def _read_part(path: Path) -> tuple[dict[str, Tensor], float]:
    try:
        with safe_open(path, "pt") as file:
            tensors = {key: file.get_tensor(key) for key in ("images", "parsing", "errors")}
            return tensors, float(file.metadata()["seconds"])
    except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
        raise InvbenchError(f"{path}: expected inverted pictures, found {error}; delete it and it is made again") from error


def _digest(networks: Mapping[str, nn.Module], settings: Mapping[str, Any]) -> str:
    """Name of the folder of inverted parts; it depends on the networks and the settings."""
    found = hashlib.sha256(json.dumps(settings, sort_keys=True).encode())
    for role in sorted(networks):
        for key, value in sorted(networks[role].state_dict().items()):
            found.update(f"{role}.{key}".encode())
            found.update(value.detach().cpu().contiguous().numpy().tobytes())
    return found.hexdigest()[:12]


def _flipped(x: Tensor, rows: Tensor) -> Tensor:
    return torch.where(rows.to(x.device).view(-1, 1, 1, 1), x.flip(-1), x)
