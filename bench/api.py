"""The contract between the harness and its plug-ins: frozen dataclasses and Protocols, nothing else.

Importing this module never imports torch, so that listing plug-ins is instant.

Conventions used everywhere
    images      float32 ``[N, 3, H, W]`` in [-1, 1], RGB
    pictures    uint8 ``[H, W, 3]``, RGB; what is stored on disk and what every score is computed from
    latents     float32 ``[N, L, D]`` (W+); a W code is repeated over L
    domain mask float32 ``[N, 1, H, W]`` in [0, 1]; 1 = in-domain, 0 = out-of-domain
    axis 0      is always the image, in every tensor of an :class:`Inversion`
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, runtime_checkable

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

Value = TypeVar("Value")

NEEDS = ("factors", "ood_mask", "parsing", "truth", "true_factors", "domain_mask", "region", "latents_back")
"""What a metric may need beside pictures: fields of Sample, of MetricInput, or (domain_mask) of an inversion's state."""

STAGES = ("encode", "optimise", "segment", "refine", "synthesise", "edit")
"""Stage names shared by all methods; a clock refuses any other name."""


def printable(text: object, *, lines: bool = False) -> str:
    """A text that every stream and file takes, on one line (with ``lines``: on several).

    Bytes of file names that are no UTF-8 are written as ``\\xd5``, and characters that a terminal obeys as ``\\x1b``.
    """
    obeyed = r"\x00-\x08\x0b-\x1f\x7f-\x9f" if lines else r"\x00-\x1f\x7f-\x9f\u2028\u2029"
    return re.sub(rf"[\ud800-\udfff{obeyed}]", lambda found: _escaped(found[0]), str(text))


def _escaped(char: str) -> str:
    return f"\\x{ord(char) - 0xDC00:02x}" if "\udc80" <= char <= "\udcff" else ascii(char)[1:-1]


class InvbenchError(Exception):
    """An error that a user can act on. Its message names the file or key, what was expected and what was found."""

    def __str__(self) -> str:
        return printable(super().__str__(), lines=True)


class MissingWeights(InvbenchError):
    """A network's weights are not on this machine; the message says which file and where it is looked for."""


@dataclass(frozen=True)
class Option:
    """One setting of a method: default value, unit ("steps", "per step", ...), one line of help, and the values that it admits.

    range    of a number, "[0, inf)" or "(0, 1]"; "" = every finite one (of a count of steps: every one from 0 on)
    choices  the values that it admits, or the items that a list of it may hold; empty = all of the default's type
    """

    default: Any
    unit: str
    help: str
    range: str = ""
    choices: tuple[Any, ...] = ()


@dataclass(frozen=True)
class MethodSpec:
    """What is known of a method without importing it; read from the literal ``SPEC`` of its module."""

    id: str
    title: str
    entry: str  # "module:Class"
    family: str  # "optimisation", "encoder", "weights", "features", "hybrid"
    roles: tuple[str, ...]  # networks asked of the suite: "generator", "perceptual", "encoder_e4e", ...
    options: Mapping[str, Option]
    presets: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)  # name -> the options that differ; none: "default"
    paper: str = ""
    venue: str = ""
    summary: str = ""
    optional: tuple[str, ...] = ()  # roles that some of its options need: given to the method where the suite has them


@dataclass(frozen=True)
class ProtocolSpec:
    """How pictures are brought into the form that a metric sees; read from the literal ``PROTOCOLS`` of a module."""

    id: str
    title: str
    entry: str  # "module:Class"
    recipe: str  # every step from the uint8 picture to the tensor
    source: str  # the paper or the repository that computes its numbers so
    roles: tuple[str, ...] = ()


@dataclass(frozen=True)
class MetricSpec:
    """A metric under one protocol, known without importing it; read from the literal ``SPECS`` of its module.

    A declaration has ``id`` "mse" and ``protocols`` ["native", "psp256"] (left out: native); it becomes one spec for each.
    """

    id: str  # "mse@psp256"
    title: str
    entry: str  # "module:Class"
    kind: str  # "inversion": per image | "edit": per image and edit | "set": over a set | "round_trip": of a second inversion
    better: str  # "lower", "higher", "none"
    unit: str
    range: str
    roles: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()  # some of NEEDS: what the dataset, the method or the suite must know of an image
    edits: tuple[str, ...] = ()  # an edit metric that speaks of these edits only; empty = all
    summary: str = ""
    reference: str = ""  # the implementation whose values it has
    name: str = field(init=False)  # "mse"
    protocol: str = field(init=False)  # "psp256"; "native" for an id that names none

    def __post_init__(self) -> None:
        name, _, protocol = self.id.partition("@")
        object.__setattr__(self, "name", name)
        object.__setattr__(self, "protocol", protocol or "native")


@dataclass(frozen=True)
class DatasetSpec:
    """What is known of a dataset without importing it; read from the literal ``SPECS`` of its module."""

    id: str
    title: str
    entry: str  # "module:Class"
    domain: str  # "faces", "cars", "procfaces", ...
    size: int | None  # number of images; None = found out when opened
    options: Mapping[str, Any] = field(default_factory=dict)  # given to the class by keyword
    summary: str = ""
    home: str = ""  # the id under which its files are prepared (`invbench datasets prepare`); "" = it needs none
    page: str = ""  # where the files are to be had
    licence: str = ""


