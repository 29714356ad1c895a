"""HyperInverter's second phase: Dinh et al., CVPR 2022 (VinAIResearch/HyperInverter).

One encoder reads the picture and the first phase's drawing of it, each as one small map for every style vector; from the two
maps of a layer's vector a hypernetwork of its own predicts what is added to the layer's weight. The default arguments give the
published network for faces of D 128, with the module names of the public file; ``backbone="resnet"`` with the stages
``RESNET34`` that for churches.

Readings: the public code gives each layer the map of one style vector by a table (:func:`style_of`), which for convolutions is
not the vector that styles them, as the paper has it; the published networks were trained so. The paper's text changes "the main
convolutional layers", its figure 8 and the released command ToRGB as well: see :func:`target_names`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from invbench.methods.nets.hyperstyle import weight_shapes
from invbench.methods.nets.restyle import BACKBONES
from invbench.methods.nets.stylegan2_config import official_channels
from invbench.metrics.nets.irse import IRSE50, stage_ends, stem, trunk

RELEASED = "conv_without_bias"
SETS = {  # name in the public options -> (with ToRGB, with the affine layers that make styles)
    RELEASED: (True, False),
    "conv_without_bias_without_torgb": (False, False),
    "all_without_bias": (True, True),
}
FUSED = 64  # channels of a hypernetwork after its maps were fused, in the published networks


def target_names(channels: Mapping[int, int], chosen: str) -> list[str]:
    """Names of the parameters of a set of SETS, weights of convolutions first. Raises ValueError for another name."""
    if chosen not in SETS:
        raise ValueError(f"targets: expected one of {', '.join(SETS)}, found {chosen!r}")
    colours, affine = SETS[chosen]
    layers = [name for name in weight_shapes(channels) if colours or not name.endswith("torgb")]
    return [f"{name}.weight" for name in layers] + ([f"{name}.affine.weight" for name in layers] if affine else [])


def target_shapes(names: Sequence[str], channels: Mapping[int, int], w_dim: int) -> dict[str, tuple[int, ...]]:
    """Name of a parameter -> its shape: [O, I, k, k], of an affine layer [I, w_dim]. Raises ValueError for an unknown name."""
    known: dict[str, tuple[int, ...]] = {}
    for name, shape in weight_shapes(channels).items():
        known |= {f"{name}.weight": shape, f"{name}.affine.weight": (shape[1], w_dim)}
    unknown = [name for name in names if name not in known]
    if unknown or not names:
        raise ValueError(f"targets: expected names such as b8.conv0.weight, found {unknown or 'none'}")
    return {name: known[name] for name in names}


def style_of(name: str) -> int:
    """The style vector whose map a parameter's hypernetwork reads: b4.conv1 0, b4.torgb 1, then of block j = 1, 2, ...
    conv0 2j, conv1 and torgb 2j + 1.
    """
    block, layer, *_ = name.split(".")
    first = 2 * (int(math.log2(int(block.removeprefix("b")))) - 2)
    return first + int(layer != "conv0" and not (first == 0 and layer == "conv1"))


class MapHead(nn.Module):
    """Strided convolutions from [N, width_in, tap, tap] to [N, width, grid, grid]; one of stride 1 where tap is grid."""

    def __init__(self, width_in: int, width: int, *, tap: int, grid: int) -> None:
        super().__init__()
        count = int(math.log2(tap // grid))
        layers: list[nn.Module] = []
        for _ in range(max(count, 1)):
            layers += [nn.Conv2d(width_in, width, 3, 2 if count else 1, 1), nn.LeakyReLU(0.01)]
            width_in = width
        self.convs = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        """Features [N, width_in, tap, tap] -> a map [N, width, grid, grid]."""
        found: Tensor = self.convs(x)
        return found


class LayerWiseEncoder(nn.Module):
    """Pictures [N, 3, H, W] in [-1, 1] -> [N, num_ws, width, grid, grid], one map for each style vector.

    backbone  "irse" (faces) or "resnet" (churches)
    stages    (width, units) of its four stages; the pyramid is as wide as the last one
    groups    heads before groups[0] read the coarse tap, those before groups[1] the middle one, the rest the fine one

    Pictures are resized to size x size by plain bilinear weights without antialiasing, as the public code does.
    Raises ValueError for a size, grid, backbone or number of stages that the architecture cannot have.
    """

    def __init__(
        self,
        num_ws: int,
        *,
        size: int,
        backbone: str,
        stages: Sequence[Sequence[int]],
        width: int,
        grid: int,
        groups: Sequence[int] = (3, 7),
    ) -> None:
        super().__init__()
        coarse = size >> 4
        if size < 64 or size & (size - 1) or grid < 2 or grid & (grid - 1) or grid > coarse:
            raise ValueError(f"size, grid: expected powers of two, 2 <= grid <= size / 16, found {size} and {grid}")
        if len(stages) != 4:
            raise ValueError(f"stages: expected 4 pairs (width, units), found {len(stages)}")
        if backbone not in BACKBONES:
            raise ValueError(f"backbone: expected one of {', '.join(BACKBONES)}, found {backbone!r}")
        self.size, self.groups, self.taps = size, tuple(groups), stage_ends(stages)[1:]
        first = stages[0][0]
        modules = (
            {"input_layer": stem(first, channels=3), "body": trunk(stages)}
            if backbone == "irse"
            else {**BACKBONES[backbone](stages), "conv1": nn.Conv2d(3, first, 7, 2, 3, bias=False)}
        )
        self.first_layers = tuple(name for name in modules if name != "body")
        for name, module in modules.items():
            self.add_module(name, module)
        widths = [pair[0] for pair in stages]
        self.styles = nn.ModuleList(
            MapHead(widths[-1], width, tap=coarse << self._level(i), grid=grid) for i in range(num_ws)
        )
        self.latlayer1 = nn.Conv2d(widths[2], widths[3], 1)
        self.latlayer2 = nn.Conv2d(widths[1], widths[3], 1)

    def _level(self, index: int) -> int:
        return sum(index >= border for border in self.groups)

    def forward(self, images: Tensor) -> Tensor:
        """Pictures [N, 3, H, W] in [-1, 1] -> one map for each style vector, [N, num_ws, width, grid, grid]."""
        x = F.interpolate(images, size=(self.size, self.size), mode="bilinear", align_corners=False)
        for name in self.first_layers:
            x = self.get_submodule(name)(x)
        kept = []
        for i, unit in enumerate(self.get_submodule("body").children()):
            x = unit(x)
            if i in self.taps:
                kept.append(x)
        levels = [kept[2]]
        for lateral, tap in ((self.latlayer1, kept[1]), (self.latlayer2, kept[0])):
            larger = F.interpolate(levels[-1], size=tap.shape[2:], mode="bilinear", align_corners=True)
            levels.append(larger + lateral(tap))
        return torch.stack([head(levels[self._level(i)]) for i, head in enumerate(self.styles)], dim=1)


class WeightRegressor(nn.Module):
    """Maps [N, width, grid, grid] -> what is added to one parameter, [N, *shape] (Dinh et al., figure 3).

    hidden  D of the paper: length of the vector that two matrices expand to the weight
    maps    how many maps it reads
    """

    def __init__(self, width: int, hidden: int, *, grid: int, fused: int, shape: Sequence[int], maps: int = 2) -> None:
        super().__init__()
        self.shape, self.hidden = tuple(shape), hidden
        n_out, n_in, *taps = shape
        self.fusion = nn.Sequential(nn.Conv2d(maps * width, width, 1), nn.InstanceNorm2d(width), nn.ReLU())
        widths = [fused] * int(math.log2(grid)) + [hidden]
        layers: list[nn.Module] = [nn.Conv2d(width, fused, 3, padding=1), nn.ReLU()]
        for before, after in zip(widths, widths[1:], strict=False):
            layers += [nn.Conv2d(before, after, 4, 2, 1), nn.ReLU()]
        self.feature_extractor = nn.Sequential(*layers)
        self.w1 = nn.Parameter(torch.empty(hidden, n_in * hidden))
        self.b1 = nn.Parameter(torch.zeros(n_in * hidden))
        self.w2 = nn.Parameter(torch.empty(hidden, n_out * math.prod(taps)))
        self.b2 = nn.Parameter(torch.zeros(n_out * math.prod(taps)))
        nn.init.kaiming_normal_(self.w1)
        nn.init.kaiming_normal_(self.w2)

    def forward(self, *maps: Tensor) -> Tensor:
        """Maps [N, width, grid, grid] of the first phase's drawing, where it is read, and of the picture -> [N, *shape]."""
        vector = self.feature_extractor(self.fusion(torch.cat(maps, dim=1))).flatten(1)
        rows = torch.addmm(self.b1, vector, self.w1).view(len(vector), -1, self.hidden)
        # The product is read in memory order, not as [I, O k k]: so it is in the public code.
        return (rows @ self.w2 + self.b2).view(-1, *self.shape)


