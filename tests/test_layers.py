"""Who may import whom: the contracts of pyproject.toml hold, and they can break."""

from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path

import pytest

from tests.checkout import PROJECT

FOLDERS = {"invbench": "bench", **{f"invbench.{name}": name for name in ("datasets", "metrics", "methods", "reports")}}
CHECK = "from importlinter.cli import lint_imports_command; lint_imports_command()"


def lint(folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", CHECK, "--no-cache"], cwd=folder, capture_output=True, text=True)


@pytest.mark.parametrize("name", FOLDERS)
def test_the_imported_packages_are_those_of_the_checkout(name: str) -> None:
    module = importlib.import_module(name)
    assert module.__file__ is not None
    assert (Path(module.__file__).resolve().parent / "__init__.py").samefile(PROJECT / FOLDERS[name] / "__init__.py")


def test_layers_are_kept() -> None:
    done = lint(PROJECT)
    assert done.returncode == 0, done.stdout
    assert "0 broken" in done.stdout


@pytest.mark.parametrize(
    ("module", "line", "contract"),
    [
        ("metrics/bad.py", "import invbench.methods", "Datasets and metrics do not know methods"),
        ("datasets/bad.py", "import invbench.metrics", "Datasets and metrics do not know each other"),
        ("methods/bad.py", "import invbench.store", "Methods, metrics and datasets know the contract only"),
        ("run/bad.py", "import invbench.metrics", "The harness reaches plug-ins"),
        ("run/bad.py", "import invbench.reports", "Nothing imports reports"),
        ("reports/bad.py", "import invbench.run.runner", "Reports read the store"),
        ("api.py", "import invbench.store", "The contract stands on the ground"),
        ("util/bad.py", "import invbench.plugins", "The floors of the harness"),
        ("compare/bad.py", "import invbench.run", "Comparisons read the store"),
    ],
)
def test_a_forbidden_import_is_caught(tmp_path: Path, module: str, line: str, contract: str) -> None:
    (tmp_path / "pyproject.toml").write_text((PROJECT / "pyproject.toml").read_text())
    package = tmp_path / "invbench"
    rooms = ["run", "cli", "run/executors", "scoring", "data", "weights", "plugins", "util", "compare"]
    rooms += ["datasets", "metrics", "methods", "reports"]
    for name in (".", *rooms):
        (package / name).mkdir(parents=True, exist_ok=True)
        (package / name / "__init__.py").touch()
    compared = [f"compare/{name}" for name in ("stats", "gate", "baseline", "pairs")]
    for name in ("api", "specs", "schema", "columns", "described", "folder", "store", "run/runner", *compared):
        (package / f"{name}.py").touch()
    (package / "cli" / "reading.py").write_text("import invbench.reports\n")
    done = lint(tmp_path)
    assert done.returncode == 0, done.stdout
    (package / module).write_text(f"{line}\n")
    done = lint(tmp_path)
    assert done.returncode == 1
    assert any(contract in row and "BROKEN" in row for row in done.stdout.splitlines()), done.stdout
