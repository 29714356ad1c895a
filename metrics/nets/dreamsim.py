"""DreamSim (Fu et al., NeurIPS 2023; ssundaram21/dreamsim, MIT), its ensemble of DINO, CLIP and OpenCLIP ViT-B/16.

The package builds its networks by torch.hub and peft, so they are written here. Files: ``adapter_model.bin`` of the folder
``ensemble_lora`` in the released archive, low-rank changes of the attention; beside it the three networks that they change:
``dino_vitbase16_pretrain.pth`` (facebookresearch/dino, Apache-2.0), ``clip_vitb16_pretrain.pth.tar`` and
``open_clip_vitb16_pretrain.pth.tar`` of the same archive (OpenAI's and OpenCLIP's weights, MIT).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from invbench.api import InvbenchError
from invbench.metrics.nets.bisenet import IMAGENET_MEAN, IMAGENET_STD
from invbench.metrics.nets.published import check, entry, fitted, tensors
from invbench.metrics.nets.vit import VisionTransformer, shape_of

CLIP_MEAN, CLIP_STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
SIDE = 224
ALPHA = 0.5  # lora_alpha of the released ensemble; a change is ALPHA / rank times the product of its two matrices
CHANGE = re.compile(r"(?:base_model\.model\.)+extractor_list\.([012])\.model\.blocks\.(\d+)\.attn\.qkv\.lora_([AB])\.weight")
TRUNKS = ("dino", "clip", "open_clip")


class DreamSim(nn.Module):
    """1 - the cosine of two embeddings, each centred over its channels first.

    ``shapes`` are width, depth, patch and positions of the three vision transformers, ``projected`` the channels after CLIP's
    two projections.
    """

    def __init__(self, *, shapes: Mapping[str, Mapping[str, int]], projected: Mapping[str, int]) -> None:
        super().__init__()

        def network(name: str, *, clip: bool = True, quick: bool = False, eps: float = 1e-5) -> VisionTransformer:
            width, depth, patch, positions = (shapes[name][key] for key in ("width", "depth", "patch", "positions"))
            return VisionTransformer(
                width=width, depth=depth, patch=patch, positions=positions, first=clip, quick=quick, eps=eps
            )

        self.dino = network("dino", clip=False, eps=1e-6)
        self.clip, self.open_clip = network("clip", quick=True), network("open_clip")
        self.clip_proj, self.open_clip_proj = (
            nn.Parameter(torch.zeros(shapes[name]["width"], projected[name])) for name in TRUNKS[1:]
        )

    def embedding(self, images: Tensor) -> Tensor:
        """Images [N, 3, 224, 224] in [-1, 1] -> embeddings [N, E] of length 1; their cosine distance is DreamSim.

        DINO gives the first token of its last block before the final normalisation, CLIP the projected one after it. Raises
        ValueError on another shape.
        """
        if images.ndim != 4 or tuple(images.shape[1:]) != (3, SIDE, SIDE):
            raise ValueError(f"images: expected shape [N, 3, {SIDE}, {SIDE}], found {tuple(images.shape)}")
        seen, of_clip = _normalised(images, IMAGENET_MEAN, IMAGENET_STD), _normalised(images, CLIP_MEAN, CLIP_STD)
        parts = [self.dino.tokens(seen)[:, 0], self.clip(of_clip) @ self.clip_proj]
        parts.append(self.open_clip(of_clip) @ self.open_clip_proj)
        whole = torch.cat(parts, 1)
        centred = whole - whole.mean(1, keepdim=True)
        return centred / torch.linalg.vector_norm(centred, dim=1, keepdim=True)

    def forward(self, images: Tensor) -> Tensor:
        """As :meth:`embedding`."""
        return self.embedding(images)


def _normalised(images: Tensor, mean: tuple[float, ...], std: tuple[float, ...]) -> Tensor:
    return ((images + 1) / 2 - images.new_tensor(mean).view(3, 1, 1)) / images.new_tensor(std).view(3, 1, 1)


def from_checkpoint(
    checkpoint: Mapping[str, Any],
    *,
    source: str,
    dino: Mapping[str, Any],
    clip: Mapping[str, Any],
    open_clip: Mapping[str, Any],
    dino_source: str = "dino",
    clip_source: str = "clip",
    open_clip_source: str = "open_clip",
) -> DreamSim:
    """DreamSim from its four files, with the changes added to the weights.

    Raises InvbenchError naming the file that does not fit.
    """
    sources = dict(zip(TRUNKS, (dino_source, clip_source, open_clip_source)))
    states = {"dino": tensors(dino, source=dino_source)}
    for name, content in (("clip", clip), ("open_clip", open_clip)):
        states[name] = tensors(entry(content, "state_dict", source=sources[name]), source=sources[name])
    shapes = {name: shape_of(state, source=sources[name]) for name, state in states.items()}
    changes = _changes(tensors(checkpoint, source=source), source=source)
    expected = {(name, block) for name, shape in shapes.items() for block in range(shape["depth"])}
    if set(changes) != expected:
        raise InvbenchError(
            f"{source}: expected a change of the attention in each of {len(expected)} blocks of three networks, "
            f"found {len(changes)}, {len(expected & set(changes))} of them of these blocks"
        )
    state: dict[str, Tensor] = {}
    projected = {}
    for name, own in states.items():
        for block in range(shapes[name]["depth"]):
            key = f"blocks.{block}.attn.qkv.weight"
            check({key: changes[name, block]}, {key: tuple(own[key].shape) if key in own else ()}, source=source)
            own[key] = own[key].float() + changes[name, block]
        projection = own.pop("proj", None)
        if name != "dino":
            if projection is None or projection.ndim != 2:
                raise InvbenchError(f"{sources[name]}: expected the projection 'proj' of two axes, found none")
            state[f"{name}_proj"], projected[name] = projection, int(projection.shape[1])
        state |= {f"{name}.{key}": value for key, value in own.items()}
    files = ", ".join((source, *sources.values()))
    return fitted(lambda: DreamSim(shapes=shapes, projected=projected), state, source=files)


def _changes(state: Mapping[str, Tensor], *, source: str) -> dict[tuple[str, int], Tensor]:
    """(network, block) -> the change of its attention's weight, ALPHA / rank * B @ A."""
    halves: dict[tuple[str, int], dict[str, Tensor]] = {}
    for key, value in state.items():
        match = CHANGE.fullmatch(key)
        if match is None or value.ndim != 2:
            raise InvbenchError(f"{source}: expected low-rank changes of 'attn.qkv' of three networks, found {key!r}")
        halves.setdefault((TRUNKS[int(match[1])], int(match[2])), {})[match[3]] = value.float()
    for place, pair in halves.items():
        if set(pair) != {"A", "B"} or pair["A"].shape[0] != pair["B"].shape[1]:
            raise InvbenchError(f"{source}: {place}: expected lora_A [r, C] and lora_B [3 C, r], found {sorted(pair)}")
    return {place: ALPHA / pair["A"].shape[0] * pair["B"] @ pair["A"] for place, pair in halves.items()}
