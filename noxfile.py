"""Sessions: bench, gate, tests, lint, train, docs, nightly. All share one environment.

It holds what users need, and what developers need from the first `tests` or `lint` on. What has changed is installed again:
the environment with a lock file, the links to the sources with the list of files. With uv on the PATH that takes a third of
the time. Arguments after ``--`` go to the tool behind the session: ``nox -s bench -- --methods dhr,pti,sam``.
"""

from __future__ import annotations

import hashlib
import shutil
import sys
from pathlib import Path

import nox
from nox.command import CommandFailed

nox.options.sessions = ["lint", "tests"]
nox.options.error_on_missing_interpreters = True

ROOT = Path(__file__).parent
ENVIRONMENT = ROOT / ".nox" / "shared"
BIN = ENVIRONMENT / ("Scripts" if sys.platform == "win32" else "bin")
ROOMS = ("bench", "datasets", "metrics", "methods", "reports")
USERS, DEVELOPERS = "requirements.lock", "requirements-dev.lock"
AXE = "axe-core@4.14.1"  # for tests only; nothing of it is shipped


def python(
    session: nox.Session,
    *args: str,
    developer: bool = False,
    accept: tuple[int, ...] = (0,),
    env: dict[str, str] | None = None,
) -> None:
    """Run the shared environment's Python, after installing what it lacks: for developers the tools, too."""
    install(session, developer=developer)
    session.run(str(BIN / "python"), *args, external=True, success_codes=accept, env=env)


def install(session: nox.Session, *, developer: bool) -> None:
    """Bring the shared environment up to date, in three layers, each with a stamp of what it was made from."""
    if not (3, 11) <= sys.version_info[:2] <= (3, 13):
        session.error(f"invbench needs Python 3.11 to 3.13, and nox runs on {sys.version.split()[0]}")
    users = digest(sys.version, content(USERS))
    if not is_made("users", users):
        session.run(sys.executable, "-m", "virtualenv", "--quiet", "--clear", str(ENVIRONMENT), external=True)  # brings pip
        packages(session, "-r", str(ROOT / USERS))
        stamp("users", users)
    developers = digest(content(DEVELOPERS))
    if developer and not is_made("developers", developers):
        packages(session, "-r", str(ROOT / USERS), "-r", str(ROOT / DEVELOPERS))
        stamp("developers", developers)
    links = digest(content("pyproject.toml"), content("setup.py"), *sources())
    if not is_made("links", links):
        strict = ("--config-settings", "editable_mode=strict")  # a tree of links, in which mypy and import-linter find all
        packages(session, "--no-deps", "--no-build-isolation", *strict, "-e", str(ROOT))
        stamp("links", links)


def packages(session: nox.Session, *words: str) -> None:
    """``pip install`` into the shared environment: by uv where it is there, else by pip."""
    if shutil.which("uv"):
        try:
            session.run("uv", "pip", "install", "--python", str(BIN / "python"), *words, external=True)
            return
        except CommandFailed:
            session.warn("uv could not install that (it does not read the settings of pip, an index say); pip tries now")
    pip = (str(BIN / "python"), "-m", "pip", "install", "--disable-pip-version-check", "--progress-bar", "off")
    session.run(*pip, *words, external=True)


def axe(session: nox.Session) -> dict[str, str]:
    """The variable with the path of axe-core's script for the tests; empty where npm is missing or fetches nothing."""
    folder = ROOT / ".nox" / "axe"
    script = folder / "node_modules" / "axe-core" / "axe.min.js"
    if not script.is_file() and shutil.which("npm"):
        try:
            session.run("npm", "install", "--silent", "--no-save", "--prefix", str(folder), AXE, external=True)
        except CommandFailed:
            session.warn(f"npm could not fetch {AXE}: the tests that need it are skipped")
    return {"INVBENCH_AXE": str(script)} if script.is_file() else {}


def content(name: str) -> str:
    """Text of a file of the checkout."""
    return (ROOT / name).read_text(encoding="utf-8")


