"""StyleCLIP as a source of edits: mapper networks, and global directions in style space. Both are applied, not trained."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from invbench.api import Edit, InvbenchError
from invbench.methods.nets.styleclip import Mapper

STEP = 0.1  # of the mapper's output; the published caller multiplies by it
ROWS = (0, 2, 3, 5, 6, 8, 9, 11, 12, 14, 15, 17, 18, 20, 21, 23, 24)  # styles of fs3's rows: all but those of ToRGB


class MapperDirections(nn.Module):
    """One edit by a mapper: latents + 0.1 * strength * scale * mapper(latents)."""

    def __init__(self, *, names: Sequence[str], dim: int, groups: Sequence[str], scale: float = 1.0) -> None:
        super().__init__()
        self.names, self.scale = tuple(names), scale
        self.mapper = Mapper(dim, tuple(groups))

    def move(self, latents: Tensor, edit: Edit) -> Tensor:
        """Latents [N, L, D] -> edited latents [N, L, D]. InvbenchError when there is no such edit."""
        if edit.name not in self.names:
            raise InvbenchError(f"edit {edit.name!r}: this mapper was trained for {', '.join(self.names)}")
        return latents if edit.strength == 0 else latents + STEP * edit.strength * self.scale * self.mapper(latents)


def style_shift(
    relevance: np.ndarray, text: np.ndarray, deviations: Sequence[np.ndarray], *, threshold: float, source: str
) -> dict[int, np.ndarray]:
    """What a global direction adds to the styles for strength 1: style -> float64 [C].

    relevance   fs3 [R, E]: unit rows, what each channel does to CLIP's image embedding; its channels are those of the styles
                ROWS, all of them, or the first as far as R goes (the published file ends at style 15 or 24)
    text        [E]: difference of the two normalised text embeddings
    deviations  standard deviation of each channel, for every style in order
    threshold   beta: channels whose |relevance| for the text lies below it are left alone

    The rest is divided by its largest and multiplied by the deviations. Raises InvbenchError for sizes that do not fit.
    """
    widths = [len(deviations[style]) for style in ROWS if style < len(deviations)]
    ends = np.cumsum([0, *widths])
    if relevance.ndim != 2 or text.size != relevance.shape[1] or len(relevance) not in ends[1:]:
        expected = f"[{ends[-1]}, E] (or less, whole styles) and a text of E numbers"
        raise InvbenchError(f"{source}: expected relevance {expected}, found {relevance.shape} and {text.size}")
    direction = text.astype(np.float64).ravel()
    found = relevance.astype(np.float64) @ (direction / np.linalg.norm(direction))
    found = np.where(np.abs(found) < threshold, 0.0, found)
    if not found.any():
        raise InvbenchError(f"{source}: expected channels with a relevance of {threshold} or more, found none")
    found /= np.abs(found).max()
    styles = ROWS[: int(np.flatnonzero(ends == len(relevance))[0])]
    parts = zip(styles, ends, ends[1:])
    return {style: found[first:end] * np.asarray(deviations[style], dtype=np.float64).ravel() for style, first, end in parts}


@torch.no_grad()
def latent_shift(generator: Any, shift: Mapping[int, np.ndarray], *, source: str) -> tuple[Tensor, float]:
    """The step in W+ [L, D] that comes nearest to a shift of styles, and the share of the shift that it misses.

    Styles are those of all layers in order (conv1, ToRGB, then conv0, conv1, ToRGB of each block). A style is an affine map of
    one latent vector, which a ToRGB shares with the next block's conv0: least squares, in which styles of ToRGBs are to stay as
    they are. The share is the length of what is missed over the length of the shift, both over all styles.
    Raises InvbenchError where the widths are not those of the generator.
    """
    synthesis = generator.synthesis
    layers = _layers(synthesis)
    step = torch.zeros(generator.num_ws, generator.w_dim, dtype=torch.float64)
    missed = total = 0.0
    for index in range(generator.num_ws):
        maps, asked = [], []
        for style, layer in enumerate(layers):
            if synthesis.style_index[layer] != index:
                continue
            affine = synthesis.get_submodule(f"{layer}.affine")
            matrix = (affine.weight.double() * affine.gain).cpu()
            wanted = torch.from_numpy(shift.get(style, np.zeros(len(matrix))))
            if len(wanted) != len(matrix):
                raise InvbenchError(f"{source}: style {style}: expected {len(matrix)} channels ({layer}), found {len(wanted)}")
            maps.append(matrix)
            asked.append(wanted)
        matrix, wanted = torch.cat(maps), torch.cat(asked)
        if wanted.any():
            step[index] = torch.linalg.pinv(matrix) @ wanted
            missed += float((matrix @ step[index] - wanted).square().sum())
            total += float(wanted.square().sum())
    return step.float(), (missed / total) ** 0.5 if total else 0.0


def _layers(synthesis: Any) -> list[str]:
    """Layers in the order of published style spaces."""
    order = {"conv0": 0, "conv1": 1, "torgb": 2}
    return sorted(synthesis.style_index, key=lambda name: (int(name[1:].split(".")[0]), order[name.split(".")[1]]))
