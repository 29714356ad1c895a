"""Labels of image translation: a picture's attributes as the numbers that a network takes, and what edits make of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from invbench.api import Edit, InvbenchError


class Labels:
    """The vocabulary of one network.

    names       attributes, in the network's order
    edits       edit -> [attribute, whether a positive strength gives the attribute (or takes it away)]
    off, on     the numbers of a picture without and with an attribute
    difference  whether the network takes the target's numbers less the picture's own, or the target's
    groups      attributes of which a picture has one at most: an edit that gives one takes the others away
    fixed       numbers that follow those of the attributes, the same for every picture
    """

    def __init__(
        self,
        names: Sequence[str],
        edits: Mapping[str, Sequence[Any]],
        *,
        off: float,
        on: float,
        difference: bool = False,
        groups: Sequence[Sequence[str]] = (),
        fixed: Sequence[float] = (),
    ) -> None:
        self.names, self.off, self.on, self.difference = tuple(names), off, on, difference
        self.edits = {edit: (str(name), bool(given)) for edit, (name, given) in edits.items()}
        self.groups, self.fixed = tuple(tuple(group) for group in groups), tuple(fixed)
        if unknown := {name for name, _ in self.edits.values()}.union(*self.groups) - set(self.names):
            raise ValueError(f"edits, groups: expected attributes of {self.names}, found {sorted(unknown)}")

    def __len__(self) -> int:
        return len(self.names) + len(self.fixed)

    def numbers(self, has: Tensor) -> Tensor:
        """bool [N, A], which attributes each picture has -> their numbers, float32 [N, A]."""
        return self.off + (self.on - self.off) * has.float()

    def moved(self, own: Tensor, edit: Edit, *, full: float, intensity: float) -> Tensor:
        """Numbers [N, A] of pictures -> those that the edit asks for.

        The entry goes from the picture's own number towards ``intensity`` times the number of having, or of lacking, the
        attribute; it arrives at a strength of ``full`` and goes on beyond. ``full`` 0: at any strength but 0.
        Raises InvbenchError for an edit that the network was not trained for.
        """
        if edit.name not in self.edits:
            raise InvbenchError(f"edit {edit.name!r}: its network was trained for {', '.join(self.edits)}")
        target = own.clone()
        if not edit.strength:
            return target
        name, given = self.edits[edit.name]
        wanted = (edit.strength > 0) == given
        share = abs(edit.strength) / full if full else 1.0
        column = self.names.index(name)
        target[:, column] += share * (intensity * (self.on if wanted else self.off) - own[:, column])
        for group in self.groups:
            if wanted and name in group:
                others = [self.names.index(other) for other in group if other != name]
                target[:, others] += min(share, 1.0) * (self.off - own[:, others])
        return target

    def given(self, target: Tensor, own: Tensor) -> Tensor:
        """What the network takes, [N, len(self)], for numbers ``target`` and a picture's ``own``, both [N, A]."""
        numbers = target - own if self.difference else target
        return torch.cat([numbers, numbers.new_tensor(self.fixed).expand(len(numbers), -1)], 1)


class LabelReader(nn.Module):
    """Reads attributes by the classes of a discriminator, which sees pictures of ``size`` pixels a side."""

    def __init__(self, discriminator: nn.Module, names: Sequence[str], size: int) -> None:
        super().__init__()
        self.discriminator, self.names, self.size = discriminator, tuple(names), size

    def forward(self, images: Tensor) -> Tensor:
        """Pictures [N, 3, H, W] in [-1, 1] -> logits [N, A], in order of ``names``; positive: the picture has the attribute."""
        return self.discriminator(resized(images, (self.size, self.size), "bilinear"))[1]


def resized(images: Tensor, size: tuple[int, int], mode: str) -> Tensor:
    """Pictures [N, 3, H, W] -> [N, 3, *size] by "bilinear" or "bicubic" with Pillow's reach; the same pictures if they fit."""
    if tuple(images.shape[-2:]) == tuple(size):
        return images
    return F.interpolate(images, size=size, mode=mode, antialias=True, align_corners=False)
