"""Networks of a suite: find the weights, verify them, load them without running code from the file.

Official files are found and converted by :mod:`invbench.weights`. A network of the zoo is ``Class(**config)`` with a state dict
in a safetensors file: floating-point tensors of any precision (fp16 in the zoo), the configuration as JSON under the metadata
key ``config``. Beside ``name.safetensors`` lies its training's manifest ``name.json`` with the ``sha256`` of the file.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from invbench.api import InvbenchError, MissingWeights
from invbench.packed import unpack
from invbench.plugins.config import NetworkConfig, Suite
from invbench.plugins.registry import installed, load_class
from invbench.specs import MethodSpec
from invbench.util.provenance import file_digest
from invbench.weights import build
from invbench.weights.cache import WeightsCache

OURS = ("invbench",)  # a suite may build networks of these packages and of installed plug-ins


class Networks(Mapping[str, nn.Module]):
    """Role -> network of a suite: loaded on first use, in eval mode, frozen, float32, on ``device``.

    ``networks[role]`` raises :class:`MissingWeights` if the suite has no such network or its file is missing, and
    InvbenchError if the file is damaged or wrong, or of another domain or resolution than the suite.
    """

    def __init__(self, suite: Suite, device: torch.device | str = "cpu", *, cache: WeightsCache | None = None) -> None:
        self.suite = suite
        self.device = torch.device(device)
        self._cache = cache
        self._loaded: dict[str, nn.Module] = {}
        self._sources: dict[str, build.Source] = {}

    def __getitem__(self, role: str) -> nn.Module:
        if role not in self._loaded:
            config = self._config(role)
            twin = next((other for other in self._loaded if self.suite.networks[other] == config), None)
            if config.cls is None and twin is not None:
                self._loaded[role] = self._loaded[twin]  # frozen, so that two roles can share it
            else:
                self._loaded[role] = self._built(role, config).to(self.device)
        return self._loaded[role]

    def __contains__(self, role: object) -> bool:
        return role in self.suite.networks  # whether the role is declared; its file may still be missing

    def __iter__(self) -> Iterator[str]:
        return iter(self.suite.networks)

    def __len__(self) -> int:
        return len(self.suite.networks)

    def roles(self, spec: MethodSpec, options: Mapping[str, Any]) -> tuple[str, ...]:
        """The roles of a method with ``options``: all that it needs, and of the optional ones those that an option asks for and
        the suite declares.
        """
        wanted = {f"{name}={value}" for name, value in options.items()}
        return (*spec.roles, *(role for role, asked in spec.optional.items() if asked in wanted and role in self))

    def chosen(self, spec: MethodSpec, options: Mapping[str, Any]) -> dict[str, nn.Module]:
        """The networks that a method is built with."""
        return {role: self[role] for role in self.roles(spec, options)}

    def provenance(self, role: str) -> dict[str, Any]:
        """The content that keys depend on: class or loader, file and sha256 of a role's weights, and its configuration."""
        config = self._config(role)
        if config.cls is None:
            return self.source(role).provenance
        file = None if config.weights is None else require(config.weights)
        return {
            "class": config.cls,
            "file": None if file is None else file.name,
            "sha256": None if file is None else file_digest(file),
            "config": config.config,
        }

    def code(self, role: str) -> list[Callable[..., Any]]:
        """The class of a role's network, or the functions that make it from an official file."""
        config = self._config(role)
        return [network_class(config)] if config.cls is not None else self.source(role).functions

    @property
    def cache(self) -> WeightsCache:
        """The official weights on this machine, searched on first use."""
        if self._cache is None:
            self._cache = WeightsCache()
        return self._cache

    def source(self, role: str) -> build.Source:
        """The official files of a role. Raises MissingWeights if one is missing."""
        if role not in self._sources:
            config = self._config(role)
            if config.loader is not None:
                check_package(config.loader)
            source = build.resolve(config, self.cache)
            suite = self.suite
            build.check_suite(role, source, suite=suite.id, resolution=suite.resolution, domain=suite.domain)
            self._sources[role] = source
        return self._sources[role]

    def _built(self, role: str, config: NetworkConfig) -> nn.Module:
        if config.cls is not None:
            return load_network(config)
        network, _ = build.build(self.source(role))
        build.check_network(role, network, suite=self.suite.id, resolution=self.suite.resolution)
        return network

    def _config(self, role: str) -> NetworkConfig:
        if role not in self.suite.networks:
            raise MissingWeights(f"weights missing: suite {self.suite.id} has no network for the role {role!r}")
        return self.suite.networks[role]