class Hypernetwork(nn.Module):
    """A regressor for each parameter; in names of modules the parameter's dots are underscores, as in the public file.

    maps        how many maps a regressor reads
    layer_wise  whether each reads the maps of its own style vector; otherwise all read the first
    """

    def __init__(
        self,
        shapes: Mapping[str, tuple[int, ...]],
        *,
        width: int,
        hidden: int,
        grid: int,
        fused: int,
        maps: int = 2,
        layer_wise: bool = True,
    ) -> None:
        super().__init__()
        self.layer_wise = layer_wise
        self.weight_regressors = nn.ModuleDict(
            {
                name.replace(".", "_"): WeightRegressor(width, hidden, grid=grid, fused=fused, shape=shape, maps=maps)
                for name, shape in shapes.items()
            }
        )

    def forward(self, *maps: Tensor) -> dict[str, Tensor]:
        """Maps [N, L, width, grid, grid] of the first phase's drawing and of the picture -> name -> [N, *shape]."""
        found = {}
        for key, regressor in self.weight_regressors.items():
            name = key.replace("_", ".")
            place = style_of(name) if self.layer_wise else 0
            found[name] = regressor(*(one[:, place] for one in maps))
        return found


class HyperInverterNetwork(nn.Module):
    """Pictures and the first phase's drawings -> what is added to the generator's weights.

    resolution, channels, w_dim  of the generator; channels None = config-f
    targets   names of parameters of the generator's synthesis, or the name of a set of them: see SETS
    hidden    D: 256 is the paper's best, 128 the released commands' and the smaller files'
    fused     channels of a regressor's maps
    drawn     whether the first phase's drawing is read; if not, the picture alone (the paper's table 3, row 3)
    layer_wise  whether each style vector has maps of its own; if not, all weights come from the coarsest (row 4; the paper
              does not say of which level its shared code is)

    The rest describes the encoder: see :class:`LayerWiseEncoder`. Raises ValueError for what cannot be built.
    """

    def __init__(
        self,
        resolution: int = 1024,
        *,
        channels: Mapping[int, int] | None = None,
        w_dim: int = 512,
        targets: str | Sequence[str] = RELEASED,
        hidden: int = 128,
        fused: int = FUSED,
        size: int = 256,
        backbone: str = "irse",
        stages: Sequence[Sequence[int]] = IRSE50,
        width: int = 512,
        grid: int = 8,
        drawn: bool = True,
        layer_wise: bool = True,
    ) -> None:
        super().__init__()
        widths = {int(key): value for key, value in (channels or official_channels(resolution)).items()}  # JSON: strings
        if max(widths) != resolution:
            raise ValueError(f"channels: expected resolutions up to {resolution}, found {max(widths)}")
        names = target_names(widths, targets) if isinstance(targets, str) else list(targets)
        self.resolution, self.num_ws = resolution, 2 * len(widths)
        self.targets = target_shapes(names, widths, w_dim)
        """Name of a parameter of the generator's synthesis -> its shape."""
        self.drawn = drawn
        codes = self.num_ws if layer_wise else 1
        self.w_bar_encoder = LayerWiseEncoder(codes, size=size, backbone=backbone, stages=stages, width=width, grid=grid)
        shape = {"width": width, "hidden": hidden, "grid": grid, "fused": fused, "maps": 1 + drawn}
        self.hypernet = Hypernetwork(self.targets, **shape, layer_wise=layer_wise)

    def forward(self, images: Tensor, drawn: Tensor) -> dict[str, Tensor]:
        """Name of a parameter -> what is added to it, [N, *shape].

        images  [N, 3, H, W] in [-1, 1]
        drawn   [N, 3, h, w], what the generator draws from the first phase's code, not clamped
        """
        of_images = self.w_bar_encoder(images)
        found: dict[str, Tensor] = self.hypernet(*([self.w_bar_encoder(drawn)] if self.drawn else []), of_images)
        return found
