"""The workflows of the repository's host: they parse, name what exists, and pin what they use.

There is no YAML library among the dependencies, so the files keep to a part of YAML that forty lines can read: mappings and
lists by two spaces, `[a, b]`, plain and double-quoted scalars, and `|` blocks. Anything else is an error here.
"""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from click.testing import CliRunner

from invbench.cli import main
from tests.checkout import PROJECT

FILES = sorted((PROJECT / ".github" / "workflows").glob("*.y*ml"))
KEY = re.compile(r"([A-Za-z_][\w-]*):(?: (.*))?")
PLAIN = re.compile(r"[\w./*-][^#:{}\[\]&*!|>'\"%@`]*(?:[:@][^\s#][^#:]*)*")
SESSIONS = set(re.findall(r"^def (\w+)\(session", (PROJECT / "noxfile.py").read_text(), re.MULTILINE)) - {"python", "install"}


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


@pytest.mark.parametrize("name", [*(f".github/workflows/{path.name}" for path in FILES), "requirements.lock", "noxfile.py"])
def test_no_address_says_where_packages_come_from(name):
    assert "://" not in (PROJECT / name).read_text()


def test_every_job_is_whole_and_every_action_pinned(workflow):
    assert set(workflow) <= {"name", "on", "permissions", "concurrency", "env", "jobs"} and workflow["permissions"] == {
        "contents": "read"
    }
    for job in workflow["jobs"].values():
        assert set(job) <= {"runs-on", "timeout-minutes", "strategy", "steps"} and int(job["timeout-minutes"]) <= 360
    for step in steps(workflow):
        assert ("uses" in step) != ("run" in step) and set(step) <= {"name", "uses", "run", "with", "if"}
        assert "uses" not in step or re.fullmatch(r"actions/[a-z-]+@v\d+", step["uses"])
        wanted = step.get("with", {}).get("cache-dependency-path", "README.md")
        assert (PROJECT / wanted).is_file()


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
