"""The workflows of the repository's host: they parse, name what exists, and pin what they use.

There is no YAML library among the dependencies, so the files keep to a part of YAML that forty lines can read: mappings and
lists by two spaces, `[a, b]`, plain and double-quoted scalars, and `|` blocks. Anything else is an error here.
"""

from __future__ import annotations

import importlib.util
import json
import re
import tomllib
import types
from importlib.metadata import PackageNotFoundError, distribution
from typing import Any

import pytest
from click.testing import CliRunner
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from invbench.cli import main
from tests.checkout import PROJECT

FILES = sorted((PROJECT / ".github" / "workflows").glob("*.y*ml"))
KEY = re.compile(r"([A-Za-z_][\w-]*):(?: (.*))?")
PLAIN = re.compile(r"[\w./*-][^#:{}\[\]&*!|>'\"%@`]*(?:[:@][^\s#][^#:]*)*")
SESSIONS = set(re.findall(r"^@nox\.session\(.*\)\ndef (\w+)\(", (PROJECT / "noxfile.py").read_text(), re.MULTILINE))
LOCKS = ("requirements.lock", "requirements-dev.lock")


class Reader:
    def __init__(self, text: str) -> None:
        self.lines = [(number, line) for number, line in enumerate(text.splitlines(), 1)]
        assert "\t" not in text

    def block(self, indent: int) -> Any:
        """The mapping or list that begins at this indentation."""
        found: Any = None
        while line := self.next():
            number, text = line
            depth = len(text) - len(text.lstrip())
            if depth < indent:
                break
            assert depth == indent, f"line {number}: expected {indent} spaces, found {depth}"
            self.lines.pop(0)
            body = text.strip()
            if body.startswith("- "):
                found = [] if found is None else found
                if KEY.fullmatch(body[2:]):
                    self.lines.insert(0, (number, " " * (indent + 2) + body[2:]))
                    found.append(self.block(indent + 2))
                else:
                    found.append(scalar(number, body[2:]))
                continue
            match = KEY.fullmatch(body)
            assert match, f"line {number}: expected 'key:' or 'key: value', found {body!r}"
            found = {} if found is None else found
            key, value = match.groups()
            assert key not in found, f"line {number}: {key} again"
            found[key] = self.text(indent) if value == "|" else scalar(number, value) if value else self.block(indent + 2)
        return found

    def next(self) -> tuple[int, str] | None:
        while self.lines and (not self.lines[0][1].strip() or self.lines[0][1].lstrip().startswith("#")):
            self.lines.pop(0)
        return self.lines[0] if self.lines else None

    def text(self, indent: int) -> str:
        kept = []
        while self.lines and self.lines[0][1].startswith(" " * (indent + 2)):
            kept.append(self.lines.pop(0)[1][indent + 2 :])
        assert kept
        return "\n".join(kept)


def scalar(number: int, value: str) -> Any:
    if value.startswith("["):
        assert value.endswith("]"), f"line {number}: {value}"
        return [scalar(number, item.strip()) for item in value[1:-1].split(",")]
    if value.startswith('"'):
        return json.loads(value)
    assert PLAIN.fullmatch(value), f"line {number}: expected a plain or quoted scalar, found {value!r}"
    return {"true": True, "false": False}.get(value, value)


@pytest.fixture(params=FILES, ids=lambda path: path.name)
def workflow(request) -> dict[str, Any]:
    return Reader(request.param.read_text()).block(0)


def steps(workflow: dict[str, Any]) -> list[dict[str, Any]]:
    return [step for job in workflow["jobs"].values() for step in job["steps"]]


def commands(workflow: dict[str, Any]) -> list[str]:
    return [line for step in steps(workflow) for line in step.get("run", "").splitlines()]


def test_both_workflows_are_there():
    assert [path.name for path in FILES] == ["nightly.yml", "pull-request.yml"]


@pytest.mark.parametrize("name", [*(f".github/workflows/{path.name}" for path in FILES), *LOCKS, "noxfile.py"])
def test_no_address_says_where_packages_come_from(name):
    text = (PROJECT / name).read_text()
    assert "://" not in text and "index-url" not in text


def pins(name: str) -> dict[str, str]:
    """Package -> version of a lock file, of which every line is one pin, a comment or empty."""
    lines = [line for line in (PROJECT / name).read_text().splitlines() if line and not line.startswith("#")]
    found = dict(re.fullmatch(r"([\w.-]+)==([\w.]+)", line).groups() for line in lines)
    assert len(found) == len(lines)
    return {canonicalize_name(package): version for package, version in found.items()}


def needed(requirements: list[str]) -> set[str]:
    """All that requirements lead to in this environment, as far as it is installed."""
    found: set[str] = set()
    waiting = [Requirement(text) for text in requirements]
    while waiting:
        one = waiting.pop()
        name = canonicalize_name(one.name)
        try:
            below = [Requirement(text) for text in distribution(name).requires or []]
        except PackageNotFoundError:
            continue
        chosen = [other for other in below if other.marker is None or any(map(other.marker.evaluate, extras(one)))]
        waiting += [other for other in chosen if canonicalize_name(other.name) not in found]
        found.add(name)
    return found


def extras(requirement: Requirement) -> list[dict[str, str]]:
    return [{"extra": name} for name in ("", *requirement.extras)]