@dataclass(frozen=True)
class Edit:
    """A named direction and a strength, in the unit that the suite defines for that direction."""

    name: str
    strength: float


@dataclass(frozen=True)
class Sample:
    """One image of a dataset.

    picture   uint8 [H, W, 3], RGB
    name      stable and unique in its dataset; safe as a file name
    sha256    of the raw RGB bytes of ``picture``
    parsing   uint8 [H, W] class indices, or None
    ood_mask  bool [H, W], True where the picture is out of the generator's domain, or None
    factors   float64 [K] in [0, 1], or None
    """

    picture: np.ndarray
    name: str
    sha256: str
    parsing: np.ndarray | None = None
    ood_mask: np.ndarray | None = None
    factors: np.ndarray | None = None


@runtime_checkable
class Dataset(Protocol):
    """Images with stable names. ``read`` decodes one image and raises InvbenchError when it cannot."""

    names: Sequence[str]

    def read(self, index: int) -> Sample: ...

    def truth(self, index: int, edit: Edit) -> np.ndarray | None:
        """The true edited picture, uint8 [H, W, 3], or None where nobody knows it."""


@dataclass(frozen=True, slots=True)
class Member:
    """One picture of a stored dataset, unopened.

    name    of its sample
    file    path under the dataset's root, or key in its database
    md5     as published by the dataset's makers: "file:<hex>" of the stored bytes, "chw:<hex>" of the pixels as uint8
            [3, H, W]; "" where none is
    sha256  of the stored bytes as they were prepared, other bytes are an error when read; "" = not known
    """

    name: str
    file: str
    md5: str = ""
    sha256: str = ""


@dataclass(frozen=True, slots=True)
class Inspection:
    """What was found of one stored picture: its bytes, their sha256, and the size of the picture as stored."""

    bytes: int
    sha256: str
    height: int
    width: int
    format: str  # as the file's header says: "PNG", "JPEG", ...
    md5: bool  # whether the published md5 was compared (and agreed)


@runtime_checkable
class StoredDataset(Dataset, Protocol):
    """A dataset whose pictures lie in files that a user brings; its spec has a ``home``.

    Built as ``Class(root=..., members=..., **options)``. With ``members`` None the root is searched for the layouts that the
    class knows, and InvbenchError says which these are when there is none; otherwise the members are taken as they are.
    """

    members: Sequence[Member]
    missing: Sequence[str]  # files or names that the dataset's definition asks for and the root lacks
    layout: str  # what was recognised, one line
    notes: Sequence[str]  # what a user should know of this copy

    def inspect(self, index: int) -> Inspection:
        """Read and decode one picture as ``read`` does, and compare what is published. Raises InvbenchError."""

    def check(self, index: int) -> int:
        """The number of stored bytes of a picture; raises InvbenchError when they are missing or not those prepared."""

    def stamp(self, index: int) -> str:
        """Changes whenever the file of a picture is written to; cheap, nothing is read."""


@runtime_checkable
class KnowsFactors(Protocol):
    """A dataset that knows the factors of its true edits, too."""

    def true_factors(self, index: int, edit: Edit) -> np.ndarray | None:
        """Factors of the true edited picture, float64 [K] in [0, 1] as those of the sample, or None for an unknown edit."""


@dataclass(frozen=True)
class Inversion:
    """What ``Method.invert`` returns.

    latents  [N, L, D]
    images   [N, 3, H, W], the reconstruction, about [-1, 1], not clamped
    state    all else that ``edit`` needs: per-image weights, features, masks, noise maps; first axis N.
             ``state["domain_mask"]`` [N, 1, H, W], where a method has one, is scored against the true mask.
    """

    latents: Tensor
    images: Tensor
    state: Mapping[str, Tensor] = field(default_factory=dict)

    def __post_init__(self) -> None:
        n = self.latents.shape[0]
        if self.latents.ndim != 3:
            raise ValueError(f"latents: expected shape [N, L, D], found {tuple(self.latents.shape)}")
        if self.images.ndim != 4 or self.images.shape[0] != n or self.images.shape[1] != 3:
            raise ValueError(f"images: expected shape [{n}, 3, H, W], found {tuple(self.images.shape)}")
        for key, value in self.state.items():
            if value.ndim == 0 or value.shape[0] != n:
                raise ValueError(f"state[{key!r}]: expected first axis {n}, found shape {tuple(value.shape)}")


class Clock(Protocol):
    """Times the stages of a method; see :mod:`invbench.util.clock`."""

    def stage(self, name: str) -> AbstractContextManager[None]: ...


