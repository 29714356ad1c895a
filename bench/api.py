"""The contract between the harness and its plug-ins: frozen dataclasses and Protocols, nothing else.

Importing this module never imports torch, so that listing plug-ins is instant.

Conventions used everywhere
    images      float32 ``[N, 3, H, W]`` in [-1, 1], RGB
    pictures    uint8 ``[H, W, 3]``, RGB; pictures are stored on disk, and every score is computed from them
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

NEEDS = ("factors", "ood_mask", "parsing", "truth", "true_factors", "domain_mask", "region", "latents", "latents_back")
"""Names that a metric's ``needs`` may hold: fields of Sample, of MetricInput, or (domain_mask) of an inversion's state."""

SUM = "+"  # between the edits that one name asks for together: "smile+eye_openness"
SOURCE = "@"  # in the name of an edit before the source of its direction: "age@ganspace"

SPACES = ("w", "w+", "z", "z+")  # of latents: one code for all layers, or one for each; z: codes are z and a class's embedding

STAGES = ("encode", "optimise", "segment", "refine", "synthesise", "edit")
"""Stage names shared by all methods; a clock refuses any other name."""


def printable(text: object, *, lines: bool = False) -> str:
    """``text`` in a form that every stream and file accepts, on one line (with ``lines``: on several).

    Bytes of file names that are not UTF-8 are written as ``\\xd5``, control characters as ``\\x1b``.
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
    """A network's weights are not on this machine; the message names the file and the folders that were searched."""


@dataclass(frozen=True)
class Edit:
    """A named direction and a strength, in the unit that the suite defines for that direction.

    "smile+eye_openness" is a sum: both edits, one after the other on the same latents, each with the strength of the whole.
    """

    name: str
    strength: float

    @property
    def parts(self) -> tuple[Edit, ...]:
        """The edits of a sum in their order; of any other edit, itself."""
        return tuple(Edit(name, self.strength) for name in self.name.split(SUM))

    @property
    def plain(self) -> Edit:
        """The edit without the source of its direction, "age@ganspace" -> "age": what data and metrics know of it."""
        return Edit(plain_edit(self.name), self.strength)


def plain_edit(name: str) -> str:
    """The name of an edit without sources of directions: "age@ganspace" -> "age"."""
    return re.sub(r"@[^+]*", "", name)


def sources_of(name: str) -> tuple[str, ...]:
    """The sources of directions that the name of an edit asks for: "age@ganspace" -> ("ganspace",)."""
    return tuple(dict.fromkeys(re.findall(r"@([^+]*)", name)))


@dataclass(frozen=True)
class Sample:
    """One image of a dataset."""

    picture: np.ndarray  # uint8 [H, W, 3], RGB
    name: str  # stable and unique in its dataset; safe as a file name
    sha256: str  # of the raw RGB bytes of ``picture``
    parsing: np.ndarray | None = None  # uint8 [H, W] class indices
    ood_mask: np.ndarray | None = None  # bool [H, W], True where the picture is out of the generator's domain
    factors: np.ndarray | None = None  # float64 [K] in [0, 1]


@runtime_checkable
class Dataset(Protocol):
    """Images with stable names, which are unique in the dataset."""

    names: Sequence[str]

    def read(self, index: int) -> Sample:
        """Decode image ``index``, an index into ``names``. Raises InvbenchError if it cannot be decoded."""

    def truth(self, index: int, edit: Edit) -> np.ndarray | None:
        """The true edited picture, uint8 [H, W, 3], or None if the dataset does not know it."""


@dataclass(frozen=True, slots=True)
class Member:
    """One picture of a stored dataset, not yet opened.

    md5     published by the dataset's authors: "file:<hex>" of the stored bytes, "chw:<hex>" of the pixels as uint8
            [3, H, W]; "" = none is published
    sha256  of the stored bytes when they were prepared; reading other bytes is an error; "" = not known
    """

    name: str  # of its sample
    file: str  # path under the dataset's root, or key in its database
    md5: str = ""
    sha256: str = ""


@dataclass(frozen=True, slots=True)
class Inspection:
    """Facts on one stored picture: number of bytes, their sha256, and its height and width in pixels as stored."""

    bytes: int
    sha256: str
    height: int
    width: int
    format: str  # as the file's header says: "PNG", "JPEG", ...
    md5: bool  # whether the published md5 was compared (and agreed)


