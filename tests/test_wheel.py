"""The wheel: what is in it, and how it gets on in an environment of its own beside packages of the same names."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.checkout import PROJECT

ROOMS = ("bench", "datasets", "metrics", "methods", "reports")
NEIGHBOURS = ("datasets", "evaluate")  # of Hugging Face; the first has the name of one of our folders
CHECK = """
import importlib.metadata, pathlib, sys
for name in ("datasets", "evaluate"):
    for file in importlib.metadata.files(name):
        assert file.locate().is_file(), file
import datasets
import evaluate
assert callable(datasets.load_dataset) and callable(evaluate.load), datasets.__file__
"""


def tracked() -> list[str]:
    """The files of the five folders that git knows of and that are there."""
    done = subprocess.run(["git", "ls-files", "-co", "--exclude-standard", *ROOMS], cwd=PROJECT, capture_output=True, text=True)
    if done.returncode:
        pytest.skip("not a checkout")
    return [name for name in done.stdout.splitlines() if (PROJECT / name).is_file()]


def as_packed(name: str) -> str:
    """Where a file of the checkout lies in the wheel."""
    return f"invbench/{name.removeprefix('bench/')}"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel, built of a copy so that the checkout's own build folder stays as it is; asks no server."""
    tree, out = tmp_path_factory.mktemp("tree"), tmp_path_factory.mktemp("wheel")
    for name in ["setup.py", "pyproject.toml", "README.md", "LICENSE", *tracked()]:
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(PROJECT / name, tree / name)
    build = "import sys; from setuptools import build_meta; print(build_meta.build_wheel(sys.argv[1]))"
    done = subprocess.run([sys.executable, "-c", build, str(out)], cwd=tree, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (path,) = out.glob("invbench-*.whl")
    return path


def test_the_wheel_holds_the_five_folders_under_one_name_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as file:
        names = {name for name in file.namelist() if not name.endswith("/")}
    info = {name for name in names if name.partition("/")[0].endswith(".dist-info")}
    assert {Path(name).name for name in info} == {"METADATA", "WHEEL", "RECORD", "entry_points.txt", "top_level.txt", "LICENSE"}
    assert names - info == {as_packed(name) for name in tracked()}
    with zipfile.ZipFile(wheel) as file:
        (top,) = (name for name in info if name.endswith("top_level.txt"))
        assert file.read(top).decode().split() == ["invbench"]


def test_a_wheel_that_is_unpacked_finds_its_files_and_says_that_it_is_no_checkout(wheel: Path, tmp_path: Path) -> None:
    """Even within a repository of somebody else, whose commit is not that of this project."""
    site, mine = tmp_path / "site", tmp_path / "mine"
    mine.mkdir()
    with zipfile.ZipFile(wheel) as file:
        file.extractall(site)
    git = ["git", "-c", "user.name=n", "-c", "user.email=e", "-c", "commit.gpgsign=false"]
    subprocess.run([*git, "init", "-q", str(tmp_path)], check=True)
    subprocess.run([*git, "-C", str(tmp_path), "commit", "-q", "--allow-empty", "-m", "theirs"], check=True)
    code = f"import sys; sys.path.insert(0, {str(site)!r})\n" + (
        "import invbench, json\n"
        "from invbench.cli import main\n"
        "from invbench.util.provenance import git\n"
        "from invbench.methods.train.common import checkout\n"
        "from invbench.api import InvbenchError\n"
        "print(invbench.__file__, git())\n"
        "try: checkout()\n"
        "except InvbenchError as error: print(error)\n"
        "main(['doctor'])\n"
    )
    # -P: not the working directory; the folder of links of an editable install comes later on the path
    done = subprocess.run([sys.executable, "-P", "-c", code], cwd=mine, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert str(site / "invbench" / "__init__.py") in done.stdout and "{'commit': None, 'modified': None}" in done.stdout
    assert "found an installed copy" in done.stdout and "not a checkout" in done.stdout
    assert "MISS" not in done.stdout.partition("\nDatasets of")[2]


class Environment:
    """A virtual environment that sees the libraries of this interpreter's one but invbench, and installs for itself."""

    def __init__(self, folder: Path) -> None:
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
        self.python = next(path for path in folder.glob("*/python*") if path.parent.name in {"bin", "Scripts"})
        (site,) = map(Path, self.run("-c", "import sysconfig; print(sysconfig.get_path('purelib'))").splitlines())
        libraries = folder / "libraries"
        libraries.mkdir()
        for path in Path(pytest.__file__).parents[1].iterdir():
            if "invbench" not in path.name and path.name.partition("-")[0] not in {"pip", *NEIGHBOURS}:
                (libraries / path.name).symlink_to(path)
        (site / "libraries-of-the-tests.pth").write_text(f"{libraries}\n")  # .pth files in that folder are not followed
        self.site = site

    def run(self, *words: str, folder: Path | None = None) -> str:
        clean = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
        done = subprocess.run([str(self.python), *words], cwd=folder, env=clean, capture_output=True, text=True)
        assert done.returncode == 0, f"{words}: {done.stdout}{done.stderr}"
        return done.stdout

    def pip(self, *words: str) -> None:
        self.run("-m", "pip", "--disable-pip-version-check", *words)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("order", ["ours first", "theirs first"])
def test_beside_packages_of_the_same_names(wheel: Path, tmp_path: Path, order: str) -> None:
    place, elsewhere = Environment(tmp_path / "env"), tmp_path / "elsewhere"
    elsewhere.mkdir()
    ours, theirs = ("install", "--no-deps", str(wheel)), ("install", "--quiet", *NEIGHBOURS)
    for words in (ours, theirs) if order == "ours first" else (theirs, ours):
        place.pip(*words)
    place.run("-c", CHECK, folder=elsewhere)
    invbench = ("-m", "invbench")
    assert str(place.site) in place.run("-c", "import invbench; print(invbench.__file__)", folder=elsewhere)
    assert "not a checkout" in place.run(*invbench, "doctor", folder=elsewhere)
    place.run(*invbench, "list", "suites", folder=elsewhere)
    place.run(*invbench, "plan", "--methods", "e4e", "--images", "2", "--no-probe", folder=elsewhere)
    place.run(*invbench, "run", "--methods", "e4e", "--images", "2", "--quiet", folder=elsewhere)
    assert (elsewhere / "runs" / "latest-procfaces" / "manifest.json").is_file()
    place.pip("uninstall", "--yes", "invbench")
    place.run("-c", CHECK, folder=elsewhere)
    assert not (place.site / "invbench").exists()
