"""What the documents say is there, is there: links, files, modules, commands, words; and the README's method runs."""

from __future__ import annotations

import importlib
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from invbench.cli import main
from invbench.store import Store
from tests.checkout import PROJECT

PAGES = [PROJECT / "README.md", PROJECT / "CONTRIBUTING.md", *sorted((PROJECT / "docs").glob("*.md"))]
ROOMS = ("bench", "datasets", "metrics", "methods", "reports", "tests", "docs", "baselines", ".ci")
GLOSSARY = PROJECT / "docs" / "glossary.md"


def ids(path: Path) -> str:
    return path.name


def spans(text: str) -> list[str]:
    """Code spans, without fenced and indented blocks."""
    prose = re.sub(r"^```.*?^```", "", text, flags=re.S | re.M)
    prose = "\n".join(line for line in prose.splitlines() if not line.startswith("    "))
    return re.findall(r"`([^`]+)`", prose)


def commands(text: str) -> Iterator[list[str]]:
    """The words of every ``invbench ...`` and ``nox -s ...`` in code spans and blocks, without comments."""
    blocks = re.findall(r"^```\w*\n(.*?)^```", text, flags=re.S | re.M)
    lines = [line for block in blocks for line in block.splitlines()]
    lines += [line for line in text.splitlines() if line.startswith("    ")] + spans(text)
    for line in lines:
        line = re.split(r"\s+#|\s{3,}(?=\S)", line.strip())[0].replace("...", "")
        for part in re.split(r"\s*&&\s*", line):
            if re.match(r"(invbench|nox) [a-z-]", part):
                yield shlex.split(re.sub(r"[\[\]]", "", part))


@pytest.mark.parametrize("page", PAGES, ids=ids)
def test_every_relative_link_leads_to_a_file(page: Path) -> None:
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.S | re.M)
    links = [link for link in re.findall(r"\]\(([^)\s]+)\)", text) if not re.match(r"[a-z]+:|#", link)]
    missing = [link for link in links if not (page.parent / link.partition("#")[0]).exists()]
    assert missing == []


@pytest.mark.parametrize("page", PAGES, ids=ids)
def test_every_path_and_module_that_is_named_exists(page: Path) -> None:
    missing = []
    for span in spans(page.read_text(encoding="utf-8")):
        path, _, test = span.partition(" ")[0].partition("::")
        if path.split("/")[0] in ROOMS and "/" in path and not re.search(r"[A-Z]{2}|[{<]", path):
            found = sorted(PROJECT.glob(path.rstrip("/")))
            if not found or (test and f"def {test}(" not in found[0].read_text(encoding="utf-8")):
                missing.append(span)
        elif re.fullmatch(r"invbench(\.\w+)+(:\w+)?", span) and not resolves(span):
            missing.append(span)
    assert missing == []


def resolves(name: str) -> bool:
    """Whether a dotted name is a module, or an attribute of one."""
    words = re.split(r"[.:]", name)
    for end in range(len(words), 0, -1):
        try:
            found = importlib.import_module(".".join(words[:end]))
        except ModuleNotFoundError:
            continue
        for word in words[end:]:
            found = getattr(found, word, None)
        return found is not None
    return False


@pytest.mark.parametrize("page", PAGES, ids=ids)
def test_every_command_has_the_verbs_and_options_that_are_shown(page: Path) -> None:
    sessions = re.findall(r"^def (\w+)\(session", (PROJECT / "noxfile.py").read_text(encoding="utf-8"), flags=re.M)
    wrong = []
    for words in commands(page.read_text(encoding="utf-8")):
        if words[0] == "nox":
            if words[1] != "-s" or words[2] not in sessions:
                wrong.append(words)
            if words[2:3] != ["bench"]:
                continue
            words = ["invbench", "run", *words[4:]]
        command: click.Command = main
        rest = words[1:]
        while isinstance(command, click.Group) and rest and rest[0] in command.commands:
            command, rest = command.commands[rest[0]], rest[1:]
        verb = rest and isinstance(command, click.Group) and not rest[0].startswith("-") and rest[0].isalpha()
        known = {name for option in command.params for name in [*option.opts, *option.secondary_opts]} | {"--help"}
        if verb or {word.partition("=")[0] for word in rest if word.startswith("--")} - known:
            wrong.append(words)
    assert wrong == []


def words_of_the_glossary() -> list[tuple[str, str, str]]:
    lines = GLOSSARY.read_text(encoding="utf-8").splitlines()
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("| ")]
    return [(row[0], row[1], row[2]) for row in rows if row[0] != "word"]


def written() -> dict[Path, str]:
    """The documents, and the source of the reports, whose words are what people see."""
    reports = [path for path in (PROJECT / "reports").rglob("*") if path.suffix in {".py", ".j2", ".js"}]
    return {path: path.read_text(encoding="utf-8") for path in [*PAGES, *reports] if path != GLOSSARY}


def test_the_glossary_has_a_line_a_word_and_every_word_is_used() -> None:
    found = words_of_the_glossary()
    names, gap = [word for word, _, _ in found], "[ _-]?"
    assert len(found) > 50 and len(set(names)) == len(names) and all(meaning for _, meaning, _ in found)
    sources = [path.read_text(encoding="utf-8") for room in ROOMS[:5] for path in (PROJECT / room).rglob("*.py")]
    everything = " ".join([*written().values(), *sources]).lower()
    assert [word for word in names if not re.search(rf"\b{word.lower().replace(' ', gap)}", everything)] == []


def test_what_the_glossary_does_not_say_is_not_said() -> None:
    instead = {one.strip(): word for word, _, row in words_of_the_glossary() for one in row.split(",") if one.strip()}
    assert {"data set", "judge", "there and back", "shelf"} <= set(instead)
    gap = r"\s+"
    said = [
        f"{path.relative_to(PROJECT)}: {one!r}, say {word!r}"
        for path, text in written().items()
        for one, word in instead.items()
        if re.search(rf"\b{one.replace(' ', gap)}s?\b", text, flags=re.I)
    ]
    assert said == []


def readme_method() -> str:
    (block,) = re.findall(r"^```python\n(.*?)^```", (PROJECT / "README.md").read_text(encoding="utf-8"), flags=re.S | re.M)
    return block


def test_the_method_of_the_readme_has_fifteen_lines_and_runs(tmp_path: Path) -> None:
    text = readme_method()
    assert len([line for line in text.splitlines() if line.strip()]) <= 15
    plugin = tmp_path / "average.py"
    plugin.write_text(text, encoding="utf-8")
    words = ["run", "--plugin", str(plugin), "--methods", "average,e4e,psp", "--datasets", "procfaces-test:2", "--quiet"]
    words += ["--metrics", "mse", "--edits", "age:2", "--workers", "0", "--out", str(tmp_path / "run")]
    done = CliRunner().invoke(main, words)
    assert done.exit_code == 0, done.output
    rows = Store(tmp_path / "run").rows()
    assert set(rows["status"]) == {"ok"} and len(rows) == 3 * 2 * 2
    errors = rows[rows["edit"].isna()].groupby("method")["mse@native"].mean()
    assert errors["average"] < errors["e4e"]  # it is on the way from e4e's codes to the better ones of pSp
