"""From official files to networks: find them in the cache, load them without running their code, convert and check them.

A loader is ``function(checkpoint, *, source, ...)`` in ``methods`` or ``metrics``. It returns a network in eval mode with
frozen parameters, or the network and notes on parts that the file lacked and how they were made. It raises InvbenchError
unless every tensor fits.
"""

from __future__ import annotations

import inspect
import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors.torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from invbench.api import InvbenchError, MissingWeights
from invbench.plugins.config import NetworkConfig
from invbench.plugins.registry import load_callable
from invbench.util.cache import home
from invbench.util.files import write_atomic
from invbench.util.provenance import digest, source_digest
from invbench.weights.cache import REMOVED, Found, WeightsCache, misfit
from invbench.weights.catalogue import Asset
from invbench.weights.checkpoints import load_checkpoint
from invbench.weights.keys import plain
from invbench.weights.layout import Derived
from invbench.weights.layouts import part_of

CONFIGURED = (TypeError, ValueError, ArithmeticError, LookupError, AttributeError, RuntimeError)
"""Errors of code that gets a number that it cannot use."""
DERIVED = "derived"  # folder of INVBENCH_HOME for statistics measured on official networks


@dataclass(frozen=True)
class Source:
    """The files of one role and the loader that makes a network of them.

    files   argument of the loader -> (asset, file); under "" the main one
    loader  "module:function"; with ``derived``, the network is measured on the loader's result
    """

    files: Mapping[str, tuple[Asset, Found]]
    loader: str
    config: Mapping[str, Any]
    part: str = ""
    derived: Derived | None = None

    @property
    def provenance(self) -> dict[str, Any]:
        """The content that keys depend on: assets and sha256 of the files, the loader, its arguments."""
        main = self.files.get("")
        return {
            "class": self.loader if self.derived is None else f"{self.loader} -> {self.derived.measure}",
            "file": None if main is None else main[0].id,
            "sha256": None if main is None else main[1].sha256,
            "config": dict(self.config),
        } | {f"beside {name}": f"{asset.id} {file.sha256}" for name, (asset, file) in self.files.items() if name}

    @property
    def functions(self) -> list[Callable[..., Any]]:
        """The code that makes the network."""
        names = [self.loader] if self.derived is None else [self.loader, self.derived.measure]
        return [load_callable(name) for name in names]


def resolve(config: NetworkConfig, cache: WeightsCache) -> Source:
    """The source of a role's network, without opening the files.

    Raises MissingWeights naming the asset, the searched folders and the command that fetches it; InvbenchError for an asset
    or a part that does not exist.
    """
    if config.loader is not None:
        files = {name: (cache.catalogue.find(id), cache.find(id)) for name, id in config.assets.items()}
        return Source(files, config.loader, config.config)
    asset, found = _first(config.choices, cache)
    return source_of(asset, found, cache, asked=config.part, config=config.config)


def source_of(
    asset: Asset, found: Found, cache: WeightsCache, *, asked: str | None = None, config: Mapping[str, Any] | None = None
) -> Source:
    """The source of a network if ``found`` is the file of the asset; ``asked`` is the requested part of it.

    Raises MissingWeights if another file that it needs is missing; InvbenchError for a part that does not exist.
    """
    asked = asked or asset.part or None
    part = part_of(found.layout, asked)
    if part is None:
        raise InvbenchError(f"{asset.id}: a file of layout {found.layout} has no part {asked!r}")
    name, loader = part
    derived = loader if isinstance(loader, Derived) else None
    if isinstance(loader, Derived):
        base = part_of(found.layout, loader.of)
        assert base is not None and isinstance(base[1], str), f"layout {found.layout}: {loader.of} must be a part with a loader"
        loader = base[1]
    files = {"": (asset, found)}
    if not found.facts.get("whole"):
        files |= {name: (cache.catalogue.find(id), cache.find(id)) for name, id in asset.beside.items()}
    return Source(files, loader, config or {}, name, derived)


def build(source: Source) -> tuple[nn.Module, tuple[str, ...]]:
    """The network of a role, on the CPU, and the loader's notes."""
    return _measured(source, source.derived) if source.derived else make(source, opened(source))


def opened(source: Source) -> dict[str, Mapping[str, Any]]:
    """The content of each file of a role; its tensors are read when they are used, where the file's form allows it."""
    return {name: read(file) for name, (_, file) in source.files.items()}


def read(file: Found) -> Mapping[str, Any]:
    """The content of a file under the keys of its layout (:mod:`invbench.weights.keys`)."""
    return plain(load_checkpoint(file.path, mmap=True))[0]


