"""Refinement of a batch in which every image keeps its own parameters, randomness and stopping time.

Images are independent when the loss is a *sum* of per-image losses: each parameter tensor has the image as its first
axis, and Adam works elementwise, so N optimisations run as one. This module handles randomness and stopping times.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Mapping, Sequence

import torch
from torch import Tensor


def image_generators(images: Tensor, seed: int) -> list[torch.Generator]:
    """One CPU random generator for each image of ``images`` [N, 3, H, W] in [-1, 1].

    Seeded by the image's own pixels and ``seed``: an image draws the same numbers alone, in any batch and in any order.
    """
    pixels = ((images.detach().cpu().float() + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)
    return [torch.Generator().manual_seed(zlib.crc32(image.numpy().tobytes()) ^ (seed & 0xFFFFFFFF)) for image in pixels]


def randn(generators: Sequence[torch.Generator], *shape: int, like: Tensor) -> Tensor:
    """Standard normal [N, *shape] on the device and in the precision of ``like``, row i drawn from ``generators[i]``."""
    return torch.stack([torch.randn(shape, generator=g) for g in generators]).to(like)


class PerImageAdam:
    """Adam(0.9, 0.999) over a dictionary of tensors [N, ...], from which finished images can be removed.

    ``parameters`` holds the leaf tensors of the running images; ``kept`` holds their row numbers in the batch.
    """

    def __init__(self, parameters: Mapping[str, Tensor], lr: float):
        self._finished = {name: value.detach().clone() for name, value in parameters.items()}
        self.kept = torch.arange(next(iter(parameters.values())).shape[0])
        self.parameters = {name: value.detach().clone().requires_grad_() for name, value in parameters.items()}
        self._adam = _adam(self.parameters.values(), lr)

    @property
    def lr(self) -> float:
        """The learning rate of the next step."""
        return self._adam.param_groups[0]["lr"]

    @lr.setter
    def lr(self, value: float) -> None:
        self._adam.param_groups[0]["lr"] = value

    def zero_grad(self) -> None:
        """Remove the gradients of the running images."""
        self._adam.zero_grad(set_to_none=True)

    def step(self) -> None:
        """Update the parameters of the running images with their gradients."""
        for parameter in self.parameters.values():
            gradient = parameter.grad
            # The fused step walks both in memory order, and is silently wrong if their layouts differ.
            if gradient is not None and gradient.stride() != parameter.stride():
                parameter.grad = torch.empty_like(parameter).copy_(gradient)
        self._adam.step()

    def retire(self, done: Tensor) -> None:
        """Freeze the running images that ``done`` (bool [running]) marks, and continue with the others.

        Gradients are kept, so it may be called between ``backward`` and ``step``.
        """
        if not done.any():
            return
        self._store(done)
        running = ~done
        before = list(self.parameters.values())
        self.parameters = {n: p.detach()[running].requires_grad_() for n, p in self.parameters.items()}
        adam = _adam(self.parameters.values(), self.lr)
        for old, new in zip(before, self.parameters.values(), strict=True):
            new.grad = None if old.grad is None else old.grad[running]
            if old in self._adam.state:
                adam.state[new] = {k: v if k == "step" else v[running] for k, v in self._adam.state[old].items()}
        self._adam = adam
        self.kept = self.kept[running.cpu()]

    def result(self) -> dict[str, Tensor]:
        """Every image's tensors [N, ...], finished or still running, in the order of the batch."""
        self._store(torch.ones(len(self.kept), dtype=torch.bool))
        return self._finished

    def _store(self, rows: Tensor) -> None:
        for name, value in self.parameters.items():
            self._finished[name][self.kept[rows.cpu()].to(value.device)] = value.detach()[rows.to(value.device)]


def _adam(parameters: Iterable[Tensor], lr: float) -> torch.optim.Adam:
    """Adam's update in one pass over memory instead of seven; 3 times as fast on a CPU (measured)."""
    return torch.optim.Adam(list(parameters), lr=lr, fused=True)
