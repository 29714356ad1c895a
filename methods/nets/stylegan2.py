"""The StyleGAN2 generator (config-f skip architecture) with per-image parameters and feature editing.

One class serves every suite. Parameter names are those of NVlabs/stylegan2-ada-pytorch (`mapping.fc0.weight`,
`synthesis.b16.conv0.affine.bias`, ...); resampling filters are constants and not stored. Layers are named
`b16.conv0` (up-convolution), `b16.conv1` and `b16.torgb`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from invbench.methods.nets.equalised import NO_OVERRIDES, binomial_filter, upsample
from invbench.methods.nets.stylegan2_config import GeneratorConfig
from invbench.methods.nets.stylegan2_layers import Mapper, StyledConv, ToRGB

__all__ = ["FeatureEdit", "Generator", "GeneratorConfig", "Mapper", "Synthesis"]

ACTIVATION_COPIES = 10
NOISE_MODES = ("const", "none", "random")


@dataclass(frozen=True)
class FeatureEdit:
    """An affine change F <- F * scale + shift of the feature F [N,C,r,r] that leaves a layer.

    scale (None = 1) and shift are 4-d; each axis equals that of F or is 1. Edits of `bR.conv0` reach everything
    after it. Of `bR.conv1` they reach the next block, and the block's own ToRGB only if `into_rgb` is set.
    """

    scale: Tensor | None
    shift: Tensor
    into_rgb: bool = False

    @classmethod
    def blend(cls, feature: Tensor, mask: Tensor, *, into_rgb: bool = False) -> FeatureEdit:
        """F * mask + feature * (1 - mask): the mask [N,1,r,r] in [0,1] says where F is kept (DHR, section 3.3)."""
        return cls(mask, feature * (1.0 - mask), into_rgb)

    @classmethod
    def add(cls, delta: Tensor, mask: Tensor | None = None, *, into_rgb: bool = False) -> FeatureEdit:
        """F + mask * delta (adobe-research/sam_inversion); no mask means everywhere."""
        return cls(None, delta if mask is None else mask * delta, into_rgb)

    @classmethod
    def scale_shift(cls, scale: Tensor, shift: Tensor, *, into_rgb: bool = False) -> FeatureEdit:
        """F * (1 + scale) + shift (Tengfei-Wang/HFGI)."""
        return cls(1.0 + scale, shift, into_rgb)

    def __call__(self, feature: Tensor, layer: str) -> Tensor:
        for name, value in (("scale", self.scale), ("shift", self.shift)):
            if value is None:
                continue
            fits = value.ndim == 4 and all(a in (1, b) for a, b in zip(value.shape, feature.shape, strict=True))
            if not fits:
                raise ValueError(
                    f"features[{layer!r}]: {name} must broadcast to {tuple(feature.shape)}, found {tuple(value.shape)}"
                )
        return feature + self.shift if self.scale is None else torch.addcmul(self.shift, feature, self.scale)


class Synthesis(nn.Module):
    """ws [N,L,D] -> images [N,3,H,W], nominally in [-1,1] but not clamped: the rows of the canvas that are the picture."""

    kernel: Tensor

    def __init__(self, config: GeneratorConfig) -> None:
        super().__init__()
        self.resolutions = config.resolutions
        self.num_ws, self.w_dim = config.num_ws, config.w_dim
        self.rows = slice(*config.rows) if config.rows else slice(None)
        self.style_index: dict[str, int] = {}
        """Layer name -> index of the latent code on axis 1 of ws that styles it (a ToRGB shares the next up-conv's)."""
        self.feature_shape: dict[str, tuple[int, int, int]] = {}
        """Name of a convolution -> (C, r, r) of the feature that it gives."""
        n_in = 0
        for res in self.resolutions:
            n_out, block = config.channels[res], nn.Module()
            first = 2 * int(math.log2(res)) - 5
            if res == self.resolutions[0]:
                block.const = nn.Parameter(torch.randn(n_out, res, res))
            else:
                block.conv0 = StyledConv(n_in, n_out, w_dim=config.w_dim, resolution=res, up=True, clamp=config.conv_clamp)
                self.style_index[f"b{res}.conv0"] = first
            block.conv1 = StyledConv(
                n_out, n_out, w_dim=config.w_dim, resolution=res, up=False, clamp=config.conv_clamp
            )
            block.torgb = ToRGB(n_out, w_dim=config.w_dim, clamp=config.conv_clamp)
            self.style_index |= {f"b{res}.conv1": first + 1, f"b{res}.torgb": first + 2}
            self.add_module(f"b{res}", block)
            for layer in self._convolutions(res):
                self.feature_shape[layer] = (n_out, res, res)
            n_in = n_out
        self.register_buffer("kernel", binomial_filter(), persistent=False)

    def forward(
        self,
        ws: Tensor,
        *,
        noise: str = "const",
        generator: torch.Generator | None = None,
        noise_maps: Mapping[str, Tensor] | None = None,
        weights: Mapping[str, Tensor] | None = None,
        features: Mapping[str, FeatureEdit] | None = None,
        return_features: Collection[str] = (),
    ) -> Any:
        """Images [N,3,H,W]; with `return_features` a pair (images, {layer: feature [N,C,r,r]}).

        noise            "const" (stored maps), "none", or "random" (drawn from `generator`, on its device)
        noise_maps       layer -> [N,1,r,r] in place of the stored map, with "const" only
        weights          parameter name (`b16.conv0.weight`, `b4.const`, ...) -> [N, *shape] in place of the shared one
        features         layer -> edit of its output; see FeatureEdit
        return_features  convolutions whose output, after its edit, is wanted too

        Everything is differentiable in ws, noise_maps, weights and features. Raises ValueError on unknown names
        and on wrong shapes.
        """
        noise_maps, weights, features = noise_maps or {}, weights or {}, features or {}
        n = self._checked_batch(ws)
        self._check_layers("features", features)
        self._check_layers("return_features", return_features)
        own = self._by_layer(weights, n)
        maps = self._noise(noise, n, generator, noise_maps)
        x = weights.get("b4.const", self.get_parameter("b4.const")).expand(n, -1, -1, -1)
        # Measured on a CPU: shared up-convolutions 1.3 to 1.8 times as fast as channels first. Per-image forms give channels
        # first, and one layout throughout is worth more than either.
        if x.device.type == "cpu" and not any(name.endswith("conv1.weight") for name in weights):
            x = x.contiguous(memory_format=torch.channels_last)
        kept: dict[str, Tensor] = {}
        rgb: Tensor | None = None
        for res in self.resolutions:
            seen = x
            for layer in self._convolutions(res):
                w = ws[:, self.style_index[layer]]
                seen = x = self.get_submodule(layer)(x, w, maps.get(layer), own.get(layer, NO_OVERRIDES))
                if layer in features:
                    x = features[layer](x, layer)
                    seen = x if features[layer].into_rgb else seen
                if layer in return_features:
                    kept[layer] = x
            layer = f"b{res}.torgb"
            w = ws[:, self.style_index[layer]]
            skip = self.get_submodule(layer)(seen, w, own.get(layer, NO_OVERRIDES))
            rgb = skip if rgb is None else skip + upsample(rgb, self.kernel)
        assert rgb is not None
        picture = rgb[:, :, self.rows]
        return (picture, kept) if return_features else picture

    def _convolutions(self, res: int) -> tuple[str, ...]:
        return (f"b{res}.conv1",) if res == self.resolutions[0] else (f"b{res}.conv0", f"b{res}.conv1")

    def _checked_batch(self, ws: Tensor) -> int:
        if ws.ndim != 3 or tuple(ws.shape[1:]) != (self.num_ws, self.w_dim):
            raise ValueError(f"ws: expected [N,{self.num_ws},{self.w_dim}], found {tuple(ws.shape)}")
        return ws.shape[0]

    def _check_layers(self, argument: str, names: Iterable[str]) -> None:
        unknown = [name for name in names if name not in self.feature_shape]
        if unknown:
            raise ValueError(f"{argument}: no such layer {unknown}; expected some of {list(self.feature_shape)}")

    def _by_layer(self, weights: Mapping[str, Tensor], n: int) -> dict[str, dict[str, Tensor]]:
        shapes = {name: tuple(p.shape) for name, p in self.named_parameters()}
        own: dict[str, dict[str, Tensor]] = {}
        for name, value in weights.items():
            if name not in shapes:
                raise ValueError(f"weights: no such parameter {name!r}; expected names such as 'b8.conv0.weight'")
            if tuple(value.shape) != (n, *shapes[name]):
                raise ValueError(f"weights[{name!r}]: expected {(n, *shapes[name])}, found {tuple(value.shape)}")
            block, layer, *rest = name.split(".")
            own.setdefault(f"{block}.{layer}", {})[".".join(rest)] = value
        return own

    def _noise(
        self, mode: str, n: int, generator: torch.Generator | None, given: Mapping[str, Tensor]
    ) -> dict[str, Tensor]:
        if mode not in NOISE_MODES:
            raise ValueError(f"noise: expected one of {NOISE_MODES}, found {mode!r}")
        if given and mode != "const":
            raise ValueError(f"noise_maps: expected noise 'const', found {mode!r}")
        self._check_layers("noise_maps", given)
        like = self.get_parameter("b4.const")
        maps: dict[str, Tensor] = {}
        for layer, (_, res, _) in self.feature_shape.items():
            if layer in given:
                maps[layer] = given[layer]
                if tuple(maps[layer].shape) != (n, 1, res, res):
                    found = tuple(maps[layer].shape)
                    raise ValueError(f"noise_maps[{layer!r}]: expected {(n, 1, res, res)}, found {found}")
            elif mode == "const":
                maps[layer] = self.get_buffer(f"{layer}.noise_const")[None, None]
            elif mode == "random":
                if generator is None:
                    raise ValueError("generator: noise 'random' needs a torch.Generator")
                drawn = torch.randn(n, 1, res, res, generator=generator, device=generator.device)
                maps[layer] = drawn.to(like)
        return maps


class Generator(nn.Module):
    """Mapping and synthesis; `mean_latent` [D], `num_ws` L = 2 log2(resolution) - 2, `resolution`, `w_dim`.

    A config may also be given as the plain values of its `to_dict`.
    """

    def __init__(self, config: GeneratorConfig | Mapping[str, Any]) -> None:
        super().__init__()
        self.config = config = config if isinstance(config, GeneratorConfig) else GeneratorConfig(**config)
        self.resolution, self.num_ws = config.resolution, config.num_ws
        self.z_dim, self.w_dim = config.z_dim, config.w_dim
        self.mapping = Mapper(config)
        self.synthesis = Synthesis(config)

    @property
    def mean_latent(self) -> Tensor:
        """The mean latent [D]."""
        return self.mapping.w_avg

    @property
    def noise_resolutions(self) -> dict[str, int]:
        """Convolution -> height and width r of its noise map [N,1,r,r]."""
        return {layer: res for layer, (_, res, _) in self.synthesis.feature_shape.items()}

    @property
    def channels(self) -> Mapping[int, int]:
        """Resolution -> channels of its features."""
        return self.config.channels

    def on_canvas(self, maps: Tensor, *, outside: float) -> Tensor:
        """Maps [N,C,H,W] of the pictures -> [N,C,r,r] of the square canvas of the features, with `outside` in the bars."""
        if self.config.rows is None:
            return maps
        first, end = self.config.rows
        return F.pad(maps, (0, 0, first, self.resolution - end), value=outside)

    def off_canvas(self, maps: Tensor) -> Tensor:
        """Maps [N,C,r,r] on the square canvas, of any resolution r -> the rows [N,C,h,r] that are the picture."""
        first, end = self.config.rows or (0, self.resolution)
        size = maps.shape[-1]
        return maps[:, :, first * size // self.resolution : end * size // self.resolution]

    def max_batch(self, memory: int, *, per_image_weights: bool = False) -> int:
        """Estimated number of images that fit into ``memory`` bytes while they are optimised; at least 1.

        Counted in float32: the features of all layers, held about ACTIVATION_COPIES times for the backward pass and the
        losses; and, for per-image weights, the parameter, its gradient and Adam's two moments.
        """
        features = sum(math.prod(shape) for shape in self.synthesis.feature_shape.values())
        weights = 4 * sum(p.numel() for p in self.synthesis.parameters()) if per_image_weights else 0
        return max(1, memory // (4 * (ACTIVATION_COPIES * features + weights)))

    def forward(
        self, z: Tensor, *, truncation: float = 1.0, noise: str = "const", generator: torch.Generator | None = None
    ) -> Tensor:
        """z [N,Z] -> images [N,3,H,W]."""
        w = self.truncate(self.mapping(z), truncation)
        return self.synthesis(self.repeat(w), noise=noise, generator=generator)

    def repeat(self, w: Tensor) -> Tensor:
        """The same latent code in every layer: w [N,D] -> ws [N,L,D]."""
        return w.unsqueeze(1).expand(-1, self.num_ws, -1)

    def truncate(self, w: Tensor, truncation: float) -> Tensor:
        """w [..., D] drawn towards the mean latent; 1 leaves w as it is, 0 gives the mean latent."""
        return torch.lerp(self.mean_latent, w, truncation)

    @torch.no_grad()
    def sample_w(self, n: int, *, generator: torch.Generator, batch: int = 1000) -> Tensor:
        """n latent codes [n,D] of normal z, drawn on the generator's device in chunks of `batch`."""
        like = self.mean_latent
        chunks = [min(batch, n - start) for start in range(0, n, batch)]
        draws = (torch.randn(size, self.z_dim, generator=generator, device=generator.device) for size in chunks)
        return torch.cat([self.mapping(z.to(like)) for z in draws])

    def per_image_parameters(
        self, n: int, names: Collection[str] | Callable[[str], bool] | None = None
    ) -> dict[str, Tensor]:
        """Copies [n, *shape] of the synthesis parameters, as leaf tensors to optimise and to pass as `weights`.

        `names` picks parameters (`b8.conv0.weight`, ...) by a collection or a predicate; None takes all.
        Noise maps are buffers and the mapping is not part of synthesis: neither is included.
        Raises ValueError on a name that does not exist.
        """
        parameters = dict(self.synthesis.named_parameters())
        if names is None:
            wanted = list(parameters)
        elif callable(names):
            wanted = [name for name in parameters if names(name)]
        else:
            wanted = list(names)
        unknown = [name for name in wanted if name not in parameters]
        if unknown:
            raise ValueError(f"names: no such synthesis parameters {unknown}")
        copies = {name: parameters[name].detach().expand(n, *parameters[name].shape).clone() for name in wanted}
        return {name: value.requires_grad_() for name, value in copies.items()}
