"""The BigGAN-deep generator (Brock et al., ICLR 2019, appendix B), with the names of huggingface/pytorch-pretrained-BigGAN.

A picture comes from a condition vector c = (z, embedding of the class), the same for every layer, or one for each: the first
feature is a linear function of c, and every conditional batch normalisation scales and shifts by linear functions of it.

Weights are effective ones: the library's files hold each weight before its spectral norm, with vectors u and v;
:mod:`invbench.methods.convert.biggan` divides by u W v. So nothing changes from call to call, whatever the mode. Means and
variances of the normalisations are stored for ``n_stats`` truncations from 0 to 1 and are constants, too; with truncation None
a batch is normalised by its own statistics, as in training.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from invbench.methods.nets.stylegan2 import FeatureEdit

FIRST = 4  # height and width of the first feature
FIRST_WIDTH = 16  # its channels, in units of the channel width
REDUCTION = 4  # of the channels within a block
TRUNCATED = 2.0  # normal numbers are drawn within this bound, then multiplied by the truncation
RULES = ("plain", "library")
ACTIVATION_COPIES = 10  # that optimisation holds of a feature


@dataclass(frozen=True)
class BigGANConfig:
    """Shape of a generator; the fields are those of the library's config.json.

    output_dim                height and width of the pictures in pixels
    z_dim, class_embed_dim    length of z and of a class's embedding
    channel_width             channels in the unit of ``layers``
    layers                    blocks: (doubles the resolution, channels in, channels out)
    attention_layer_position  number of blocks before the self-attention
    eps                       of the normalisations
    n_stats                   number of truncations, from 0 to 1, for which statistics are stored

    Raises ValueError for blocks that do not fit together, a class embedding without length and the like.
    """

    output_dim: int
    layers: tuple[tuple[bool, int, int], ...]
    z_dim: int = 128
    class_embed_dim: int = 128
    channel_width: int = 128
    num_classes: int = 1000
    attention_layer_position: int = 8
    eps: float = 1e-4
    n_stats: int = 51

    def __post_init__(self) -> None:
        layers = tuple((bool(up), int(n_in), int(n_out)) for up, n_in, n_out in self.layers)
        object.__setattr__(self, "layers", layers)
        for field in ("z_dim", "class_embed_dim", "channel_width", "num_classes"):
            if getattr(self, field) < 1:
                raise ValueError(f"{field}: expected 1 or more, found {getattr(self, field)}")
        if self.n_stats < 2 or self.eps <= 0:
            raise ValueError(f"n_stats, eps: expected 2 or more and a number above 0, found {self.n_stats}, {self.eps}")
        width = FIRST_WIDTH
        for number, (_, n_in, n_out) in enumerate(layers):
            if n_in != width or n_out not in (n_in, n_in / 2):
                found = f"({n_in}, {n_out}) after {width}"
                raise ValueError(f"layers[{number}]: expected what the block before gives, kept or halved, found {found}")
            width = n_out
        if not layers or width != 1 or self.channel_width < 3:
            raise ValueError(f"layers: expected to end at width 1 of 3 channels or more, found {width} of {self.channel_width}")
        size = FIRST << sum(up for up, _, _ in layers)
        if size != self.output_dim:
            raise ValueError(f"output_dim: the blocks give {size} pixels, found {self.output_dim}")
        if not 0 <= (place := self.attention_layer_position) < len(layers):
            raise ValueError(f"attention_layer_position: expected a block's number, below {len(layers)}, found {place}")

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        return asdict(self)


def published(resolution: int) -> BigGANConfig:
    """The shape of the released generators of 128, 256 or 512 pixels. Raises ValueError for another resolution."""
    widths = {128: (16, 16, 8, 4, 2, 1), 256: (16, 16, 8, 8, 4, 2, 1), 512: (16, 16, 8, 8, 4, 2, 1, 1)}
    if resolution not in widths:
        raise ValueError(f"resolution: expected one of {list(widths)}, found {resolution}")
    pairs = itertools.pairwise(widths[resolution])
    layers = [block for n_in, n_out in pairs for block in ((False, n_in, n_in), (True, n_in, n_out))]
    return BigGANConfig(output_dim=resolution, layers=tuple(layers))


class Normalisation(nn.Module):
    """Batch normalisation; its scale and shift depend on a condition of length ``condition``, or are constants (0)."""

    running_means: Tensor
    running_vars: Tensor

    def __init__(self, channels: int, *, condition: int, n_stats: int, eps: float) -> None:
        super().__init__()
        self.eps, self.conditional = eps, condition > 0
        self.register_buffer("running_means", torch.zeros(n_stats, channels))
        self.register_buffer("running_vars", torch.ones(n_stats, channels))
        if condition:
            self.scale = nn.Linear(condition, channels, bias=False)
            self.offset = nn.Linear(condition, channels, bias=False)
        else:
            self.weight = nn.Parameter(torch.ones(channels))
            self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor, rows: Tensor | None, c: Tensor) -> Tensor:
        """x [N, C, r, r], weights of the stored rows [n_stats] (None: the batch's statistics), c [N, D] -> [N, C, r, r]."""
        scale, shift = (1 + self.scale(c), self.offset(c)) if self.conditional else (self.weight[None], self.bias[None])
        if rows is None:
            x = F.batch_norm(x, None, None, training=True, eps=self.eps)
        else:
            factor = (rows @ self.running_vars + self.eps).rsqrt()
            shift = shift - rows @ self.running_means * factor * scale
            scale = scale * factor
        return torch.addcmul(shift[:, :, None, None], x, scale[:, :, None, None])


class Block(nn.Module):
    """A residual block of four convolutions; the skip keeps the first channels and needs no weights."""

    def __init__(self, n_in: int, n_out: int, *, up: bool, condition: int, n_stats: int, eps: float) -> None:
        super().__init__()
        self.up, self.n_out = up, n_out
        middle = n_in // REDUCTION
        for number, (width, following, size) in enumerate(
            ((n_in, middle, 1), (middle, middle, 3), (middle, middle, 3), (middle, n_out, 1))
        ):
            self.add_module(f"bn_{number}", Normalisation(width, condition=condition, n_stats=n_stats, eps=eps))
            self.add_module(f"conv_{number}", nn.Conv2d(width, following, size, padding=size // 2))

    def forward(self, x: Tensor, rows: Tensor | None, c: Tensor) -> Tensor:
        """x [N, I, r, r], c [N, D] -> [N, O, R, R], R twice r in a block that doubles."""
        y = x
        for number in range(4):
            y = self.get_submodule(f"bn_{number}")(y, rows, c).relu()
            if number == 1 and self.up:
                y = F.interpolate(y, scale_factor=2, mode="nearest")
            y = self.get_submodule(f"conv_{number}")(y)
        skip = x[:, : self.n_out]
        return y + (F.interpolate(skip, scale_factor=2, mode="nearest") if self.up else skip)


class Attention(nn.Module):
    """Self-attention (Zhang et al. 2019) between all places and places pooled by two, added with the factor gamma."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.snconv1x1_theta = nn.Conv2d(channels, channels // 8, 1, bias=False)
        self.snconv1x1_phi = nn.Conv2d(channels, channels // 8, 1, bias=False)
        self.snconv1x1_g = nn.Conv2d(channels, channels // 2, 1, bias=False)
        self.snconv1x1_o_conv = nn.Conv2d(channels // 2, channels, 1, bias=False)
        self.gamma = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, r, r] -> [N, C, r, r]."""
        queries = self.snconv1x1_theta(x).flatten(2)
        keys = F.max_pool2d(self.snconv1x1_phi(x), 2).flatten(2)
        values = F.max_pool2d(self.snconv1x1_g(x), 2).flatten(2)
        weights = torch.softmax(queries.transpose(1, 2) @ keys, dim=-1)
        seen = (values @ weights.transpose(1, 2)).unflatten(2, x.shape[2:])
        return x + self.gamma * self.snconv1x1_o_conv(seen)


class BigGANSynthesis(nn.Module):
    """Conditions [N, L, D] -> images [N, 3, H, W] in (-1, 1); L = 1 + number of blocks, the first is that of ``gen_z``."""

    def __init__(self, config: BigGANConfig) -> None:
        super().__init__()
        self.config = config
        self.num_ws, self.w_dim = 1 + len(config.layers), config.z_dim + config.class_embed_dim
        width, n_stats, eps = config.channel_width, config.n_stats, config.eps
        self.gen_z = nn.Linear(self.w_dim, FIRST * FIRST * FIRST_WIDTH * width)
        self.layers = nn.ModuleList()
        self.feature_shape: dict[str, tuple[int, int, int]] = {}
        """Layer ("layers.2") -> (C, r, r) of the feature that it gives."""
        size = FIRST
        for number, (up, n_in, n_out) in enumerate(config.layers):
            if number == config.attention_layer_position:
                self._append(Attention(n_in * width), n_in * width, size)
            size = 2 * size if up else size
            block = Block(n_in * width, n_out * width, up=up, condition=self.w_dim, n_stats=n_stats, eps=eps)
            self._append(block, n_out * width, size)
        self.bn = Normalisation(width, condition=0, n_stats=n_stats, eps=eps)
        self.conv_to_rgb = nn.Conv2d(width, width, 3, padding=1)

    def forward(
        self,
        latents: Tensor,
        *,
        features: Mapping[str, FeatureEdit] | None = None,
        return_features: Collection[str] = (),
        truncation: float | None = 1.0,
        rule: str = "plain",
    ) -> Any:
        """Images [N, 3, H, W] of conditions [N, L, D]; with ``return_features`` a pair (images, {layer: feature [N, C, r, r]}).

        features    layer -> edit of its output
        truncation  in [0, 1], chooses the statistics and changes nothing in the conditions; None: those of the batch
        rule        of truncations between two stored ones, see :func:`stored_rows`

        Raises ValueError on unknown names and on wrong shapes.
        """
        if latents.ndim != 3 or tuple(latents.shape[1:]) != (self.num_ws, self.w_dim):
            raise ValueError(f"latents: expected [N,{self.num_ws},{self.w_dim}], found {tuple(latents.shape)}")
        edits = features or {}
        for argument, names in (("features", edits), ("return_features", return_features)):
            if unknown := [name for name in names if name not in self.feature_shape]:
                raise ValueError(f"{argument}: no such layer {unknown}; expected some of {list(self.feature_shape)}")
        rows = None if truncation is None else stored_rows(truncation, self.config.n_stats, rule=rule).to(latents)
        kept: dict[str, Tensor] = {}
        flat = self.gen_z(latents[:, 0])
        x = flat.view(len(flat), FIRST, FIRST, -1).permute(0, 3, 1, 2)  # channels last already, as TensorFlow has them
        used = 0
        for number, layer in enumerate(self.layers):
            if isinstance(layer, Attention):
                x = layer(x)
            else:
                used += 1
                x = layer(x, rows, latents[:, used])
            name = f"layers.{number}"
            x = edits[name](x, name) if name in edits else x
            if name in return_features:
                kept[name] = x
        x = self.bn(x, rows, latents[:, -1]).relu()
        picture = self.conv_to_rgb(x)[:, :3].tanh()
        return (picture, kept) if return_features else picture

    def _append(self, layer: nn.Module, channels: int, size: int) -> None:
        self.feature_shape[f"layers.{len(self.layers)}"] = (channels, size, size)
        self.layers.append(layer)


class BigGAN(nn.Module):
    """Embeddings of the classes and synthesis, with the members of :class:`invbench.methods.nets.stylegan2.Generator` that a
    method without weights of its own uses: a latent is a condition (z, embedding).

    A config may also be given as the plain values of its ``to_dict``.
    """

    def __init__(self, **config: Any) -> None:
        super().__init__()
        self.config = BigGANConfig(**config)
        self.resolution = self.config.output_dim
        self.embeddings = nn.Linear(self.config.num_classes, self.config.class_embed_dim, bias=False)
        self.generator = BigGANSynthesis(self.config)
        self.num_ws, self.w_dim, self.z_dim = self.generator.num_ws, self.generator.w_dim, self.config.z_dim

    @property
    def synthesis(self) -> BigGANSynthesis:
        """Conditions [N, L, D] -> images [N, 3, H, W]."""
        return self.generator

    @property
    def feature_spaces(self) -> dict[str, tuple[str, int, tuple[int, int]]]:
        """"F2" -> (layer 2, its channels, height and width), for every layer that a conditional block follows."""
        shapes = list(self.generator.feature_shape.items())[:-1]
        return {f"F{number}": (layer, shape[0], shape[1:]) for number, (layer, shape) in enumerate(shapes)}

    @property
    def mean_latent(self) -> Tensor:
        """The mean latent [D]: z = 0 and the mean of the embeddings."""
        embedding = self.embeddings.weight.mean(1)
        return torch.cat([embedding.new_zeros(self.z_dim), embedding])

    def condition(self, z: Tensor, classes: Tensor) -> Tensor:
        """z [N, Z] and weights of the classes [N, K] -> conditions [N, D]. Raises ValueError on other shapes."""
        expected = ((len(z), self.z_dim), (len(z), self.config.num_classes))
        if (tuple(z.shape), tuple(classes.shape)) != expected:
            raise ValueError(f"z, classes: expected {expected}, found {tuple(z.shape)}, {tuple(classes.shape)}")
        return torch.cat([z, self.embeddings(classes)], dim=1)

    def repeat(self, w: Tensor) -> Tensor:
        """The same condition in every layer: [N, D] -> [N, L, D]."""
        return w.unsqueeze(1).expand(-1, self.num_ws, -1)

    def forward(self, z: Tensor, classes: Tensor, *, truncation: float | None = 1.0, rule: str = "plain") -> Tensor:
        """z [N, Z], already truncated, and weights of the classes [N, K] -> images [N, 3, H, W]."""
        images: Tensor = self.synthesis(self.repeat(self.condition(z, classes)), truncation=truncation, rule=rule)
        return images

    @torch.no_grad()
    def sample_w(self, n: int, *, generator: torch.Generator) -> Tensor:
        """n conditions [n, D] of truncated normal z and random classes, drawn on the generator's device."""
        z = truncated_normal((n, self.z_dim), generator=generator)
        chosen = torch.randint(self.config.num_classes, (n,), generator=generator, device=generator.device)
        like = self.embeddings.weight
        return torch.cat([z.to(like), like.T[chosen.to(like.device)]], dim=1)

    def on_canvas(self, maps: Tensor, *, outside: float) -> Tensor:
        """Maps [N, C, H, W] of the pictures as they are: the pictures are square."""
        return maps

    def off_canvas(self, maps: Tensor) -> Tensor:
        """As :meth:`on_canvas`, in the other direction."""
        return maps

    def max_batch(self, memory: int) -> int:
        """Estimated number of images that fit into ``memory`` bytes while their codes are optimised; at least 1.

        A block holds four inner features of a quarter of its channels beside what it gives.
        """
        features = sum(2 * math.prod(shape) for shape in self.generator.feature_shape.values())
        return max(1, memory // (4 * ACTIVATION_COPIES * features))


def stored_rows(truncation: float, n_stats: int, *, rule: str = "plain") -> Tensor:
    """Weights [n_stats] of the stored statistics for a truncation in [0, 1]; row k belongs to k / (n_stats - 1).

    rule  "plain": linear between the two nearest; "library": as huggingface/pytorch-pretrained-BigGAN computes it, whose two
          weights are exchanged, and which by rounding takes a neighbour's row for five of the 51 stored truncations

    Raises ValueError for another truncation or rule.
    """
    if not 0 <= truncation <= 1:
        raise ValueError(f"truncation: expected a number in [0, 1], found {truncation}")
    if rule not in RULES:
        raise ValueError(f"rule: expected one of {RULES}, found {rule!r}")
    weights = torch.zeros(n_stats, dtype=torch.float64)
    if rule == "library":
        share, first = math.modf(truncation / (1.0 / (n_stats - 1)))
        weights[int(first)] = share if share else 1.0
        if share:
            weights[int(first) + 1] = 1 - share
        return weights
    place = round(truncation * (n_stats - 1), 9)  # a stored truncation is its row in spite of rounding
    first = math.floor(place)
    weights[first] = 1 - (place - first)
    if place > first:
        weights[first + 1] = place - first
    return weights


def truncated_normal(shape: tuple[int, ...], *, generator: torch.Generator) -> Tensor:
    """Normal numbers within [-2, 2], as BigGAN's samples have them before the factor of truncation; float32."""
    like = torch.zeros(shape, device=generator.device)
    return nn.init.trunc_normal_(like, a=-TRUNCATED, b=TRUNCATED, generator=generator)