@runtime_checkable
class Method(Protocol):
    """One way to invert and edit.

    A method is built as ``Class(networks, options)`` with ``networks`` a mapping from the roles in its spec to modules
    in eval mode with frozen parameters, and ``options`` the frozen record of the values of its spec's options, each of its
    type and within its range: ``options.steps`` (:class:`invbench.options.Options`). It never opens a file.
    It gives the same result for an image whether it comes alone or in a batch.
    """

    def invert(self, images: Tensor, clock: Clock) -> Inversion:
        """``images`` [N, 3, H, W] float32 in [-1, 1] -> inversion of all N."""

    def edit(self, inversion: Inversion, edit: Edit, clock: Clock) -> Tensor:
        """Edited images [N, 3, H, W]. Never inverts again; works from an inversion that was saved and loaded."""

    def max_batch(self, memory: int) -> int:
        """The largest batch that fits into ``memory`` bytes; the runner takes it for ``--batch auto``."""


@runtime_checkable
class Preparation(Protocol):
    """A metric protocol at work, built as ``Class(networks)`` with the roles of its spec."""

    def __call__(self, pictures: np.ndarray, *, original: bool = False) -> Tensor:
        """uint8 [N, H, W, 3] -> float32 [N, 3, h, w] in [-1, 1]; NaN all over an image that it does not cover.

        ``original`` is True for pictures of the dataset (targets and true edits) and False for pictures by a method: some
        published scripts resize the two in different ways.
        """


@dataclass(frozen=True)
class MetricInput:
    """What metrics see of one batch, as their protocol prepared it. Everything comes from uint8 pictures, so that anybody
    can recompute it from files.

    target     [N, 3, h, w] in [-1, 1], the original
    output     [N, 3, h, w] in [-1, 1], the picture to judge (a reconstruction or an edit), after quantisation
    samples    the N samples of the dataset
    edit       None when ``output`` is a reconstruction
    inverted   [N, 3, h, w]: the quantised reconstruction when ``output`` is an edit, else None
    truth      [N, 3, h, w]: the true edited picture where the dataset knows it, else None
    state      the inversion's state
    true_factors  float64 [N, K] in [0, 1]: the factors of the true edited pictures where the dataset knows them, else None
    latents, latents_back  [N, L, D] of the inversion, and at the end of a round trip (edit, inversion, inverse edit; ``output``
               is then its last picture); None beside round trips, latents_back also where a method does not say how it moves
    region     names of the parser's classes that the edit may change, as the suite says; empty where it does not
    memo       what :meth:`once` has computed; the harness hands it on from edit to edit of a batch
    """

    target: Tensor
    output: Tensor
    samples: Sequence[Sample]
    edit: Edit | None = None
    inverted: Tensor | None = None
    truth: Tensor | None = None
    state: Mapping[str, Tensor] = field(default_factory=dict)
    true_factors: np.ndarray | None = None
    latents: Tensor | None = None
    latents_back: Tensor | None = None
    region: tuple[str, ...] = ()
    memo: MutableMapping[tuple[str, int], tuple[Tensor, Any]] = field(default_factory=dict, repr=False, compare=False)

    def once(self, key: str, which: str, compute: Callable[[Tensor], Value]) -> Value:
        """``compute(self.<which>)``, computed once for all metrics that ask under the same ``key``.

        key      names the computation with its network: "embedding:identity_metric", "features:lpips_alex", ...
        which    "target", "output", "inverted" or "truth"; ValueError where the batch has no such pictures
        """
        pictures: Tensor | None = {
            "target": self.target, "output": self.output, "inverted": self.inverted, "truth": self.truth
        }[which]  # fmt: skip
        if pictures is None:
            raise ValueError(f"given.{which}: expected pictures [N, 3, h, w], found None")
        # Kept with the pictures themselves: a reconstruction is first the output and then what its edits start from.
        known = self.memo.get((key, id(pictures)))
        if known is None:
            known = (pictures, compute(pictures))
            self.memo[key, id(pictures)] = known
        return known[1]


class Metric(Protocol):
    """A per-image metric, built as ``Class(networks)`` with its roles: one float64 value an image.

    Images that its protocol does not cover come as NaN, and its values for them are not kept, unless the class says
    ``sees_uncovered = True``, as a metric does that counts them.
    """

    def __call__(self, given: MetricInput) -> np.ndarray:
        """float64 [N]; NaN where the metric does not cover an image (no face found, say)."""


@dataclass(frozen=True)
class SetValue:
    """A figure of a set of images; NaN = not known.

    value      as its definition has it, for these n images
    bias       what of ``value`` is there only because n is finite: ``value - bias`` estimates the figure of all such images
    low, high  what is uncertain, laid around ``value``: ``low - bias`` to ``high - bias`` is the 95 % confidence interval of
               the figure of all such images
    """

    value: float
    low: float = math.nan
    high: float = math.nan
    bias: float = math.nan


class SetMetric(Protocol):
    """A metric over a set. Features are kept for each image, so that shards merge and subsets can be drawn."""

    feature: str  # the name under which the features are stored; metrics may share them
    minimum: int  # below this many images the metric is refused

    def features(self, images: Tensor) -> np.ndarray:
        """``images`` [N, 3, H, W] in [-1, 1] -> float32 [N, F]."""

    def compute(self, reference: np.ndarray, measured: np.ndarray) -> float | SetValue:
        """Features [n, F] of originals and of outputs, row i of both of one image -> the figure."""