def sources() -> list[str]:
    """The files of the packages; links to them are made anew when one comes or goes, not when one changes."""
    found = (path.relative_to(ROOT) for room in ROOMS for path in (ROOT / room).rglob("*") if path.is_file())
    return sorted(path.as_posix() for path in found if "__pycache__" not in path.parts)


def digest(*parts: str) -> str:
    """sha256 of some texts."""
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def is_made(layer: str, state: str) -> bool:
    """Whether a layer of the environment was made from this state."""
    path = ENVIRONMENT / f"invbench-{layer}"
    return path.is_file() and path.read_text() == state


def stamp(layer: str, state: str) -> None:
    """Note what a layer was made from."""
    (ENVIRONMENT / f"invbench-{layer}").write_text(state)


@nox.session(venv_backend="none")
def bench(session: nox.Session) -> None:
    """Run the benchmark, print its table and write its page: `nox -s bench -- --methods dhr,pti,sam --images 4`."""
    python(session, "-m", "invbench", "run", "--show", *session.posargs)


@nox.session(venv_backend="none")
def tests(session: nox.Session) -> None:
    """pytest on some cores, one process of one thread each; arguments pass through: `-- -m slow`, `-- tests/methods -k pti`.

    `-- -m perf` measures and so has the machine to itself; so has `-- -n 0`. Tests of pages in a browser look for barriers with
    axe-core, which npm fetches once where there is an npm.
    """
    python(session, "-m", "pytest", "-n", "auto", *session.posargs, developer=True, env=axe(session))


@nox.session(venv_backend="none")
def lint(session: nox.Session) -> None:
    """ruff, mypy and the layers of the house."""
    python(session, "-m", "ruff", "check", ".", developer=True)
    tree = next((ROOT / "build").glob("__editable__.invbench-*"))
    python(session, "-m", "mypy", developer=True, env={"MYPYPATH": str(tree)})
    python(session, "-c", "from importlinter.cli import lint_imports_command; lint_imports_command()", developer=True)


@nox.session(venv_backend="none")
def train(session: nox.Session) -> None:
    """Train a network of the zoo again: `nox -s train -- generator --minutes 60`; without a name, list them."""
    python(session, "-m", "invbench.methods.train", *(session.posargs or ["--list"]))


@nox.session(venv_backend="none")
def docs(session: nox.Session) -> None:
    """Build the documentation into build/docs: `nox -s docs -- runs/full` embeds the site of that run, else a small one."""
    out, run = Path("build") / "docs", Path("runs") / "docs"
    python(session, "-m", "mkdocs", "build", "--quiet", "--site-dir", str(out), developer=True)
    if not session.posargs:
        words = ("--methods", "dhr,pti,e4e", "--images", "4", "--out", str(run))
        python(session, "-m", "invbench", "run", *words, developer=True)
    runs = session.posargs or [str(run)]
    python(session, "-m", "invbench", "site", *runs, "--out", str(out / "sample"), "--images", "40", developer=True)


@nox.session(venv_backend="none")
def gate(session: nox.Session) -> None:
    """Compare a run with a baseline: `nox -s gate -- runs/new --baseline baselines/procfaces-quick.parquet`."""
    python(session, "-m", "invbench", "gate", *session.posargs)


@nox.session(venv_backend="none")
def nightly(session: nox.Session) -> None:
    """All pictures for the default methods and `quick` for the others, in one folder; then the gate against its baseline."""
    out = Path("runs") / "nightly"
    # 1 = some images failed: whether that is new is the gate's business.
    run = ("-m", "invbench", "run", "--out", str(out))
    python(session, *run, "--fresh", "--datasets", "full", *session.posargs, accept=(0, 1))
    python(session, *run, "--show", "--methods", "all", *session.posargs, accept=(0, 1))
    summary = ("--summary", str(out / "gate.md"))
    python(session, "-m", "invbench", "gate", str(out), "--baseline", "baselines/procfaces-full.parquet", *summary)
