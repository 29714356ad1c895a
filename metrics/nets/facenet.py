"""FaceNet's Inception-ResNet v1 (Schroff et al., CVPR 2015; timesler/facenet-pytorch): independently trained face embeddings.

No method of this field uses it as a loss, so no method is tuned to it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from facenet_pytorch import InceptionResnetV1
from torch import Tensor

from invbench.api import InvbenchError
from invbench.metrics.nets.published import fitted, tensors, with_counters

SIZE = 160
PEOPLE = {8631: "vggface2", 10575: "casia-webface"}  # number of classes of the released classifiers -> training data


class FaceNet(InceptionResnetV1):
    """The network of facenet-pytorch, including the standardisation of its inputs; ``dropped`` lists unused tensors."""

    dropped: tuple[str, ...] = ()

    def __init__(self) -> None:
        super().__init__(pretrained=None, classify=False)

    def forward(self, faces: Tensor) -> Tensor:
        """Faces cropped by their box, [N, 3, 160, 160], RGB in [-1, 1] -> embeddings [N, 512] of length 1.

        The network gets (level - 127.5) / 128 of the 8-bit levels. Raises ValueError on another shape.
        """
        if faces.ndim != 4 or tuple(faces.shape[1:]) != (3, SIZE, SIZE):
            raise ValueError(f"faces: expected shape [N, 3, {SIZE}, {SIZE}], found {tuple(faces.shape)}")
        return super().forward(faces * (127.5 / 128))


def from_checkpoint(checkpoint: Mapping[str, Any], *, source: str) -> FaceNet:
    """``20180402-114759-vggface2.pt`` or ``20180408-102900-casia-webface.pt``, bare state dicts -> the network.

    Their classifier is left out. Raises InvbenchError naming ``source`` if the file does not fit.
    """
    state = with_counters(tensors(checkpoint, source=source))
    classifier = {key: state.pop(key) for key in sorted(state) if key in ("logits.weight", "logits.bias")}
    for key, value in classifier.items():
        if value.shape[0] not in PEOPLE:
            raise InvbenchError(f"{source}: {key}: expected {' or '.join(map(str, PEOPLE))} people, found {value.shape[0]}")
    network = fitted(FaceNet, state, source=source)
    network.dropped = tuple(classifier)
    return network
