"""Every number that a user may write: options of every verb and of training, every numeric key of the suites.

Refused are NaN, infinity, booleans, fractions of what is counted, texts, and counts that no machine has room for.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest

from invbench.api import InvbenchError
from invbench.cli import main
from invbench.methods.train.__main__ import main as train
from invbench.options import admitted
from invbench.plugins import config, files
from invbench.plugins.registry import discover
from invbench.plugins.selection import settings
from invbench.util.names import listed
from invbench.util.numbers import Within, count
from invbench.weights.networks import load_network

NUMBERS = (click.IntRange, click.FloatRange, click.types.IntParamType, click.types.FloatParamType)
NEVER = ["nan", "inf", "-inf", "true", "", "3,5", "--", "0x10"]
HUGE = 10**30


def _options(command: click.Command, place: str) -> Iterator[tuple[str, click.Parameter]]:
    for param in command.params:
        if isinstance(param.type, NUMBERS):
            yield f"{place} --{param.name}", param
    for name, verb in getattr(command, "commands", {}).items():
        yield from _options(verb, f"{place} {name}")


OPTIONS = dict([*_options(main, "invbench"), *_options(train, "train")])


@pytest.mark.parametrize("place", OPTIONS)
def test_f78_an_option_takes_numbers_only(place):
    param = OPTIONS[place]
    whole = not isinstance(param.type, click.FloatRange)
    low = getattr(param.type, "min", None)
    wrong = NEVER + ["1.5", "1e3"] * whole + ([] if low is None else [str(low - 1)])
    for text in wrong:
        with pytest.raises(click.BadParameter):
            param.type.convert(text, param, None)
    assert whole or isinstance(param.type, Within)  # click's own range of floats takes NaN


def test_f78_the_options_are_the_ones_that_we_know():
    """A new numeric option comes into the test above; one that is a text with a check of its own stands here."""
    assert len(OPTIONS) >= 13
    for text in (*NEVER, "0", "-1", "1.5", str(HUGE), "9" * 5000, "²", "٣"):
        assert count(text) is None
    assert count("7") == 7


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ({"seed": -1}, r"seed \(.*found -1"),
        ({"seed": 2**32}, r"seed \(.*found 4294967296"),
        ({"workers": 10**6}, "workers: .*found 1000000"),
        ({"datasets": ["procfaces-test:0"]}, "COUNT from 1 to"),
        ({"datasets": [f"procfaces-test:{'9' * 5000}"]}, "COUNT from 1 to"),
        ({"datasets": ["procfaces-test:nan"]}, "COUNT from 1 to"),
        ({"edits": ["age:nan"]}, "expected NAME or NAME:STRENGTH"),
        ({"edits": ["age:1e999"]}, "expected NAME or NAME:STRENGTH"),
        ({"overrides": [f"pti.steps={HUGE}"]}, "pti.steps: expected int"),
        ({"overrides": ["pti.lr=nan"]}, "pti.lr: expected float"),
        ({"overrides": ["pti.steps=True"]}, "pti.steps: expected int"),
    ],
)
def test_f78_numbers_of_a_run_are_checked_before_it(asked, told):
    with pytest.raises(InvbenchError, match=told):
        settings(config.load()["procfaces"], REGISTRY, **({"device": "cpu", "seed": 0, "methods": ["pti"]} | asked))


def _numbers(table: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Paths of the numbers in a table; of a list, that of its first."""
    if isinstance(table, dict):
        for key, value in table.items():
            yield from _numbers(value, (*path, key))
    elif isinstance(table, list) and table:
        yield from _numbers(table[0], (*path, 0))
    elif isinstance(table, int | float) and not isinstance(table, bool):
        yield path


SUITES = files.packaged()["suites"]
# One suite a key: the edits of all have the same.
ALIKE = {path[::2] if path[0] == "edits" else path: (suite, *path) for suite in SUITES for path in _numbers(SUITES[suite])}
REGISTRY = discover()


@pytest.mark.parametrize("path", ALIKE.values(), ids=lambda path: ".".join(map(str, path)))
def test_f78_a_key_of_a_suite_takes_numbers_only(path, monkeypatch):
    suite, *inner = path
    known: Any = SUITES[suite]
    for key in inner:
        known = known[key]
    wrong = [math.nan, math.inf, -math.inf]
    if "networks" not in path:  # what a network takes, its class says as it is built
        wrong += [True, "3"] + ([1.5, HUGE] if isinstance(known, int) and "edits" not in path else [])
    for value in wrong:
        changed = copy.deepcopy(SUITES[suite])
        table: Any = changed
        for key in inner[:-1]:
            table = table[key]
        table[inner[-1]] = value
        extra = {"suites": {suite: {inner[0]: changed[inner[0]]}}}
        monkeypatch.setattr(files, "read", lambda path, extra=extra: extra)
        with pytest.raises(InvbenchError) as told:
            settings(config.load(Path("mine.toml"))[suite], REGISTRY, device="cpu", seed=0)
        assert str(inner[-1] if isinstance(inner[-1], str) else inner[-2]) in str(told.value)


@pytest.mark.parametrize("key", ["suite", "device", "batch", "workers", "seed"])
def test_f78_defaults_of_a_file_are_checked(tmp_path, key):
    for number, text in enumerate(("nan", "inf", "-1", "true", "1.5", str(HUGE), "[1]", "{}")):
        file = tmp_path / f"{number}.toml"
        file.write_text(f"[defaults]\n{key} = {text}\n", encoding="utf-8")
        with pytest.raises(InvbenchError, match=f"defaults.{key}"):
            config.defaults(file)


@pytest.mark.parametrize("method", sorted(discover().methods))
def test_f78_no_option_of_a_method_takes_what_is_no_number(method):
    for name, option in discover().methods[method].options.items():
        for value in (math.nan, -math.inf, HUGE * 1j, 10**400, *([True] if not isinstance(option.default, bool) else [])):
            with pytest.raises(InvbenchError, match=f"^{name}: expected"):
                admitted(option, value, place=name)


@pytest.mark.parametrize("change", [{"width": 0}, {"width": -1}, {"width": 1.5}, {"width": "8"}, {"none": 1}])
def test_f78_a_network_that_cannot_be_built_so_says_which_file(change):
    parser = config.load()["procfaces"].networks["parser"]
    with pytest.raises(InvbenchError, match=r"parser.safetensors: (the configuration|tensors) do"):
        load_network(parser.model_copy(update={"config": change}))


def test_commas_in_names_of_folders_do_not_separate(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("a,b", "a", "c:3", "d,e:4", " f"):
        (tmp_path / name).mkdir()
    assert listed("./a,b") == ("./a,b",)
    assert listed("./a,b,quick, full") == ("./a,b", "quick", "full")
    assert listed("./a,./c:3,./a,b:12,x") == ("./a", "./c:3", "./a,b:12", "x")
    assert listed("./d,e:4:2") == ("./d,e:4:2",) and listed("./ f, ./a") == ("./ f", "./a")
    assert listed("a,b") == ("a", "b")  # without a slash it is no folder
    assert listed(" , ,x,,") == ("x",)
