"""Who may import whom: the contracts of pyproject.toml hold, and they can break."""

from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path

import pytest

from bench.config import PROJECT

PACKAGES = ("bench", "datasets", "metrics", "methods", "reports")
CHECK = "from importlinter.cli import lint_imports_command; lint_imports_command()"


def lint(folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", CHECK, "--no-cache"], cwd=folder, capture_output=True, text=True)


@pytest.mark.parametrize("name", PACKAGES)
def test_the_imported_packages_are_ours(name: str) -> None:
    module = importlib.import_module(name)
    assert module.__file__ is not None
    assert Path(module.__file__).parent == PROJECT / name


def test_layers_are_kept() -> None:
    done = lint(PROJECT)
    assert done.returncode == 0, done.stdout
    assert "0 broken" in done.stdout


@pytest.mark.parametrize(
    ("module", "line", "contract"),
    [
        ("metrics/bad.py", "import methods", "Datasets and metrics do not know methods"),
        ("datasets/bad.py", "import metrics", "Datasets and metrics do not know each other"),
        ("methods/bad.py", "import bench.store", "Methods know the contract only"),
        ("bench/bad.py", "import metrics", "The harness reaches plug-ins"),
        ("bench/bad.py", "import reports", "Nothing imports reports"),
        ("reports/bad.py", "import bench.runner", "Reports read the store"),
        ("bench/api.py", "import bench.store", "The contract stands on the ground"),
    ],
)
def test_a_forbidden_import_is_caught(tmp_path: Path, module: str, line: str, contract: str) -> None:
    (tmp_path / "pyproject.toml").write_text((PROJECT / "pyproject.toml").read_text())
    for name in PACKAGES:
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").touch()
    for name in ("api", "store", "runner"):
        (tmp_path / "bench" / f"{name}.py").touch()
    (tmp_path / "bench" / "cli").mkdir()
    (tmp_path / "bench" / "cli" / "__init__.py").touch()
    (tmp_path / "bench" / "cli" / "reading.py").write_text("import reports\n")
    assert lint(tmp_path).returncode == 0
    (tmp_path / module).write_text(f"{line}\n")
    done = lint(tmp_path)
    assert done.returncode == 1
    assert any(contract in row and "BROKEN" in row for row in done.stdout.splitlines()), done.stdout
