"""The official LPIPS, v0.1, for metrics and losses (Zhang et al., CVPR 2018; richzhang/PerceptualSimilarity)."""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from invbench.api import InvbenchError
from invbench.metrics.nets.perceptual import average
from invbench.metrics.nets.published import fitted, tensors

SHIFT, SCALE = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)  # mean and standard deviation of images in [-1, 1]
SECOND_WIDTH = {192: "alex", 128: "vgg"}  # channels of the second of five layers -> network
EPSILON = 1e-10
PART = 2**18  # features of a layer that are compared at a time


class LpipsPackage(nn.Module):
    """LPIPS of the lpips package; ``net`` is "alex", "vgg" or "squeeze". Images [N, 3, H, W] in [-1, 1].

    Built with random weights, so that it never downloads anything; :func:`from_checkpoint` sets trunk and linear layers.
    """

    def __init__(self, *, net: str) -> None:
        super().__init__()
        import lpips

        self.net = net
        self._laid_out = False
        with warnings.catch_warnings(action="ignore", category=UserWarning):  # of the words in which it asks torchvision
            self.model: Any = lpips.LPIPS(net=net, version="0.1", pretrained=False, pnet_rand=True, verbose=False)

    def features(self, images: Tensor) -> list[Tensor]:
        """Images [N, 3, H, W] in [-1, 1] -> ReLU maps [N, C, h, w] of the 5 (squeeze: 7) layers."""
        if images.device.type == "cpu":  # channels_last: a step of a projection is 1.1 times as fast (measured)
            images = images.contiguous(memory_format=torch.channels_last)
            self._lay_out()
        return list(self.model.net(self.model.scaling_layer(images)))

    def _lay_out(self) -> None:
        """Bring the weights into the layout of the images, once; else torch copies all of them at every call."""
        if not self._laid_out:
            self.model.net.to(memory_format=torch.channels_last)
            self._laid_out = True

    def maps(self, a: Tensor, b: Tensor) -> list[Tensor]:
        """The distance before averaging over space: one map [N, 1, h, w] per layer. The sum of their means is the distance."""
        return self.maps_between(self.features(a), self.features(b))

    def maps_between(self, a: list[Tensor], b: list[Tensor]) -> list[Tensor]:
        """As :meth:`maps`, from the results of :meth:`features`, so that a loop computes those of a fixed target once."""
        return [_compared(x, y, linear) for x, y, linear in zip(a, b, self.model.lins, strict=True)]

    def distance(self, a: Tensor, b: Tensor) -> Tensor:
        """LPIPS [N] of images [N, 3, H, W] in [-1, 1]; 0 for identical images."""
        return self.distance_between(self.features(a), self.features(b))

    def distance_between(self, a: list[Tensor], b: list[Tensor]) -> Tensor:
        """:meth:`distance` from the results of :meth:`features`.

        Large maps are compared a few rows at a time: the same values, without copies as large as the features.
        """
        maps = []
        for x, y, linear in zip(a, b, self.model.lins, strict=True):
            rows = max(1, PART // x[:, :, :1].numel())
            parts = zip(x.split(rows, 2), y.split(rows, 2), strict=True)
            maps.append(torch.cat([_compared(*part, linear) for part in parts], 2))
        return average(maps)

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        """As :meth:`distance`."""
        return self.distance(a, b)


def from_checkpoint(
    checkpoint: Mapping[str, Any], *, source: str, trunk: Mapping[str, Any] | None = None, trunk_source: str = "trunk"
) -> LpipsPackage:
    """LPIPS from any of its public files; the shapes show which of the three networks it is.

    checkpoint  a state dict of the lpips package, or of the ``criteria/lpips`` of the encoder papers, or the linear
                weights alone (``alex.pth``, ``vgg.pth``, ``squeeze.pth``)
    trunk       torchvision's state dict of AlexNet, VGG-16 or SqueezeNet 1.1; needed with linear weights alone

    Raises InvbenchError naming ``source`` or ``trunk_source`` if a file does not fit.
    """
    state = {re.sub(r"^lin\.(\d+)\.1\.", r"lin\1.model.1.", key): v for key, v in tensors(checkpoint, source=source).items()}
    if "lin1.model.1.weight" not in state:
        raise InvbenchError(f"{source}: expected LPIPS weights with 'lin1.model.1.weight', found {', '.join(list(state)[:5])}")
    layers = {key: value for key, value in state.items() if re.match(r"lin\d", key)}
    width = state["lin1.model.1.weight"].shape[1:2].numel()
    net = "squeeze" if len(layers) == 7 else SECOND_WIDTH.get(width)
    if net is None:
        raise InvbenchError(
            f"{source}: expected 7 linear layers, or 5 with {' or '.join(map(str, SECOND_WIDTH))} channels in the second, "
            f"found {len(layers)} with {width}"
        )
    with torch.device("meta"):
        expected = LpipsPackage(net=net).model.state_dict()
    slices = {_layer(key): key for key in expected if key.startswith("net.")}
    if any(key.startswith("net.") for key in state):
        renamed = {slices.get(_layer(key), key) if key.startswith("net.") else key: value for key, value in state.items()}
    elif trunk is not None:
        parts = tensors(trunk, source=trunk_source)
        features = {key: value for key, value in parts.items() if not key.startswith("classifier.")}
        missing = [key for key in slices if f"features.{key}" not in features]
        if missing:
            raise InvbenchError(f"{trunk_source}: expected torchvision's features for {net}, missing features.{missing[0]}")
        renamed = state | {slices.get(_layer(key), key): value for key, value in features.items()}
    else:
        raise InvbenchError(f"{source}: linear weights only, expected torchvision's trunk for {net} beside them, found none")
    _take_constants(renamed)
    for number, (key, value) in enumerate(layers.items()):
        alias = key.replace("lin", "lins.", 1)
        if not torch.equal(renamed.setdefault(alias, value), value):
            raise InvbenchError(f"{source}: expected equal tensors under {key} and {alias}, found two (layer {number})")
    return fitted(lambda: LpipsPackage(net=net), {f"model.{key}": value for key, value in renamed.items()}, source=source)


def _compared(a: Tensor, b: Tensor, linear: nn.Module) -> Tensor:
    """Features [N, C, h, w] of one layer -> the map [N, 1, h, w] of their distance."""
    return linear((_unit(a) - _unit(b)).square())  # type: ignore[no-any-return]


def _layer(key: str) -> str:
    """``0.weight`` from ``net.slice1.0.weight``, ``net.layers.0.weight`` or ``features.0.weight``."""
    return re.sub(r"^(net\.slice\d+|net\.layers|features)\.", "", key)


def _take_constants(state: dict[str, Tensor]) -> None:
    """Put shift and scale of the input under the package's names; files without them get the published constants."""
    for theirs, ours, values in (("net.mean", "shift", SHIFT), ("net.std", "scale", SCALE)):
        constant = state.pop(theirs, torch.tensor(values).view(1, 3, 1, 1))
        state.setdefault(f"scaling_layer.{ours}", constant)


def _unit(features: Tensor) -> Tensor:
    """Features [N, C, h, w] scaled to unit length over C, as in the package, with a finite gradient if all are zero."""
    squared = features.square().sum(1, keepdim=True)
    some = squared > 0
    return features / (torch.where(some, squared, 1.0).sqrt() * some + EPSILON)