def make(source: Source, contents: Mapping[str, Mapping[str, Any]]) -> tuple[nn.Module, tuple[str, ...]]:
    """The network that the loader makes of the files' contents, and its notes."""
    paths = {name: str(file.path) for name, (_, file) in source.files.items()}
    named: dict[str, Any]
    if "" in contents:
        first: Any = contents[""]
        named = {"source": paths[""]} | {name: content for name, content in contents.items() if name}
        named |= {f"{name}_source": path for name, path in paths.items() if name}
    else:
        first, named = contents, {"sources": paths}
    loader = load_callable(source.loader)
    try:
        inspect.signature(loader).bind(first, **named, **source.config)
    except TypeError as error:
        raise InvbenchError(f"{source.loader}: the configuration does not fit it: {error}") from error
    try:
        made = loader(first, **named, **source.config)
    except CONFIGURED as error:
        if not source.config:
            raise
        raise InvbenchError(f"{source.loader}: the configuration {dict(source.config)} does not fit it: {error}") from error
    network, notes = made if isinstance(made, tuple) else (made, ())
    removed = [file.facts[REMOVED] for _, file in source.files.values() if REMOVED in file.facts]
    notes = (*notes, *(f"names of tensors: taken without {one}" for one in removed))
    if not isinstance(network, nn.Module):
        raise InvbenchError(f"{source.loader}: expected a torch module, found {type(network).__name__}")
    return network.float().eval().requires_grad_(False), tuple(notes)


def check_suite(role: str, source: Source, *, suite: str, resolution: int, domain: str | None) -> None:
    """Raise InvbenchError if a file's domain or resolution is not the suite's."""
    for asset, found in source.files.values():
        named = f"suite {suite}: {role}: {asset.id} ({found.path.name})"
        if domain is not None and asset.domain is not None and asset.domain != domain:
            raise InvbenchError(f"{named}: expected weights of the domain {domain}, found {asset.domain}")
        pixels = asset.resolution or found.facts.get("resolution")
        if pixels is not None and pixels != resolution:
            raise InvbenchError(f"{named}: expected weights for {resolution} x {resolution} pixels, found {pixels} x {pixels}")
        reason = misfit(asset, found, said=True)
        if reason is not None:
            raise InvbenchError(f"{named}: {reason}")


def check_network(role: str, network: nn.Module, *, suite: str, resolution: int) -> None:
    """As :func:`check_suite`, by the network itself: its resolution, or the number of style vectors that it gives."""
    pixels = getattr(network, "resolution", None)
    vectors = getattr(network, "num_ws", None)
    expected = 2 * int(math.log2(resolution)) - 2
    if isinstance(pixels, int) and pixels != resolution:
        raise InvbenchError(f"suite {suite}: {role}: expected a network for {resolution} pixels, found one for {pixels}")
    if isinstance(vectors, int) and vectors != expected:
        raise InvbenchError(
            f"suite {suite}: {role}: expected {expected} style vectors for {resolution} pixels, found a network with {vectors}"
        )


def _first(choices: tuple[str, ...], cache: WeightsCache) -> tuple[Asset, Found]:
    """The first of the assets whose file is present. Raises MissingWeights for the first asset if none is."""
    missing: list[MissingWeights] = []
    for id in choices:
        try:
            return cache.catalogue.find(id), cache.find(id)
        except MissingWeights as error:
            missing.append(error)
    others = f"; or instead of it: {', '.join(choices[1:])}" if len(choices) > 1 else ""
    raise MissingWeights(f"{missing[0]}{others}")


def _measured(source: Source, derived: Derived) -> tuple[nn.Module, tuple[str, ...]]:
    """A network that is measured from another one, read from ``INVBENCH_HOME/derived`` if it was measured before."""
    recipe = digest({"from": source.provenance, "source": source_digest(source.functions)})
    path = home() / DERIVED / f"{source.part}-{recipe[:24]}.safetensors"
    cls = load_callable(derived.cls)
    kept = _read(path, recipe)
    notes: tuple[str, ...] = ()
    if kept is None:
        base, notes = build(Source(source.files, source.loader, {}, derived.of))
        network, config = load_callable(derived.measure)(base, **source.config)
        state = {key: value.contiguous() for key, value in network.state_dict().items()}
        metadata = {"recipe": recipe, "config": json.dumps(config)}
        write_atomic(path, safetensors.torch.save(state, metadata))
        kept = config, state
    config, state = kept
    network = cls(**config)
    network.load_state_dict(state)
    return network.float().eval().requires_grad_(False), notes


def _read(path: Path, recipe: str) -> tuple[dict[str, Any], dict[str, Tensor]] | None:
    """The stored measurement; None if there is none or it cannot be read."""
    try:
        with safe_open(path, framework="pt") as handle:
            metadata = handle.metadata() or {}
        if metadata.get("recipe") != recipe:
            return None
        return json.loads(metadata["config"]), safetensors.torch.load_file(path)
    except (SafetensorError, OSError, ValueError, KeyError):
        return None
