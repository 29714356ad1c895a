"""Kept answers of `show`, `report` and `gate` are to the byte what is computed, of these files, and never trusted otherwise."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

from invbench.cli import main, reading
from invbench.compare import gate
from invbench.reports import extract, site
from invbench.store import Store
from invbench.util import answers
from invbench.util.cache import HOME
from invbench.util.files import WriteFailed

from .big import make_big_run

SMALL = {"dhr": 0.008, "psp": 0.04, "e4e": 0.045}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_big_run(tmp_path_factory.mktemp("made") / "run", images=6, methods=SMALL, datasets=("procfaces-test",)).path


@pytest.fixture
def run(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run whose answers are kept, whatever its size."""
    monkeypatch.setenv(HOME, str(tmp_path / "home"))
    monkeypatch.setattr(answers, "LARGE", 0)
    shutil.copytree(made, tmp_path / "run")
    return tmp_path / "run"


def told(*words: object) -> tuple[int, str]:
    done = CliRunner().invoke(main, list(map(str, words)))
    assert done.exit_code in (0, 1, 2) and "error" not in done.output, done.output
    return done.exit_code, done.output


def pages(run: Path) -> dict[str, bytes]:
    return {path.relative_to(run).as_posix(): path.read_bytes() for path in (run / "report").rglob("*") if path.is_file()}


def forbid(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every computing fail."""
    for module, name in ((extract, "chosen"), (site, "write"), (gate, "gate"), (reading, "_read")):
        monkeypatch.setattr(module, name, lambda *args, **named: pytest.fail("computed again"))


def kept_files(tmp_path: Path) -> list[Path]:
    return sorted((tmp_path / "home" / answers.FOLDER).glob("*.json"))


VERBS: dict[str, Callable[[Path], list[object]]] = {
    "show": lambda run: ["show", run],
    "show --all": lambda run: ["show", run, "--all", "--intervals"],
    "csv": lambda run: ["show", run, "--format", "csv", "--methods", "dhr,psp"],
    "report": lambda run: ["report", run],
    "gate": lambda run: ["gate", run, "--baseline", run, "--all"],
}


@pytest.mark.parametrize("verb", VERBS)
def test_an_answer_is_that_of_a_fresh_computation(run: Path, tmp_path: Path, monkeypatch, verb: str) -> None:
    words = VERBS[verb](run)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(answers, "LARGE", 10**12)
        fresh, made = told(*words), pages(run)
    assert not kept_files(tmp_path)
    shutil.rmtree(run / "report", ignore_errors=True)
    assert (told(*words), pages(run)) == (fresh, made) and len(kept_files(tmp_path)) == 1
    forbid(monkeypatch)
    assert (told(*words), pages(run)) == (fresh, made)


def test_other_options_files_and_code_have_answers_of_their_own(run: Path, tmp_path: Path, monkeypatch) -> None:
    first, other = told("show", run), told("show", run, "--methods", "dhr,psp")
    assert first != other and told("show", run) == first and told("show", run, "--methods", "dhr,psp") == other
    store = Store(run)
    part = store.parts("dhr.paper.procfaces-test")[0]
    part.rows[0]["quality0@native"] = 3.25
    store.write_part("dhr.paper.procfaces-test", part)
    changed = told("show", run, "--metrics", "quality0@native")
    monkeypatch.setenv(HOME, str(tmp_path / "empty"))
    assert told("show", run, "--metrics", "quality0@native") == changed
    monkeypatch.setenv(HOME, str(tmp_path / "home"))
    manifest = store.manifest
    manifest["metrics"]["quality0@native"]["better"] = "higher"
    before = told("show", run, "--all")
    store.write_json("manifest.json", manifest)
    assert told("show", run, "--all") != before
    (run / "rows" / "dhr.paper.procfaces-test" / "000000-a.parquet").unlink()
    assert told("show", run) != first
    forbid(monkeypatch)
    told("show", run)
    monkeypatch.setattr(answers, "_code", lambda: [("compare/stats.py", "another")])
    with pytest.raises(pytest.fail.Exception, match="computed again"):
        CliRunner().invoke(main, ["show", str(run)], catch_exceptions=False)


@pytest.mark.parametrize(
    "damage", [lambda data: b"", lambda data: data[:-9], lambda data: data.replace(b"dhr", b"sam"), lambda data: data + b" "]
)
def test_a_damaged_answer_is_made_again(run: Path, tmp_path: Path, damage: Callable[[bytes], bytes]) -> None:
    first = told("show", run)
    (path,) = kept_files(tmp_path)
    whole = path.read_bytes()
    path.write_bytes(damage(whole))
    assert path.read_bytes() != whole and told("show", run) == first and path.read_bytes() == whole


def test_a_page_or_a_picture_that_changed_is_made_or_looked_at_again(run: Path, monkeypatch) -> None:
    place = Store(run).input("procfaces-test", "0000")
    place.parent.mkdir(parents=True)
    place.write_bytes(b"no picture")
    told("report", run)
    whole = pages(run)
    for path in (run / "report" / "index.html", next((run / "report" / "data").iterdir())):
        path.write_bytes(b"harmed")
        told("report", run)
        assert pages(run) == whole
    (run / "report" / "edits.html").unlink()
    told("report", run)
    assert pages(run) == whole
    forbid(monkeypatch)
    told("report", run)
    place.write_bytes(b"another one")
    with pytest.raises(pytest.fail.Exception, match="computed again"):
        CliRunner().invoke(main, ["report", str(run)], catch_exceptions=False)


def test_nothing_is_kept_of_a_run_that_changes_meanwhile_nor_where_nothing_can_be_written(run: Path, tmp_path: Path) -> None:
    def work() -> answers.Answer:
        Store(run).write_json("plan.json", Store(run).plan | {"suite": f"s{len(seen)}"})
        seen.append(1)
        return answers.Answer({"text": "x"})

    seen: list[int] = []
    for _ in range(2):
        assert answers.kept("show", [run], (), work).texts == {"text": "x"}
    assert len(seen) == 2 and not kept_files(tmp_path)
    with pytest.MonkeyPatch.context() as patch:

        def full(path: Path, data: bytes) -> None:
            raise WriteFailed(f"{path}: could not be written: No space left on device")

        patch.setattr(answers, "write_atomic", full)
        assert told("show", run) == told("show", run)
    assert not kept_files(tmp_path)


def test_the_oldest_answers_go_first(run: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(answers, "MOST", 3)
    for number in range(5):
        answers.kept("show", [run], (number,), lambda: answers.Answer({"text": "x"}))
    assert len(kept_files(tmp_path)) == 3


def test_small_runs_are_computed(made: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv(HOME, str(tmp_path / "home"))
    told("show", made)
    assert not (tmp_path / "home").exists()