@runtime_checkable
class StoredDataset(Dataset, Protocol):
    """A dataset whose files the user provides; its spec has a ``home``.

    Built as ``Class(root=..., members=..., **options)``. If ``members`` is None, the class searches ``root`` for the layouts
    that it knows and raises InvbenchError listing them if it finds none; otherwise it takes ``members`` as they are.
    """

    members: Sequence[Member]
    missing: Sequence[str]  # files or names that the dataset's definition requires and the root lacks
    layout: str  # the layout that was recognised, one line
    notes: Sequence[str]  # remarks on this copy for the user, one line each

    def inspect(self, index: int) -> Inspection:
        """Decode one picture as ``read`` does and compare its published hash. Raises InvbenchError if either fails."""

    def check(self, index: int) -> int:
        """The number of stored bytes of a picture. Raises InvbenchError if they are missing or differ from those prepared."""

    def stamp(self, index: int) -> str:
        """A text that changes whenever the file of a picture is written; cheap, since the file is not read."""


@runtime_checkable
class KnowsFactors(Protocol):
    """A dataset that also knows the factors of its true edits."""

    def true_factors(self, index: int, edit: Edit) -> np.ndarray | None:
        """Factors of the true edited picture, float64 [K] in [0, 1] as those of the sample, or None for an unknown edit."""


@dataclass(frozen=True)
class Inversion:
    """The result of ``Method.invert`` for N images. Raises ValueError for wrong shapes.

    state    everything else that ``edit`` needs: per-image weights, features, masks, noise maps; first axis N.
             ``state["domain_mask"]`` [N, 1, H, W] in [0, 1], if a method has one, is compared with the true mask.
    """

    latents: Tensor  # [N, L, D]
    images: Tensor  # [N, 3, H, W], the reconstructions, about [-1, 1], not clamped
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

    def stage(self, name: str) -> AbstractContextManager[None]:
        """A context whose duration in seconds counts for the stage ``name`` of the method."""


@runtime_checkable
class Method(Protocol):
    """One way to invert and edit images.

    A method is built as ``Class(networks, options)`` with ``networks`` a mapping from the roles in its spec to modules
    in eval mode with frozen parameters, and ``options`` the frozen record of its option values, each already checked for
    type and range: ``options.steps`` (:class:`invbench.options.Options`). A refinement is built as ``Class(networks, options,
    embedder)``. A method never opens a file. It gives the same result for an image alone and in a batch,
    unless its declaration says that it is ``joint``.
    """

    def invert(self, images: Tensor, clock: Clock) -> Inversion:
        """Invert ``images`` [N, 3, H, W], float32 in [-1, 1]. Returns the inversion of all N."""

    def edit(self, inversion: Inversion, edit: Edit, clock: Clock) -> Tensor:
        """Edited images [N, 3, H, W], about [-1, 1]. Never inverts again; works on a saved and reloaded inversion."""

    def max_batch(self, memory: int) -> int:
        """The largest number of images, at least 1, whose inversion fits into ``memory`` bytes; used for ``--batch auto``."""


@runtime_checkable
class Embedder(Method, Protocol):
    """A method that leaves the generator as it is, so that a refinement can start from its latents."""

    def embed(self, images: Tensor, clock: Clock) -> Tensor:
        """The latents [N, L, D] of the inversion of ``images``, without its pictures."""


@runtime_checkable
class Preparation(Protocol):
    """The implementation of a metric protocol, built as ``Class(networks)`` with the roles of its spec."""

    def __call__(self, pictures: np.ndarray, *, original: bool = False) -> Tensor:
        """uint8 [N, H, W, 3] -> float32 [N, 3, h, w] in [-1, 1]; an image that the protocol does not cover is all NaN.

        ``original``: the pictures are the dataset's (targets, true edits); some published scripts resize these differently.
        """


class Originals(Protocol):
    """Results of one metric that depend on an original alone, kept across methods, edits and runs."""

    def of(self, key: str, sample: Sample, image: Tensor, compute: Callable[[Tensor], Value]) -> Value:
        """``compute(image)`` for the prepared original [1, 3, h, w] of ``sample``, or what was kept of it."""
        ...

    def joined(self, values: Sequence[Value]) -> Value | None:
        """Results of single pictures as that of all of them: tensors [1, ...], or lists of such; None for anything else."""
        ...


