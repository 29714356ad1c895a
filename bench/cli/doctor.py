"""``invbench doctor``: report what is installed, present and missing."""

from __future__ import annotations

import hashlib
import json
import platform
import sys
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING

import click

from invbench.api import InvbenchError
from invbench.cli.common import config_option, in_process_option, plugin_option, suite_and_plugins, suite_option
from invbench.data.sources import open_dataset
from invbench.plugins.files import NAME, sources
from invbench.plugins.registry import load_class, strangers
from invbench.specs import DatasetSpec, MetricSpec
from invbench.util import provenance
from invbench.util.names import PACKAGE

if TYPE_CHECKING:
    from invbench.plugins.config import NetworkConfig, Suite
    from invbench.weights.networks import Networks

PACKAGES = ("torch", "torchvision", "numpy", "lpips", "piq", "torch-fidelity", "facenet-pytorch", "scikit-image", "duckdb")

EPILOG = """\b
Examples
  invbench doctor
  invbench doctor --suite procfaces --config mine.toml

\b
Exit code: 0 everything that the suite needs is here; 1 something is missing.
"""


@click.command(epilog=EPILOG, short_help="What is installed and what is missing.")
@suite_option
@in_process_option
@config_option
@plugin_option
def doctor(suite: str, in_process: bool, config: Path | None, plugins: tuple[Path, ...]) -> None:
    """Report the libraries and devices of this machine, and the datasets and weights of a suite."""
    chosen, registry = suite_and_plugins(suite, config, plugins)
    problems = 0

    git = provenance.git()
    state = f"commit {git['commit'][:10]}{' and changes' if git['modified'] else ''}" if git["commit"] else "not a checkout"
    click.echo(f"invbench at {PACKAGE.resolve()}, {state}")
    read = ", ".join(f"{name} ({digest[:8]})" for name, digest in sources(suite, config).items())
    click.echo(f"Configuration: {read}{'' if config else f'; no {NAME} in this folder'}")
    click.echo(f"Python {platform.python_version()} at {sys.executable}, {platform.platform()}")
    for package in PACKAGES:
        try:
            problems += _line(package, version(package), None)
        except PackageNotFoundError:
            problems += _line(package, "", f"not installed: {sys.executable} -m pip install {package}")
    click.echo(f"\nDevices\n{_devices()}")

    from invbench.plugins.selection import choose_datasets
    from invbench.run.executors.apart import alone

    click.echo(f"\nDatasets of {suite}")
    for name in chosen.datasets:
        try:
            (choice,) = choose_datasets(chosen, [name], registry, images=None)
            count = alone(partial(_count, choice.spec), strangers([choice.spec]), here=in_process)
            problems += _line(name, f"{count} images", None)
        except InvbenchError as error:
            problems += _line(name, "", str(error))

    click.echo(f"\nNetworks of {suite}")
    missing = {}
    networks = _networks(chosen)
    for role, network in chosen.networks.items():
        found, problem = _zoo(network) if network.cls else _official(networks, role)
        problems += _line(role, found, problem)
        if problem:
            missing[role] = problem

    if any(chosen.networks[role].needed for role in missing):
        click.echo(f"  get them: invbench weights get --suite {suite}")

    for kind, specs in (("Methods", registry.methods), ("Metrics", registry.metrics)):
        click.echo(f"\n{kind} in {suite}")
        for name, spec in specs.items():
            roles = spec.roles + (registry.protocols[spec.protocol].roles if isinstance(spec, MetricSpec) else ())
            lacking = [role for role in roles if role not in chosen.networks]
            broken = [role for role in roles if role in missing]
            if lacking:  # a suite need not have networks for every method and metric
                click.echo(f"  --    {name}: the suite has no network {', '.join(lacking)}")
            else:
                problems += _line(name, "ready", f"needs {', '.join(broken)}" if broken else None)
    strange = _strange_files(networks)
    if strange:
        click.echo("\nFiles among the weights that are no asset yet")
        for line in strange:
            click.echo(f"  --    {line}")
    click.get_current_context().exit(1 if problems else 0)


def _count(spec: DatasetSpec) -> int:
    return len(open_dataset(spec).names)


def _line(name: str, found: str, problem: str | None) -> int:
    click.echo(f"  {'ok  ' if problem is None else 'MISS'}  {name}: {found if problem is None else problem}")
    return int(problem is not None)


def _devices() -> str:
    try:
        import torch
    except ImportError as error:
        return f"  torch cannot be imported: {error}"
    lines = [f"  cpu: {torch.get_num_threads()} threads"]
    for i in range(torch.cuda.device_count()):
        properties = torch.cuda.get_device_properties(i)
        lines.append(f"  cuda:{i}: {properties.name}, {properties.total_memory / 2**30:.1f} GiB")
    return "\n".join(lines)


def _networks(suite: Suite) -> Networks | None:
    """The suite's networks; None if torch cannot be imported (reported under devices), or if none is official."""
    if all(network.cls for network in suite.networks.values()):
        return None
    try:
        import torch

        from invbench.run.session import open_networks
    except ImportError:
        return None
    return open_networks(suite, torch.device("cpu"))


def _official(networks: Networks | None, role: str) -> tuple[str, str | None]:
    """The official files of a role, without opening them, and the problem with them or None."""
    if networks is None:
        return "", "torch cannot be imported"
    try:
        source = networks.source(role)
    except InvbenchError as error:
        return "", str(error)
    files = ", ".join(f"{file.path.name}, {file.size / 1e6:.2f} MB ({asset.id})" for asset, file in source.files.values())
    return files, None


def _strange_files(networks: Networks | None) -> list[str]:
    """Files in the searched folders that match no asset, with the reason."""
    matches = [] if networks is None else networks.cache.matches()
    return [f"{match.found.path}: {match.problem}" for match in matches if match.id is None]


def _zoo(network: NetworkConfig) -> tuple[str, str | None]:
    """A description of a network's weights file, and the problem with it or None."""
    entry = network.cls or ""
    try:
        load_class(entry)
    except InvbenchError as error:
        return "", str(error)
    if network.weights is None:
        return entry, None
    if not network.weights.is_file():
        return "", f"weights missing: {network.weights}"
    size = f"{network.weights.stat().st_size / 1e6:.2f} MB"
    manifest = network.weights.with_suffix(".json")
    if not manifest.is_file():
        return "", f"{network.weights.name} ({size}) has no manifest {manifest}"
    expected = json.loads(manifest.read_text(encoding="utf-8")).get("sha256")
    with network.weights.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != expected:
        return "", f"{network.weights}: expected sha256 {expected}, found {found}"
    return f"{network.weights.name}, {size}", None