def test_users_get_what_the_package_needs_and_developers_the_rest():
    users, developers = map(pins, LOCKS)
    assert not set(users) & set(developers)
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]
    direct = {canonicalize_name(Requirement(text).name) for text in project["dependencies"]}
    tools = {canonicalize_name(Requirement(text).name) for text in project["optional-dependencies"]["dev"]}
    assert direct <= set(users) and tools <= set(developers)
    assert needed(project["dependencies"]) & set(developers) == set()
    assert not {"pytest", "mypy", "ruff", "hypothesis", "import-linter", "nox", "virtualenv"} & set(users)


def test_the_shared_environment_is_made_in_layers(monkeypatch, tmp_path):
    """Users first, what developers need on top of it, and nothing twice."""
    nox = pytest.importorskip("nox")
    spec = importlib.util.spec_from_file_location("noxfile_of_the_project", PROJECT / "noxfile.py")
    noxfile = importlib.util.module_from_spec(spec)
    with monkeypatch.context() as patch:
        patch.setattr(nox, "session", lambda **_: lambda function: function)
        patch.setattr(nox, "options", types.SimpleNamespace())
        spec.loader.exec_module(noxfile)
    monkeypatch.setattr(noxfile, "ENVIRONMENT", tmp_path)
    monkeypatch.setattr(noxfile.shutil, "which", lambda name: None)
    done: list[str] = []
    session = types.SimpleNamespace(run=lambda *words, **_: done.append(" ".join(words)), posargs=[], warn=done.append)

    def commands_of(work) -> list[str]:
        done.clear()
        work(session)
        return [re.sub(r"\S*/", "", line) for line in done]

    first = commands_of(noxfile.bench)
    assert ["virtualenv" in first[0], "requirements.lock" in first[1], "editable_mode=strict" in first[2]] == [True] * 3
    assert len(first) == 4 and not any("requirements-dev.lock" in line for line in first)
    tests = commands_of(noxfile.tests)
    assert len(tests) == 2 and tests[0].endswith("-r requirements.lock -r requirements-dev.lock")
    assert [len(commands_of(work)) for work in (noxfile.bench, noxfile.tests)] == [1, 1]
    monkeypatch.setattr(noxfile, "sources", lambda: ["bench/new.py"])
    again = commands_of(noxfile.tests)
    assert len(again) == 2 and "editable_mode=strict" in again[0]

    def refuse(*words: str, **_: object) -> None:
        done.append(" ".join(words))
        if words[0] == "uv":
            raise noxfile.CommandFailed()

    session.run = refuse
    monkeypatch.setattr(noxfile.shutil, "which", lambda name: "uv")
    monkeypatch.setattr(noxfile, "sources", lambda: [])
    fallback = commands_of(noxfile.bench)
    assert fallback[0].startswith("uv pip install") and fallback[2].startswith("python -m pip install")


def test_every_job_is_whole_and_every_action_pinned(workflow):
    assert set(workflow) <= {"name", "on", "permissions", "concurrency", "env", "jobs"} and workflow["permissions"] == {
        "contents": "read"
    }
    for job in workflow["jobs"].values():
        assert set(job) <= {"runs-on", "timeout-minutes", "strategy", "steps"} and int(job["timeout-minutes"]) <= 360
    for step in steps(workflow):
        assert ("uses" in step) != ("run" in step) and set(step) <= {"name", "uses", "run", "with", "if"}
        assert "uses" not in step or re.fullmatch(r"actions/[a-z-]+@v\d+", step["uses"])
        assert list(PROJECT.glob(step.get("with", {}).get("cache-dependency-path", "README.md")))


def test_commands_name_sessions_verbs_and_options_that_exist(workflow):
    for line in commands(workflow):
        if line.startswith("nox -s "):
            assert line.split()[2] in SESSIONS
        words = line.partition("invbench ")[2].split() or line.partition("nox -s gate -- ")[2].split()
        if words:
            verb = words[0] if "invbench" in line else "gate"
            shown = CliRunner().invoke(main, [verb, "--help"])
            assert shown.exit_code == 0
            assert all(word in shown.output for word in words if word.startswith("--"))


def test_pull_requests_lint_test_on_three_pythons_and_gate():
    found = Reader((PROJECT / ".github/workflows/pull-request.yml").read_text()).block(0)
    assert "pull_request" in found["on"] and found["jobs"]["tests"]["strategy"]["matrix"]["python"] == ["3.11", "3.12", "3.13"]
    lines = commands(found)
    assert {"nox -s lint", "nox -s tests"} <= set(lines)
    gates = [line for line in lines if line.startswith("nox -s gate") and "baselines/procfaces-quick.parquet" in line]
    assert len(gates) == 1 and any("GITHUB_STEP_SUMMARY" in line for line in lines)


def test_the_night_runs_the_whole_suite():
    found = Reader((PROJECT / ".github/workflows/nightly.yml").read_text()).block(0)
    assert found["on"]["schedule"][0]["cron"].count(" ") == 4 and "nox -s nightly" in commands(found)


@pytest.mark.parametrize(
    "text",
    ["a: 1\n  b: 2", "a: 1\na: 2", "a: {b: 1}", "a: 'b'", "a: &b c", "just words", "a:\n - b", "a: b: c", 'a: "b', "a: [b"],
)
def test_the_reader_refuses_what_it_does_not_know(text):
    with pytest.raises((AssertionError, ValueError)):
        Reader(text).block(0)
