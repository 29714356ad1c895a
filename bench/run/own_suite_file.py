"""The file of a suite of one's own generator, as :mod:`invbench.run.own_suite` makes it."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from invbench.api import printable
from invbench.plugins.config import Suite
from invbench.plugins.registry import Registry
from invbench.util.files import write_atomic

BOUND = ("generator", "directions", "latent_stats", "style_space", "invertibility")  # roles that belong to one generator
LOOKING = ("perceptual_vgg", "perceptual_alex", "features_idinvert", "identity", "moco", "parser", "parsing", "segmenter")
STRENGTHS = (-2.0, -1.0, 1.0, 2.0)
FOR_SETS = 100  # test pictures from which set metrics say something
NETWORKS = {
    "generator": "invbench.methods.nets.stylegan2:Generator",
    "latent_stats": "invbench.methods.nets.latent_stats:LatentStatistics",
    "style_space": "invbench.methods.nets.style_space:StyleSpace",
    "directions": "invbench.methods.directions.positions:EditDirections",
    "e4e": "invbench.methods.nets.encoders:E4EEncoder",
}
OFFICIAL = ("lpips_alex@native", "lpips_vgg@native", "fid@inception_uint8", "kid@inception_uint8")
SETS = ("fid", "kid", "precision", "recall")
NOT_KNOWN = ("@truth", "@domain", "@background")  # groups that ask what nobody knows of other pictures


@dataclass(frozen=True)
class Told:
    """What the file says: names, pixels a side, number of test pictures, role -> file of its folder, edit -> unit."""

    name: str
    source: str
    resolution: int
    test: int
    roles: Mapping[str, str]
    edits: Mapping[str, str]


def write(path: Path, made: Told, like: Suite | None, registry: Registry, *, methods: Sequence[str]) -> None:
    """Write the file; ``like`` is the suite whose networks look at the pictures, ``methods`` those of a run that names none."""
    sets = made.test >= FOR_SETS
    if like is None:
        metrics = ["@pixel", *(one for one in OFFICIAL if sets or one.partition("@")[0] not in SETS), "@latents"]
    else:
        metrics = [one for one in like.metrics or ("@pixel",) if one not in NOT_KNOWN]
        metrics = [one for one in metrics if sets or (one != "@sets" and one.partition("@")[0] not in SETS)]
    lines = [
        f"# Made by `invbench suite new` of {_text(made.source)}; it may be changed.",
        f"[suites.{made.name}]",
        f"title = {_text(f'{made.name}: own generator, {made.resolution} x {made.resolution}')}",
        f"resolution = {made.resolution}",
        'datasets = ["./pictures/test"]',
        'default = "quick"',
        f"default_edits = {json.dumps(list(made.edits))}",
        *([f"default_methods = {json.dumps(list(methods))}"] if methods else []),
        f"metrics = {json.dumps(metrics)}",
        *(['inherits = ["official"]'] if like is None else []),
        f"max_batch = {16 if made.resolution <= 256 else 4}",
        "",
        f"[suites.{made.name}.collections]",
        f'quick = ["./pictures/test:{min(12, made.test)}"]',
        'full = ["./pictures/test"]',
    ]
    for name, unit in made.edits.items():
        known = like.edits.get(name) if like is not None else None
        strengths = list(known.strengths if known is not None else STRENGTHS)
        lines += ["", f"[suites.{made.name}.edits.{name}]", f"unit = {_text(known.unit if known is not None else unit)}"]
        lines += [f"per_strength = {known.per_strength if known is not None else 1}", f"strengths = {json.dumps(strengths)}"]
        lines += [f"region = {json.dumps(list(known.region))}"] if known is not None and known.region else []
    lines += ["", f"[suites.{made.name}.networks]"]
    for role, file in made.roles.items():
        lines.append(f'{role} = {{ class = "{NETWORKS[file]}", weights = "{file}.safetensors" }}')
    if like is not None:
        lines += _borrowed(like, registry)
        lines += _settings(like, made)
    write_atomic(path, ("\n".join(lines) + "\n").encode())


def _borrowed(like: Suite, registry: Registry) -> list[str]:
    """The networks of a suite that look at pictures, as lines."""
    seen = [*(spec.roles for spec in registry.metrics.values()), *(spec.roles for spec in registry.protocols.values())]
    looking = {*LOOKING, *(role for roles in seen for role in roles)}
    lines = []
    for role, network in like.networks.items():
        if role not in looking or role in BOUND:
            continue
        given = network.model_dump(by_alias=True, exclude_defaults=True, mode="json")
        if network.weights is not None:
            given["weights"] = str(network.weights.resolve())
        lines.append(f"{role} = {_inline(given)}")
    return lines


def _settings(like: Suite, made: Told) -> list[str]:
    """The options of methods of a suite of the same size, as lines."""
    lines: list[str] = []
    for section, options in like.methods.items() if like.resolution == made.resolution else ():
        plain = {key: value for key, value in options.items() if _inline(value) != "null"}
        lines += ["", f"[suites.{made.name}.methods.{json.dumps(section)}]"]
        lines += [f"{json.dumps(key) if '.' not in key else key} = {_inline(value)}" for key, value in plain.items()]
    return lines


def _inline(value: Any) -> str:
    """A plain value as TOML."""
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{json.dumps(key)} = {_inline(one)}" for key, one in value.items()) + " }"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_inline, value)) + "]"
    return str(value).lower() if isinstance(value, float) and not math.isfinite(value) else json.dumps(value)


def _text(value: str) -> str:
    return json.dumps(printable(value))
