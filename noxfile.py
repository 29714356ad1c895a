"""Sessions: bench, gate, tests, lint, train, nightly. All share one environment, which is installed once.

Arguments after ``--`` go to the tool behind the session: ``nox -s bench -- --methods dhr,pti,sam``.
"""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

import nox

nox.options.sessions = ["lint", "tests"]
nox.options.error_on_missing_interpreters = True

ROOT = Path(__file__).parent
ENVIRONMENT = ROOT / ".nox" / "shared"
BIN = ENVIRONMENT / ("Scripts" if sys.platform == "win32" else "bin")
ROOMS = ("bench", "datasets", "metrics", "methods", "reports")


def python(session: nox.Session, *args: str, accept: tuple[int, ...] = (0,), env: dict[str, str] | None = None) -> None:
    """Run the shared environment's Python, after installing what requirements.lock asks for if it is not there yet."""
    install(session)
    session.run(str(BIN / "python"), *args, external=True, success_codes=accept, env=env)


def install(session: nox.Session) -> None:
    """Make the shared environment, once for each state of the lock file, of the build files and of the list of sources."""
    if not (3, 11) <= sys.version_info[:2] <= (3, 13):
        session.error(f"invbench needs Python 3.11 to 3.13, and nox runs on {sys.version.split()[0]}")
    digest = hashlib.sha256(sys.version.encode())
    for name in ("requirements.lock", "pyproject.toml", "setup.py"):
        digest.update((ROOT / name).read_bytes())
    files = sorted(path.relative_to(ROOT).as_posix() for room in ROOMS for path in (ROOT / room).rglob("*") if path.is_file())
    digest.update("\n".join(name for name in files if "__pycache__" not in name).encode())
    stamp = ENVIRONMENT / "invbench-stamp"
    if stamp.is_file() and stamp.read_text() == digest.hexdigest():
        return
    pip = (str(BIN / "python"), "-m", "pip", "install", "--disable-pip-version-check", "--progress-bar", "off")
    session.run(sys.executable, "-m", "virtualenv", "--quiet", "--clear", str(ENVIRONMENT), external=True)
    session.run(*pip, "-r", str(ROOT / "requirements.lock"), external=True)
    strict = ("--config-settings", "editable_mode=strict")  # a tree of links, in which mypy and import-linter find everything
    session.run(*pip, "--no-deps", "--no-build-isolation", *strict, "-e", str(ROOT), external=True)
    stamp.write_text(digest.hexdigest())


@nox.session(venv_backend="none")
def bench(session: nox.Session) -> None:
    """Run the benchmark, print its table and write its page: `nox -s bench -- --methods dhr,pti,sam --images 4`."""
    python(session, "-m", "invbench", "run", "--show", *session.posargs)


@nox.session(venv_backend="none")
def tests(session: nox.Session) -> None:
    """pytest; arguments pass through: `nox -s tests -- -m slow`, `nox -s tests -- tests/methods -k pti`."""
    python(session, "-m", "pytest", *session.posargs)


@nox.session(venv_backend="none")
def lint(session: nox.Session) -> None:
    """ruff, mypy and the layers of the house."""
    python(session, "-m", "ruff", "check", ".")
    tree = next((ROOT / "build").glob("__editable__.invbench-*"))
    python(session, "-m", "mypy", env={"MYPYPATH": str(tree)})
    python(session, "-c", "from importlinter.cli import lint_imports_command; lint_imports_command()")


@nox.session(venv_backend="none")
def train(session: nox.Session) -> None:
    """Train a network of the zoo again: `nox -s train -- generator --minutes 60`; without a name, list them."""
    python(session, "-m", "invbench.methods.train", *(session.posargs or ["--list"]))


@nox.session(venv_backend="none")
def gate(session: nox.Session) -> None:
    """Compare a run with a baseline: `nox -s gate -- runs/new --baseline baselines/procfaces-quick.parquet`."""
    python(session, "-m", "invbench", "gate", *session.posargs)


@nox.session(venv_backend="none")
def nightly(session: nox.Session) -> None:
    """The whole embedded suite, every method, in a folder of its own; then the gate against the stored baseline."""
    out = Path("runs") / "nightly"
    # 1 = some images failed: whether that is new is the gate's business.
    run = ("-m", "invbench", "run", "--show", "--fresh", "--datasets", "full", "--out", str(out), *session.posargs)
    python(session, *run, accept=(0, 1))
    summary = ("--summary", str(out / "gate.md"))
    python(session, "-m", "invbench", "gate", str(out), "--baseline", "baselines/procfaces-full.parquet", *summary)
