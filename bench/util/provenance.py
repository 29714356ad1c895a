"""The provenance of numbers: sources, machine, versions, commit."""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import inspect
import json
import platform
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from invbench.api import InvbenchError

TRACED = ("invbench.methods", "invbench.metrics")  # modules that belong to the recipe of a plug-in's result
PACKAGES = (
    "torch", "torchvision", "numpy", "scipy", "scikit-image", "pillow", "piq", "lpips", "torch-fidelity", "facenet-pytorch",
)  # fmt: skip


def digest(content: Any) -> str:
    """sha256 of plain values, as hexadecimal digits: that of their canonical JSON (sorted keys, no blanks)."""
    return hashlib.sha256(json.dumps(content, sort_keys=True, separators=(",", ":"), default=str).encode()).hexdigest()


@cache
def file_digest(path: Path) -> str:
    """sha256 of a file's bytes, as hexadecimal digits."""
    with open(path, "rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def source_digest(classes: Iterable[Callable[..., Any]]) -> str:
    """One digest of the source files of classes or functions, and of all modules of TRACED that these import.

    Imports are read from the syntax tree, at every level of the file; no code is run.
    """
    return digest({name: hashlib.sha256(source).hexdigest() for name, source in _reachable(classes).items()})


def _reachable(classes: Iterable[Callable[..., Any]]) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    waiting = [(one.__module__, Path(inspect.getfile(one))) for one in classes]
    while waiting:
        name, path = waiting.pop()
        if name in found:
            continue
        found[name] = path.read_bytes()
        package = name if path.name == "__init__.py" else name.rpartition(".")[0]
        for other in _imports(found[name], path, package):
            file = _source_file(other) if other.startswith(TRACED) else None
            if file is not None:
                waiting.append((other, file))
    return found


@cache  # keyed by the text: metrics share most of their imports
def _imports(source: bytes, path: Path, package: str) -> tuple[str, ...]:
    try:
        tree = ast.parse(source)
    except SyntaxError as error:
        raise InvbenchError(f"{path}:{error.lineno}: expected Python source, found {error.msg}") from error
    return tuple(_imported(tree, package))


def _imported(tree: ast.Module, package: str) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parts = package.split(".")
            above = parts[: len(parts) - node.level + 1] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            yield base
            yield from (f"{base}.{alias.name}" for alias in node.names)  # a name may be a module


def _source_file(module: str) -> Path | None:
    top, *rest = module.split(".")
    spec = importlib.util.find_spec(top)  # only for the top package: finding a deeper name would import its parents
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        path = Path(folder).joinpath(*rest)
        for candidate in (path / "__init__.py", path.with_suffix(".py")):
            if candidate.is_file():
                return candidate
    return None


def versions() -> dict[str, str | None]:
    """Versions of Python, of this project and of the libraries that numbers depend on; None = not installed."""
    found: dict[str, str | None] = {"python": platform.python_version()}
    for package in ("invbench", *PACKAGES):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = None
    return found


def machine(device: str, *, threads: int | None = None) -> dict[str, Any]:
    """The kind of machine, without its name: processor, cores, threads, memory in bytes, system, and the device in use.

    ``threads``: of the processes that do the work; None: this one does it.
    """
    import psutil  # takes a while to import
    import torch

    gpu = torch.cuda.get_device_name(device) if device.startswith("cuda") else None
    return {
        "processor": _processor(),
        "cores": psutil.cpu_count(logical=True),
        "threads": threads or torch.get_num_threads(),
        "memory": psutil.virtual_memory().total,
        "system": f"{platform.system()} {platform.machine()}",
        "device": device,
        "gpu": gpu,
        "cuda": torch.version.cuda if gpu else None,
    }


def described(machine: dict[str, Any], *, sharing: int = 1) -> str:
    """The machine in words, so that readers can compare times. ``sharing``: workers that share what one should have alone."""
    shared = f", shared by {sharing} workers" if sharing > 1 else ""
    if machine.get("gpu"):
        return f"{machine['gpu']}{shared}"
    threads = machine.get("threads")
    return f"{machine.get('processor')}, {threads} thread{'s' if threads != 1 else ''} on {machine.get('cores')} cores{shared}"


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def git() -> dict[str, Any]:
    """The project's commit and whether its files differ from it; ``{"commit": None}`` if the package is not a checkout.

    An installed copy may lie within another repository, whose commit is not that of this project.
    """
    import subprocess  # takes a while to import

    root = Path(__file__).resolve().parents[2]  # links of an editable install lead to the checkout

    def ask(*words: str) -> str | None:
        try:
            done = subprocess.run(["git", *words], cwd=root, capture_output=True, text=True, timeout=20)
        except (OSError, subprocess.TimeoutExpired):
            return None
        return done.stdout.strip() if done.returncode == 0 else None

    top = ask("rev-parse", "--show-toplevel")
    commit = ask("rev-parse", "HEAD") if top and Path(top).resolve() == root else None
    changes = ask("status", "--porcelain", "--untracked-files=no") if commit else None
    return {"commit": commit, "modified": None if changes is None else bool(changes)}