def load_network(config: NetworkConfig, device: torch.device | str = "cpu") -> nn.Module:
    """Build the network of a role from the zoo; floating-point tensors become float32.

    Raises MissingWeights when the file is absent, and InvbenchError (file, expected, found) for a truncated file, a wrong
    hash, a configuration that the class does not take, and missing, unexpected or wrongly shaped tensors.
    """
    cls = network_class(config)
    stored, state = ({}, {}) if config.weights is None else read_weights(config.weights)
    source = config.weights or config.cls
    try:
        module = cls(**{**stored, **config.config})
    except build.CONFIGURED as error:
        raise InvbenchError(f"{source}: the configuration does not fit {config.cls}: {error}") from error
    if not isinstance(module, nn.Module):
        raise InvbenchError(f"{config.cls}: expected a torch module, found {type(module).__name__}")
    if config.weights is not None:
        check_state(config.weights, expected=module.state_dict(), found=state)
        module.load_state_dict(state)
    return module.float().eval().requires_grad_(False).to(device)


def network_class(config: NetworkConfig) -> type:
    """The class of a network. Raises InvbenchError for one outside our packages and those of installed plug-ins."""
    entry = config.cls or ""
    check_package(entry)
    return load_class(entry)


def check_package(entry: str) -> None:
    """Raises InvbenchError unless ``module:name`` lies in our packages or in those of installed plug-ins."""
    plugins = {point.value.partition(":")[0].partition(".")[0] for point in installed("methods")}
    if entry.partition(":")[0].partition(".")[0] not in {*OURS, *plugins}:
        raise InvbenchError(f"{entry}: expected a class in one of the packages {', '.join(sorted({*OURS, *plugins}))}")


def read_weights(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Configuration and state dict of a weight file, verified against the manifest beside it."""
    require(path)
    manifest = path.with_suffix(".json")
    expected = _expected_digest(manifest)
    found = file_digest(path)
    if found != expected:
        size = path.stat().st_size
        raise InvbenchError(f"{path}: expected sha256 {expected} ({manifest.name}), found {found} ({size} bytes)")
    try:
        with safe_open(path, framework="pt") as handle:
            metadata = handle.metadata() or {}
        config = json.loads(metadata.get("config", "{}"))
        return config, unpack(safetensors.torch.load_file(path))
    except (SafetensorError, OSError, ValueError) as error:
        raise InvbenchError(f"{path}: expected a safetensors file, found an unreadable one: {error}") from error


def require(path: Path) -> Path:
    """The path itself. Raises MissingWeights if there is no such file."""
    if not path.is_file():
        raise MissingWeights(f"weights missing: {path}")
    return path


def check_state(path: Path, *, expected: Mapping[str, Tensor], found: Mapping[str, Tensor]) -> None:
    """Raises InvbenchError unless both hold the same keys with the same shapes."""
    problems = [f"missing {key} {tuple(expected[key].shape)}" for key in expected if key not in found]
    problems += [f"unexpected {key} {tuple(found[key].shape)}" for key in found if key not in expected]
    problems += [
        f"{key}: expected shape {tuple(expected[key].shape)}, found {tuple(found[key].shape)}"
        for key in expected
        if key in found and expected[key].shape != found[key].shape
    ]
    if problems:
        more = f" and {len(problems) - 5} more" if len(problems) > 5 else ""
        raise InvbenchError(f"{path}: tensors do not fit the network: {'; '.join(problems[:5])}{more}")


def _expected_digest(manifest: Path) -> str:
    try:
        return str(json.loads(manifest.read_text(encoding="utf-8"))["sha256"])
    except FileNotFoundError:
        raise InvbenchError(f"{manifest}: expected the manifest of the weights with their sha256, found no file") from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InvbenchError(f"{manifest}: expected JSON with the key 'sha256', found something else: {error!r}") from error
