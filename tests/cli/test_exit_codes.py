"""Every verb's help says what its exit codes mean, in the words of docs/exit_codes.md."""

from __future__ import annotations

import re
from collections.abc import Iterator

import click
import pytest
from click.testing import CliRunner

from invbench.cli import main
from invbench.util import errors
from tests.checkout import PROJECT

LISTED = {int(code) for code in re.findall(r"^\| (\d+) \|", (PROJECT / "docs/exit_codes.md").read_text(), re.MULTILINE)}


def _verbs(command: click.Command, place: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    if isinstance(command, click.Group):
        for name, verb in command.commands.items():
            yield from _verbs(verb, (*place, name))
    else:
        yield place


@pytest.mark.parametrize("verb", list(_verbs(main)), ids=" ".join)
def test_a_verbs_help_tells_its_exit_codes(verb: tuple[str, ...]) -> None:
    done = CliRunner().invoke(main, [*verb, "--help"])
    text = " ".join(done.output.split())
    said = {int(code) for part in text.split("xit code")[1:] for code in re.findall(r"(?:[:;] |and )(\d+)\b", part)}
    assert done.exit_code == 0 and {0, 2, 3, 70, 130} <= said <= LISTED


def test_the_list_has_the_codes_of_the_program() -> None:
    codes = {errors.SETUP_ERROR, errors.WRITE_ERROR, errors.UNFORESEEN, errors.INTERRUPTED, errors.CLOSED_PIPE}
    assert {0, 1} | codes == LISTED