@dataclass(frozen=True)
class MetricInput:
    """Metric input: one batch as the protocol prepared it, from uint8 pictures only, so it can be computed again from files.

    target     [N, 3, h, w] in [-1, 1], the original
    output     [N, 3, h, w] in [-1, 1], the picture to measure (a reconstruction or an edit), after quantisation
    samples    the N samples of the dataset
    edit       None when ``output`` is a reconstruction
    inverted   [N, 3, h, w] in [-1, 1]: the quantised reconstruction if ``output`` is an edit, else None
    truth      [N, 3, h, w] in [-1, 1]: the true edited picture if the dataset knows it, else None
    state      the inversion's state
    true_factors  float64 [N, K] in [0, 1]: the factors of the true edited pictures if the dataset knows them, else None
    latents       [N, L, D] of the inversion, in a round trip (edit, inversion, inverse edit) of the first one; None for edits,
               and where the method did not run: latents are not stored, and external pictures have none
    latents_back  [N, L, D] at the end of a round trip; None also if it is not known how the method's edits move latents
    region     names of the parser's classes that the suite lets the edit change; empty if it names none
    memo       results of :meth:`once`; the harness keeps them for all edits of a batch
    originals  what was computed from originals alone; the harness sets it for pictures on which that pays, and then they are
               computed one by one, so that kept and new results are the same to the byte
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
    originals: Originals | None = field(default=None, repr=False, compare=False)

    def once(self, key: str, which: str, compute: Callable[[Tensor], Value]) -> Value:
        """``compute(self.<which>)``, computed once for all metrics that use the same ``key``.

        key      names the computation with its network: "embedding:identity_metric", "features:lpips_alex", ...
        which    "target", "output", "inverted" or "truth"; ValueError if the batch has no such pictures
        compute  of the originals ("target"): a function of these pictures, the network and the metric's own code alone, since
                 the harness may keep its result for other methods and runs; of "truth": of these and the originals too
        """
        every = {"target": self.target, "output": self.output, "inverted": self.inverted, "truth": self.truth}
        pictures: Tensor | None = every[which]
        if pictures is None:
            raise ValueError(f"given.{which}: expected pictures [N, 3, h, w], found None")
        # The pictures themselves identify the result: a reconstruction is ``output`` first and ``inverted`` for its edits.
        known = self.memo.get((key, id(pictures)))
        if known is None:
            joined = None if which != "target" or self.originals is None else self.originals.joined(
                [self.original(key, index, compute) for index in range(len(self.samples))]
            )
            known = (pictures, compute(pictures) if joined is None else joined)
            self.memo[key, id(pictures)] = known
        return known[1]

    def original(self, key: str, index: int, compute: Callable[[Tensor], Value]) -> Value:
        """``compute(target[index : index + 1])``, from what was kept if there is anything; ``key`` as in :meth:`once`.

        For results too large to be held for a whole batch.
        """
        alone = self.target[index : index + 1]
        return compute(alone) if self.originals is None else self.originals.of(key, self.samples[index], alone, compute)


class Metric(Protocol):
    """A per-image metric, built as ``Class(networks)`` with the roles of its spec.

    Images that its protocol does not cover are all NaN, and the metric's values for them are discarded, unless the class sets
    ``sees_uncovered = True`` (a metric that counts uncovered images does).
    """

    def __call__(self, given: MetricInput) -> np.ndarray:
        """float64 [N], one value per image; NaN if the metric does not cover an image (for example, no face was found)."""


@dataclass(frozen=True)
class SetValue:
    """The value of a metric over n images; NaN = not known.

    bias       the part of ``value`` that is finite-sample bias: ``value - bias`` estimates the value for infinitely many images
    low, high  interval around ``value``: ``low - bias`` to ``high - bias`` is the 95 % confidence interval of that estimate
    """

    value: float  # the metric by its definition, for these n images
    low: float = math.nan
    high: float = math.nan
    bias: float = math.nan


class SetMetric(Protocol):
    """A metric over a set of images. Features are stored per image, so that shards merge and subsets can be drawn."""

    feature: str  # the name under which the features are stored; metrics may share them
    minimum: int  # the metric is refused for fewer images

    def features(self, images: Tensor) -> np.ndarray:
        """``images`` [N, 3, H, W] in [-1, 1] -> float32 [N, F]."""

    def compute(self, reference: np.ndarray, measured: np.ndarray) -> float | SetValue:
        """The metric from float32 [n, F] features of originals and of outputs; row i of both belongs to the same image."""
