"""Declarations of plug-ins, read from the literals of their modules without importing them. Part of the contract
(:mod:`invbench.api`)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Option:
    """One setting of a method: default value, unit ("steps", "per step", ...), one line of help, and its admitted values.

    range    of a number, "[0, inf)" or "(0, 1]"; "" = every finite number (for a count of steps: 0 and above)
    choices  the admitted values, or the admitted items of a list; empty = every value of the default's type
    """

    default: Any
    unit: str
    help: str
    range: str = ""
    choices: tuple[Any, ...] = ()


@dataclass(frozen=True)
class MethodSpec:
    """The declaration of a method, read from the literal ``SPEC`` of its module without importing it."""

    id: str
    title: str
    entry: str  # "module:Class"
    family: str  # "optimisation", "encoder", "weights", "features", "hybrid"
    roles: tuple[str, ...]  # networks that the suite must have: "generator", "perceptual", "encoder_e4e", ...
    options: Mapping[str, Option]
    presets: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)  # name -> the options that differ; none: "default"
    paper: str = ""
    venue: str = ""
    summary: str = ""
    optional: Mapping[str, str] = field(default_factory=dict)  # role -> "OPTION=VALUE" that asks for it, where the suite has it
    gives: str = ""  # of an embedder: the space of its latents
    refines: tuple[str, ...] = ()  # of a refinement: the spaces of the latents that it starts from
    embedder: Mapping[str, str] = field(default_factory=dict)  # of a refinement: preset -> published embedder, "ID[:PRESET]"
    joint: bool = False  # whether the pictures of a batch share what is found; such a batch is never cut
    parts: tuple[MethodSpec, ...] = ()  # never declared: the refinement and the embedder of a pair (invbench.plugins.pairs)


@dataclass(frozen=True)
class ProtocolSpec:
    """How pictures become metric input; read from the literal ``PROTOCOLS`` of a module."""

    id: str
    title: str
    entry: str  # "module:Class"
    recipe: str  # every step from the uint8 picture to the tensor
    source: str  # the paper or the repository that prepares pictures this way
    roles: tuple[str, ...] = ()


@dataclass(frozen=True)
class MetricSpec:
    """The declaration of a metric under one protocol, read from the literal ``SPECS`` of its module without importing it.

    A declaration has ``id`` "mse" and ``protocols`` ["native", "psp256"] (default: ["native"]); each protocol becomes one spec.
    """

    id: str  # "mse@psp256"
    title: str
    entry: str  # "module:Class"
    kind: str  # "inversion": per image | "edit": per image and edit | "set": over a set | "round_trip": of a second inversion
    better: str  # "lower", "higher", "none"
    unit: str
    range: str
    roles: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()  # items of NEEDS: what the dataset, the method or the suite must provide for an image
    edits: tuple[str, ...] = ()  # the edits that an edit metric is defined for; empty = all
    summary: str = ""
    reference: str = ""  # the implementation that gives the same values
    name: str = field(init=False)  # "mse"
    protocol: str = field(init=False)  # "psp256"; "native" for an id without a protocol

    def __post_init__(self) -> None:
        name, _, protocol = self.id.partition("@")
        object.__setattr__(self, "name", name)
        object.__setattr__(self, "protocol", protocol or "native")


@dataclass(frozen=True)
class DatasetSpec:
    """The declaration of a dataset, read from the literal ``SPECS`` of its module without importing it."""

    id: str
    title: str
    entry: str  # "module:Class"
    domain: str  # "faces", "cars", "procfaces", ...
    size: int | None  # number of images; None = counted when the dataset is opened
    options: Mapping[str, Any] = field(default_factory=dict)  # keyword arguments of the class
    summary: str = ""
    home: str = ""  # the id under which its files are prepared (`invbench datasets prepare`); "" = it needs none
    page: str = ""  # official page from which the files can be had
    licence: str = ""
