"""What image-to-image methods share: a network draws a picture anew with the labels that it is given; there are no latents."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from invbench.api import Clock, Edit, InvbenchError, Inversion
from invbench.methods.nets.labels import resized
from invbench.options import Options

BYTES = 4 * 2000  # that a pixel of a picture takes in the widest layers at once, generously


class Translation:
    """A translating network and the one that reads a picture's own labels: see :class:`invbench.api.Method`.

    A subclass names its ``role``; the reader's is ``labels_`` and the role without "_cam". ``latents`` are empty, [N, 0, 0].
    ``state`` of an inversion: ``seen`` [N, 3, h, w], the picture at the network's size; ``own`` [N, A], its labels as numbers.
    """

    role: str
    filter = "bilinear"  # of the public script, where it makes pictures smaller

    def __init__(self, networks: Mapping[str, Any], options: Options):
        self.options, self.network = options, networks[self.role]
        self.reader = networks[f"labels_{self.role.removesuffix('_cam')}"]
        self.labels = self.network.labels
        if missing := [name for name in self.labels.names if name not in self.reader.names]:
            raise InvbenchError(f"{self.role}: expected a network that reads {', '.join(missing)}, found one without")
        if options.size % self.network.multiple:
            raise InvbenchError(f"{self.role}.size: expected a multiple of {self.network.multiple}, found {options.size}")
        self.columns = [self.reader.names.index(name) for name in self.labels.names]

    def invert(self, images: Tensor, clock: Clock) -> Inversion:
        with clock.stage("encode"), torch.no_grad():
            seen = resized(images, (self.options.size, self.options.size), self.filter).clamp(-1, 1)
            seen = seen.clone(memory_format=torch.contiguous_format)  # as it is when it was saved
            own = self.labels.numbers(self.reader(seen)[:, self.columns] > 0)
        with clock.stage("synthesise"):
            images = self._drawn(seen, own, own, images.shape[2:])
        return Inversion(images.new_zeros(len(images), 0, 0), images, {"seen": seen, "own": own})

    def edit(self, inversion: Inversion, edit: Edit, clock: Clock) -> Tensor:
        own = inversion.state["own"]
        target = own
        for part in edit.parts:
            target = self.labels.moved(target, part, full=self.options.full, intensity=self.options.intensity)
        with clock.stage("edit"):
            return self._drawn(inversion.state["seen"], target, own, inversion.images.shape[2:])

    def max_batch(self, memory: int) -> int:
        return max(1, memory // (BYTES * self.options.size**2))

    @torch.no_grad()
    def _drawn(self, seen: Tensor, target: Tensor, own: Tensor, size: torch.Size) -> Tensor:
        return resized(self.network(seen, self.labels.given(target, own)), (size[0], size[1]), "bilinear")
