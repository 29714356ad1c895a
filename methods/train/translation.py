"""Recipes of the image-to-image networks: StarGAN (Choi et al. 2018; yunjey/stargan, solver.py), AttGAN (He et al. 2019;
elvisyjlin/AttGAN-PyTorch), STGAN (Liu et al. 2019; csmliu/STGAN), and the first two with the CAM-consistency loss (Kim et al.
2021).

Published: a Wasserstein critic with gradient penalty 10, five steps of it for one of the generator; the critic also tells the
attributes of real pictures, the generator is to show those it was asked for, which are another picture's. StarGAN: classes 1 on
both sides (summed over attributes), the way to the other labels and back 10. AttGAN and STGAN: classes 1 and 10 (their mean),
the picture with its own labels (STGAN: no difference) 100. Adam (0.5, 0.999). The labels of CelebA are annotated; here they are
the true factors of the renders, cut at the thresholds of the suite's attributes. Nothing is flipped: yaw and light are not
symmetric.

For a budget of minutes: all in ``SHORTENED``, beside the reduced widths.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from invbench.datasets.procfaces import INDEX, render, render_split, sample_factors, split
from invbench.methods.nets.attgan import AttGANDiscriminator, AttGANGenerator
from invbench.methods.nets.labels import Labels
from invbench.methods.nets.stargan import StarGANDiscriminator, StarGANGenerator
from invbench.methods.nets.stgan import STGANGenerator
from invbench.methods.train.cam import activation, outside
from invbench.methods.train.common import ZOO, Recipe, Step, cosine, descend, seeded, step_generator, step_rng
from invbench.methods.train.frozen import load_frozen
from invbench.methods.train.renders import as_images

RECIPES = {
    "stargan": {"minutes": 15, "seed": 0, "help": "StarGAN's generator; needs attributes", "options": {"kind": "stargan"}},
    "attgan": {"minutes": 7, "seed": 0, "help": "AttGAN's generator; needs attributes", "options": {"kind": "attgan"}},
    "stgan": {"minutes": 7, "seed": 0, "help": "STGAN's generator; needs attributes", "options": {"kind": "stgan"}},
    "stargan_cam": {
        "minutes": 15,
        "seed": 0,
        "help": "StarGAN's generator with CAM consistency; needs attributes",
        "options": {"kind": "stargan", "cam": 10.0},
    },
    "attgan_cam": {
        "minutes": 7,
        "seed": 0,
        "help": "AttGAN's generator with CAM consistency; needs attributes",
        "options": {"kind": "attgan", "cam": 10.0},
    },
}

CRITIC_STEPS, PENALTY = 5, 10.0
POOL, OTHERS, BETWEEN = 0, 1, 2  # streams of randomness
VALIDATION = 100  # pictures of the split "val"
FAR = 0.25  # how far beyond its threshold a factor lies in a true edit that validates, of its range
# edit of the suite -> [attribute, whether more of the edit's factor gives it]
EDITS = {"age": ["old", True], "yaw": ["facing_left", False], "smile": ["smiling", True], "eye_openness": ["eyes_open", True]}
# Peak rates of generator and critic along a cosine (published 1e-4 for StarGAN, 2e-4 for the others, then a linear fall or a
# tenth), pictures in a step (16; 32), a set of so many renders (CelebA: 200,000), channels of the critic, not exported.
SHORTENED: dict[str, Any] = {"lr": 2e-3, "critic_lr": 1e-3, "batch": 8, "pictures": 6000, "critic": 16}


@dataclass(frozen=True)
class Published:
    """What differs between the three: weights of the generator's losses, and how classes are summed."""

    classes: float
    reconstruction: float
    cycle: bool  # whether the reconstruction goes over the other labels and back
    labels: dict[str, Any]


KINDS = {
    "stargan": Published(1.0, 10.0, True, {"off": 0.0, "on": 1.0}),
    "attgan": Published(10.0, 100.0, False, {"off": -0.5, "on": 0.5}),
    "stgan": Published(10.0, 100.0, False, {"off": -0.5, "on": 0.5, "difference": True}),
}
GENERATORS: dict[str, type[nn.Module]] = {"stargan": StarGANGenerator, "attgan": AttGANGenerator, "stgan": STGANGenerator}
# Reduced widths: a quarter of a megabyte each. Four halvings of 64 pixels end at 4 x 4, as five of 128 do.
ARCHITECTURES: dict[str, dict[str, Any]] = {
    "stargan": {"width": 10, "blocks": 6},
    "attgan": {"widths": [12, 24, 40, 56], "inject": 1},
    "stgan": {"widths": [8, 16, 32, 40]},
}
HALVINGS = 4
CAM_LAYER = 3  # convolutions before the feature of the activation map: 8 x 8 places


