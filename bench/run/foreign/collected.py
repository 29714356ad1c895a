"""The method that a foreign command is for the rest of the harness: it gives the pictures that the command left."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from invbench.api import Clock, Edit, InvbenchError, Inversion
from invbench.run.calls import Call
from invbench.run.foreign import starts
from invbench.run.foreign.starts import Start
from invbench.util.clock import StageClock
from invbench.util.images import dequantise, quantise

MOST = 2**20  # of a batch; the suite bounds it


class Collected:
    """Pictures by name, from the starts of a cell. The call that begins tells the names (:meth:`expect`).

    Without :meth:`at` every call raises InvbenchError: foreign code works for whole runs only.
    """

    def __init__(self, networks: Mapping[str, Any], options: Mapping[str, Any]) -> None:
        self._starts: Sequence[Start] | None = None
        self._names: tuple[str, ...] = ()

    @classmethod
    def at(cls, folder: Path) -> Collected:
        """The pictures of the last recipe in a cell's folder."""
        one = cls({}, {})
        one._starts = starts.latest(folder)
        return one

    def expect(self, call: Call) -> None:
        """Note the names of the images of the call that begins."""
        self._names = call.images

    def invert(self, images: Tensor, clock: Clock) -> Inversion:
        """The reconstructions of the images [N, 3, H, W]; latents are [N, 0, 0] where the command gave none."""
        known = self._known()
        hashes = [hashlib.sha256(picture.tobytes()).digest() for picture in quantise(images)]
        makers = [self._maker(name, sha.hex()) for name, sha in zip(self._names, hashes, strict=True)]
        size = (images.shape[2], images.shape[3])
        pictures = [self._picture(start, name, None, size) for start, name in zip(makers, self._names, strict=True)]
        latents = [start.exchange.latents(name) for start, name in zip(makers, self._names, strict=True)]
        given = [one for one in latents if one is not None]
        whole = len(given) == len(latents)
        self._credit(clock, None, known)
        return Inversion(
            torch.stack(given).to(images.device) if whole else images.new_zeros(len(images), 0, 0),
            dequantise(np.stack(pictures), images.device),
            {"sha256": torch.tensor([list(sha) for sha in hashes], dtype=torch.uint8)},
        )

    def edit(self, inversion: Inversion, edit: Edit, clock: Clock) -> Tensor:
        """The edited pictures [N, 3, H, W]."""
        known = self._known()
        size = (inversion.images.shape[2], inversion.images.shape[3])
        pictures = []
        for name, sha in zip(self._names, inversion.state["sha256"], strict=True):
            start = self._maker(name, bytes(sha.tolist()).hex())
            pictures.append(self._picture(start, name, edit, size))
        self._credit(clock, edit, known)
        return dequantise(np.stack(pictures), inversion.images.device)

    def max_batch(self, memory: int) -> int:
        """No bound: nothing is computed here."""
        return MOST

    def _known(self) -> Sequence[Start]:
        if self._starts is None:
            raise InvbenchError("expected `invbench run`: the method is a command that works on whole data sets")
        return self._starts

    def _maker(self, name: str, sha256: str) -> Start:
        known = self._known()
        start = next(starts.makers(known, name, sha256), None)
        if start is None:
            reasons = [work.failed[name] for one in known if (work := one.of(None)) is not None and name in work.failed]
            raise InvbenchError(reasons[-1] if reasons else "the command was not started for this picture")
        return start

    def _picture(self, start: Start, name: str, edit: Edit | None, size: tuple[int, int]) -> np.ndarray:
        work = start.of(edit)
        if work is None or name not in work.made:
            raise InvbenchError("the command was not started for this edit" if work is None else work.failed.get(name, "?"))
        picture, sha256 = start.exchange.picture(name, edit, size)
        if sha256 != work.made[name]:
            raise InvbenchError(f"{name}: expected the picture that the command left, found another file of its name")
        return picture

    def _credit(self, clock: Clock, edit: Edit | None, known: Sequence[Start]) -> None:
        """Give the clock what the command took for the images of the call."""
        found, told = starts.figures(known, edit), starts.told(known, edit)
        stages: dict[str, float] = {}
        total = found.each * len(self._names)
        if all(name in told for name in self._names):
            for name in self._names:
                for stage, seconds in told[name].items():
                    stages[stage] = stages.get(stage, 0.0) + seconds
            total = math.fsum(stages.values())
        if isinstance(clock, StageClock):
            clock.credit(stages, total=total, rss_peak=found.rss_peak, device_peak=found.gpu_peak)
