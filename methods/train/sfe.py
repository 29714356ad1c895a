"""Recipe of StyleFeatureEditor's two phases: Bobkov et al. 2024; ControlGenAI/StyleFeatureEditor, runners/training_runners.py
and configs/fse_*_train.yaml.

First phase, 300,000 steps: the inverter learns from real pictures. L2, LPIPS and identity (weights of
invbench.methods.train.encoding) of the picture with the fused feature and of the one of the latents alone, both at once; 0.01
times the squared distance of the fused feature from the generator's own, which has a gradient, too; the fused feature is
blended in over 10,000 steps.

Second phase, 200,000 steps: the inverter is frozen and the editor learns, from the inversions of real pictures and from edits
whose result is known. e4e's latents of a real picture give a drawing and, moved by a random edit, an edited drawing. The
inverter sees the former; its latents moved alike, and its feature edited by the difference of the generator's own features, are
to give the latter. Losses as before, of both at once.

From step 45,000 on, an adversarial loss with weight 0.01 (invbench.methods.train.image_adversary; R1 gamma 10): on both
pictures of the first phase, on the inversions of the second. Ranger 1e-4, discriminator Adam 1e-4, 8 pictures, stored noise.

As published the second phase leaves the inverter's and e4e's normalisation in training mode, whose statistics move though the
weights are frozen; here they stay as they are. The editor sees inversions and edits in one pass, where the public code makes
two, so that its normalisation learns the statistics of both. Nothing is flipped (invbench.methods.train.encoding). The edits
are those of this domain's directions: as published, the edits that one measures are among those that one trains on.

Departures, for a budget of minutes: all in ``SHORTENED``, beside the reduced widths and the warm start of
invbench.methods.train.encoding in place of the weights of a face recognition network. Both phases share the budget behind the
warm start as they share the published steps.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from invbench.api import Edit
from invbench.methods.common.ranger import Ranger
from invbench.methods.nets.partial import up_to
from invbench.methods.nets.sfe import SFENetwork, start_near
from invbench.methods.nets.stylegan2 import FeatureEdit
from invbench.methods.sfe import SPEC, StyleFeatureEditor
from invbench.methods.train.common import ZOO, Recipe, Step, cosine, descend, seeded, step_rng
from invbench.methods.train.encoding import WARM_START, Reconstruction, after_warm_start, weighted
from invbench.methods.train.frozen import load_frozen
from invbench.methods.train.image_adversary import ImageAdversary
from invbench.options import make

RECIPES = {"sfe": {"minutes": 15, "seed": 0, "help": "StyleFeatureEditor's inverter and editor; needs e4e and directions"}}

FEATURE_WEIGHT, ADVERSARIAL_WEIGHT, R1_GAMMA = 0.01, 0.01, 10.0
STEPS = 500_000  # of both phases; the shares of the published part of the training:
SECOND, BLENDED, ADVERSARIAL_FROM = 300_000 / STEPS, 10_000 / STEPS, 45_000 / STEPS
STRENGTHS = (1.0, 4.0)  # of random edits, to both sides: 5 to 20 years or degrees
EDITS = 2  # stream of randomness within one step, beside those of invbench.methods.train.encoding
DISCRIMINATOR = {4: 32, 8: 32, 16: 32, 32: 16, 64: 8}  # channels of the discriminator
# What is not as published: rates that fall along a cosine in each phase from higher peaks (1e-4, constant), the editor's higher
# still, since Ranger's first thousand steps count less and it has few more; a discriminator that starts at random, and so
# learns a while before its loss is used; fuser and editor of 2 residual units (5); the feature at 16 x 16, a quarter of the
# picture as 64 is of the 256 pixels that the networks see; and a start of the fuser at the generator's own feature, of the
# editor at the fused one minus the difference (``begin``: size of what the units add). In its warm start the inverter learns
# the feature of each render's latents, too. Trained for 13 minutes without that, at 1e-3 and ``begin`` 0.1, the feature made
# pictures worse than the latents alone: 24.3 dB and 25.7 dB.
SHORTENED: dict[str, Any] = {
    "lr": 2e-3, "editor_lr": 4e-3, "discriminator_lr": 1e-3, "discriminator_from": 0.05,
    "batch": 8, "resolution": 16, "blocks": 2, "begin": 0.0,
}  # fmt: skip


def architecture(generator: Any, resolution: int) -> dict[str, Any]:
    """Arguments of the reduced networks for ``generator``, whose feature of ``resolution`` is replaced."""
    return {
        "num_ws": generator.num_ws,
        "w_dim": generator.w_dim,
        "size": generator.resolution,
        "stages": [[8, 1], [16, 2], [32, 3], [32, 2]],
        "feature": generator.channels[resolution],
        "blocks": SHORTENED["blocks"],
    }


class Training(Recipe):
    """``lr``, ``editor_lr`` and ``discriminator_lr`` are peak rates, ``batch`` the pictures in a step, ``resolution`` where the
    feature is replaced; ``zoo`` holds the frozen networks.

    discriminator_from  share of the published part from which the discriminator learns
    begin               size of what the residual units add at first; 1 starts fuser and editor at random, as published
    """

    eight_bits = True

    def __init__(
        self,
        *,
        seed: int,
        device: torch.device | str = "cpu",
        lr: float = SHORTENED["lr"],
        editor_lr: float = SHORTENED["editor_lr"],
        discriminator_lr: float = SHORTENED["discriminator_lr"],
        discriminator_from: float = SHORTENED["discriminator_from"],
        batch: int = SHORTENED["batch"],
        resolution: int = SHORTENED["resolution"],
        begin: float = SHORTENED["begin"],
        zoo: Path = ZOO,
    ) -> None:
        self.seed, self.batch, self.resolution = seed, batch, resolution
        self.discriminator_from, self.place = discriminator_from, f"b{resolution}.conv1"
        self.reconstruction = Reconstruction(seed=seed, device=device, zoo=zoo)
        self.generator = self.reconstruction.generator
        self.lower = up_to(self.generator.synthesis, self.generator.config, resolution)
        self.encoder, self.directions = (load_frozen(name, device=device, zoo=zoo) for name in ("e4e", "directions"))
        self.config = architecture(self.generator, resolution)
        with seeded(seed):
            self.network: SFENetwork = SFENetwork(**self.config)
            channels = {one: DISCRIMINATOR[one] for one in self.generator.channels}
            self.adversary = ImageAdversary(
                self.generator.resolution, channels, lr=discriminator_lr, gamma=R1_GAMMA, device=device
            )
        if begin != 1:
            start_near(self.network.inverter.fuser, 0.0, 1.0, size=begin)
            start_near(self.network.editor, 1.0, -1.0, size=begin)
        self.reconstruction.prepare(self.network.inverter.fs_backbone)
        self.network.to(device).to(memory_format=torch.channels_last)
        self.float32 = ("inverter.fs_backbone.latent_avg",)
        self.heads = self.adversary.network
        inverter, editor = self.network.inverter.parameters(), self.network.editor.parameters()
        self.optimisers = [Ranger(inverter, lr), Ranger(editor, editor_lr), self.adversary.optimiser]

    def step(self, index: int, progress: float) -> Step:
        target, w = self.reconstruction.pictures(index, self.batch)
        published, end = after_warm_start(progress), WARM_START + (1 - WARM_START) * SECOND
        scale = cosine(progress / end) if progress < end else cosine((progress - end) / (1 - end))
        if published < 0:
            errors = self._warm_start(target, w)
            descend(torch.stack([*errors.values()]).sum(), self.optimisers[:1], scale)
            return Step(self.batch, {name: value.item() for name, value in errors.items()})
        first = published < SECOND
        if first:
            outputs, targets, feature = self._first_phase(target, min(1.0, published / BLENDED))
            judged, added = outputs, {"feature": feature}
        else:
            outputs, targets = self._second_phase(target, index)
            judged, added = outputs[: len(target)], {}
        losses = self.reconstruction.distances(outputs, targets)
        total = torch.stack([weighted(losses), *(FEATURE_WEIGHT * value for value in added.values())]).sum()
        losses |= added
        if published >= ADVERSARIAL_FROM:
            losses["adversarial"] = self.adversary.loss(judged)
            total = total + ADVERSARIAL_WEIGHT * losses["adversarial"]
        descend(total, [self.optimisers[0 if first else 1]], scale)
        if published >= self.discriminator_from:
            losses["discriminator"] = self.adversary.train(judged, target, index, 1.0)
        return Step(self.batch, {name: value.item() for name, value in losses.items()})

    def validate(self, network: nn.Module) -> dict[str, float]:
        """By the method itself; ``psnr_inverter`` is that of the first phase alone, ``psnr_latents`` that of its latents."""
        networks = {"generator": self.generator, "sfe": network, "encoder_e4e": self.encoder, "directions": self.directions}
        found = {}
        for phase in ("editor", "inverter"):
            row = StyleFeatureEditor(networks, make(SPEC, {"feature_resolution": self.resolution, "phase": phase}))
            found[phase] = self.reconstruction.validate_method(row)
        latents = self.reconstruction.validate(lambda images: network.get_submodule("inverter")(images)[0])
        return {**found["editor"], "psnr_inverter": found["inverter"]["psnr"], "psnr_latents": latents["psnr"]}

    def _warm_start(self, target: Tensor, w: Tensor) -> dict[str, Tensor]:
        """Errors of the inverter's latents and feature against a render's latents ``w`` [N, D] and the feature of these."""
        latents, predicted = self.network.inverter(target)
        with torch.no_grad():
            own, wanted = (self._own(one) for one in (latents, self.generator.repeat(w)))
        fused = self.network.inverter.fuser(predicted, own)
        return {
            "latents": self.reconstruction.latent_error(latents, w),
            "feature": (fused - wanted).square().mean() / wanted.var(),
        }

    def _first_phase(self, target: Tensor, blend: float) -> tuple[Tensor, Tensor, Tensor]:
        """Pictures [2 N, 3, H, W] with the feature and without, what they are to be, and the distance of the features."""
        latents, predicted = self.network.inverter(target)
        plain, kept = self.generator.synthesis(latents, return_features=[self.place])
        fused = self.network.inverter.fuser(predicted, kept[self.place])
        output = self._drawn(latents, fused, blend)
        return torch.cat([output, plain]), torch.cat([target, target]), F.mse_loss(fused, kept[self.place])

    def _second_phase(self, target: Tensor, index: int) -> tuple[Tensor, Tensor]:
        """Pictures [2 N, 3, H, W], inversions of real ones and edits of drawn ones, and what they are to be."""
        edit = random_edit(self.directions.names, step_rng(self.seed, index, EDITS))
        with torch.no_grad():
            latents, fused = self._fused(target)
            codes = self.network.codes(self.encoder, target)
            before, own = self.generator.synthesis(codes, return_features=[self.place])
            after, changed = self.generator.synthesis(self.directions.move(codes, edit), return_features=[self.place])
            latents_before, fused_before = self._fused(before)
            change = own[self.place] - changed[self.place]
            moved = torch.cat([latents, self.directions.move(latents_before, edit)])
        feature = self.network.editor(torch.cat([fused, fused_before]), torch.cat([torch.zeros_like(change), change]))
        return self._drawn(moved, feature), torch.cat([target, after])

    def _fused(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Latents [N, L, D] and the fused feature [N, C, r, r] of the frozen inverter."""
        inverter = self.network.inverter.eval()
        latents, predicted = inverter(images)
        return latents, inverter.fuser(predicted, self._own(latents))

    def _own(self, latents: Tensor) -> Tensor:
        """The generator's own feature [N, C, r, r]."""
        feature: Tensor = self.lower(latents[:, : self.lower.num_ws], return_features=[self.place])[1][self.place]
        return feature

    def _drawn(self, latents: Tensor, feature: Tensor, blend: float = 1.0) -> Tensor:
        """Pictures [N, 3, H, W] with the share ``blend`` of the feature."""
        edit = FeatureEdit.blend(feature, feature.new_full((1, 1, 1, 1), 1.0 - blend))
        images: Tensor = self.generator.synthesis(latents, features={self.place: edit})
        return images


def random_edit(names: Sequence[str], rng: np.random.Generator) -> Edit:
    """One edit for a whole batch, as published: each direction alike, by a random strength to either side."""
    name = names[int(rng.integers(len(names)))]
    return Edit(name, float(rng.uniform(*STRENGTHS) * rng.choice([-1.0, 1.0])))