def architecture(kind: str) -> dict[str, Any]:
    """Arguments of the reduced network, which takes the attributes of the suite's edits."""
    names = [name for name, _ in EDITS.values()]
    return {"labels": {"names": names, "edits": EDITS, **KINDS[kind].labels}, **ARCHITECTURES[kind]}


class Training(Recipe):
    """``kind``: one of KINDS. The others but ``zoo``, which holds the frozen network, as of SHORTENED.

    cam  weight of the CAM consistency at the end, in both networks' losses; 0: none. Its reading is in
         :mod:`invbench.methods.train.cam`
    """

    eight_bits = True

    def __init__(
        self,
        *,
        seed: int,
        device: torch.device | str = "cpu",
        kind: str,
        cam: float = 0.0,
        lr: float = SHORTENED["lr"],
        critic_lr: float = SHORTENED["critic_lr"],
        batch: int = SHORTENED["batch"],
        pictures: int = SHORTENED["pictures"],
        critic: int = SHORTENED["critic"],
        zoo: Path = ZOO,
    ) -> None:
        self.seed, self.batch, self.device, self.cam = seed, batch, torch.device(device), cam
        self.published = KINDS[kind]
        self.reader: Any = load_frozen("attributes", device=device, zoo=zoo)
        self.config = architecture(kind)
        self.labels = Labels(**self.config["labels"])
        u = sample_factors(step_rng(seed, 0, POOL), pictures)
        self.pictures = torch.from_numpy(render(u).images).to(device)
        self.has = owned(u, self.labels.names, self.reader).to(device)
        with seeded(seed):
            self.network = GENERATORS[kind](**self.config)
            size = self.pictures.shape[1]
            if kind == "stargan":
                self.critic: Any = StarGANDiscriminator(len(self.labels), size=size, width=critic, layers=HALVINGS)
            else:
                widths = [critic * 2**i for i in range(HALVINGS)]
                self.critic = AttGANDiscriminator(len(self.labels), size=size, widths=widths, hidden=8 * critic)
        self.heads = self.critic.to(device)
        self.network.to(device)
        rates = ((self.network, lr), (self.critic, critic_lr))
        self.optimisers = [torch.optim.Adam(one.parameters(), rate, betas=(0.5, 0.999)) for one, rate in rates]

    def step(self, index: int, progress: float) -> Step:
        images, has, other = self.drawn(index)
        own, target = self.labels.numbers(has), self.labels.numbers(other)
        weight = self.cam * min(max(progress / 0.2 - 1, 0.0), 1.0)  # rises once the critic tells classes: our choice
        wanted = (other.float() - has.float()) if weight else None
        given, scale = self.labels.given(target, own), cosine(progress)
        with torch.no_grad():
            drawn = self.network(images, given)
        losses = self.critic_losses(images, drawn, has, wanted, weight, index)
        descend(sum(losses.values(), torch.zeros(())), self.optimisers[1:], scale)
        told = {name: value.item() for name, value in losses.items()}
        if index % CRITIC_STEPS == CRITIC_STEPS - 1:
            losses = self.generator_losses(images, own, target, other, wanted, weight)
            descend(sum(losses.values(), torch.zeros(())), self.optimisers[:1], scale)
            told |= {name: value.item() for name, value in losses.items()}
        return Step(self.batch, told)

    def drawn(self, index: int) -> tuple[Tensor, Tensor, Tensor]:
        """Pictures [N, 3, H, W], bool [N, A] which attributes they have, and those of the pictures in another order."""
        rng = step_rng(self.seed, index, OTHERS)
        rows = torch.from_numpy(rng.integers(0, len(self.pictures), self.batch)).to(self.device)
        images = self.pictures[rows].permute(0, 3, 1, 2).float() / 127.5 - 1
        return images, self.has[rows], self.has[rows][torch.from_numpy(rng.permutation(self.batch)).to(self.device)]

    def critic_losses(
        self, images: Tensor, drawn: Tensor, has: Tensor, wanted: Tensor | None, weight: float, index: int
    ) -> dict[str, Tensor]:
        """Weighted losses of the critic; it sees ``drawn`` without the generator's graph."""
        real, logits = self.critic(images)
        share = torch.rand(len(images), 1, 1, 1, generator=step_generator(self.seed, index, BETWEEN)).to(images)
        between = torch.lerp(drawn, images, share).requires_grad_(True)
        (gradient,) = torch.autograd.grad(self.critic(between)[0].sum(), between, create_graph=True)
        norms = gradient.flatten(1).norm(dim=1)
        losses = {
            "critic": self.critic(drawn)[0].mean() - real.mean(),
            "penalty": PENALTY * (norms - 1).square().mean(),
            "classes": self.entropy(logits, has),
        }
        if wanted is not None:
            losses["critic_cam"] = weight * outside(activation(self.critic, drawn, wanted, CAM_LAYER), images, drawn)
        return losses

    def generator_losses(
        self, images: Tensor, own: Tensor, target: Tensor, other: Tensor, wanted: Tensor | None, weight: float
    ) -> dict[str, Tensor]:
        """Weighted losses of the generator."""
        drawn = self.network(images, self.labels.given(target, own))
        if self.published.cycle:
            back = self.network(drawn, self.labels.given(own, target))
        else:
            back = self.network(images, self.labels.given(own, own))
        self.critic.requires_grad_(False)
        real, logits = self.critic(drawn)
        self.critic.requires_grad_(True)
        losses = {
            "adversarial": -real.mean(),
            "asked": self.published.classes * self.entropy(logits, other),
            "reconstruction": self.published.reconstruction * F.l1_loss(back, images),
        }
        if wanted is not None:
            mask = activation(self.critic, drawn.detach(), wanted, CAM_LAYER).detach()
            losses["cam"] = weight * outside(mask, images, drawn)
        return losses

    def entropy(self, logits: Tensor, has: Tensor) -> Tensor:
        """Binary cross-entropy, a mean over pictures; StarGAN sums it over attributes, the others take the mean."""
        found = F.binary_cross_entropy_with_logits(logits, has.float())
        return found * has.shape[1] if self.published.cycle else found

    @torch.no_grad()
    def validate(self, network: Any) -> dict[str, float]:
        """Of pictures of the split "val": the reconstruction, and edits that turn one attribute, by the suite's attributes.

        ``turned_NAME`` is the share in which it turned, ``kept`` the share of the others that did not, ``outside`` the mean
        change, of black to white, where the true edit changes nothing.
        """
        numbers = range(VALIDATION)
        u, truth = split("val").u[:VALIDATION], render_split("val", numbers).images
        images = as_images(truth, self.device)
        columns = [self.reader.names.index(name) for name in self.labels.names]
        before = self.reader(images) > 0
        own = self.labels.numbers(before[:, columns])
        error = (network(images, self.labels.given(own, own)).clamp(-1, 1) - images).double() / 2
        found = {"psnr": (-10 * error.square().mean((1, 2, 3)).log10()).mean().item()}
        kept, changes = [], []
        for position, column in enumerate(columns):
            turned = before[:, columns].clone()
            turned[:, position] ^= True
            output = network(images, self.labels.given(self.labels.numbers(turned), own)).clamp(-1, 1)
            same = (self.reader(output) > 0) == before
            found[f"turned_{self.labels.names[position]}"] = 1 - same[:, column].double().mean().item()
            kept.append(same[:, [i for i in range(same.shape[1]) if i != column]].double().mean())
            edited = beyond(u, column, turned[:, position].cpu().numpy(), self.reader)
            still = torch.from_numpy((render(edited).images == truth).all(3)).to(self.device)[:, None]
            changes.append(((output - images).abs() / 2 * still).sum() / (3 * still.sum()))
        return {**found, "kept": torch.stack(kept).mean().item(), "outside": torch.stack(changes).mean().item()}


def owned(u: np.ndarray, names: tuple[str, ...], reader: Any) -> Tensor:
    """bool [N, A]: which of the suite's attributes ``names`` hold for factors u [N, K], by the thresholds of their network."""
    columns = []
    for name in names:
        i = reader.names.index(name)
        columns.append((u[:, INDEX[reader.factors[i]]] > reader.thresholds[i]) == reader.above[i])
    return torch.from_numpy(np.stack(columns, 1))


def beyond(u: np.ndarray, column: int, wanted: np.ndarray, reader: Any) -> np.ndarray:
    """Factors u [N, K] with one moved beyond the threshold of attribute ``column``, to where it is as ``wanted`` (bool [N])."""
    edited = u.copy()
    sign = np.where(wanted == reader.above[column], 1.0, -1.0)
    edited[:, INDEX[reader.factors[column]]] = np.clip(reader.thresholds[column] + FAR * sign, 0, 1)
    return np.round(edited * 4096) / 4096
