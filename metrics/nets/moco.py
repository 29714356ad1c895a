"""MoCo v2's ResNet-50 (Chen et al., 2020; facebookresearch/moco): self-supervised similarity of pictures of any domain.

omertov/encoder4editing uses it instead of the identity network for domains without faces.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models.resnet import Bottleneck, ResNet

from invbench.api import InvbenchError
from invbench.metrics.nets.published import check, entry, fitted, tensors

SIZE = 224
QUERY = "module.encoder_q."
TRAINING = ("module.encoder_k.", "module.queue")  # the momentum encoder and the queue of keys, which only training needs
HEAD = {"fc.0.weight": (2048, 2048), "fc.0.bias": (2048,), "fc.2.weight": (128, 2048), "fc.2.bias": (128,)}


class MoCo(ResNet):
    """torchvision's ResNet-50 without its last layer; ``dropped`` lists tensors of the file that are not used."""

    dropped: tuple[str, ...] = ()

    def __init__(self) -> None:
        super().__init__(Bottleneck, [3, 4, 6, 3])
        self.fc: nn.Module = nn.Identity()

    def forward(self, images: Tensor) -> Tensor:
        """Images [N, 3, H, W], RGB in [-1, 1] -> embeddings [N, 2048] of length 1.

        As in the loss of omertov/encoder4editing: resized to 224 x 224 (nearest pixels) from any size, without ImageNet
        normalisation, although MoCo was trained with it. Raises ValueError on another shape.
        """
        if images.ndim != 4 or images.shape[1] != 3:
            raise ValueError(f"images: expected shape [N, 3, H, W], found {tuple(images.shape)}")
        return F.normalize(super().forward(F.interpolate(images, size=(SIZE, SIZE), mode="nearest")), dim=1)


def from_checkpoint(checkpoint: Mapping[str, Any], *, source: str) -> MoCo:
    """``moco_v2_800ep_pretrain.pth.tar``, {"state_dict": tensors "module.encoder_q.*", ...} -> the network.

    The head for the contrastive loss (fc.0, fc.2) and tensors that only training needs are left out. Raises InvbenchError
    naming ``source`` if the file does not fit.
    """
    state = tensors(entry(checkpoint, "state_dict", source=source), source=source)
    query = {key.removeprefix(QUERY): value for key, value in state.items() if key.startswith(QUERY)}
    if not query:
        raise InvbenchError(f"{source}: expected the tensors {QUERY}*, found {', '.join(list(state)[:5]) or 'none'}")
    others = {key: value for key, value in state.items() if not key.startswith((QUERY, *TRAINING))}
    head = {key: query.pop(key) for key in sorted(query) if key.startswith("fc.")}
    check(head, HEAD, source=source)
    network = fitted(MoCo, query | others, source=source)
    network.dropped = (*(f"{QUERY}{key}" for key in head), *(key for key in state if key.startswith(TRAINING)))
    return network
