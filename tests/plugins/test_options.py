"""Options of methods: what a declaration may say, which values are admitted from where, and the record that a method gets."""

from __future__ import annotations

import copy
import math
import pickle
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as some

from invbench.api import InvbenchError
from invbench.cli import main
from invbench.options import Options, admitted, at_least, bounds, declare, interval, limits, make
from invbench.plugins import registry
from invbench.plugins.config import load
from invbench.plugins.selection import resolve
from invbench.specs import Option
from invbench.util.provenance import digest
from tests.plugins.test_registry import METHOD, write

SPEC: dict[str, Any] = {
    "id": "mine",
    "options": {
        "steps": {"default": 10, "unit": "steps", "help": "h"},
        "rate": {"default": 0.5, "unit": "", "help": "h", "range": "(0, 1]"},
        "form": {"default": "a", "unit": "", "help": "h", "choices": ["a", "b"]},
        "parts": {"default": ["x"], "unit": "", "help": "h", "choices": ["x", "y", "z"]},
        "flag": {"default": False, "unit": "", "help": "h"},
        "cap": {"default": None, "unit": "", "help": "h", "range": [0, 5]},
    },
}
KNOWN = declare(SPEC["options"], where="mine")


@pytest.mark.parametrize(
    ("name", "value", "found"),
    [
        ("steps", 0, 0), ("rate", 1, 1.0), ("form", "b", "b"), ("parts", ("z", "x"), ["z", "x"]), ("parts", [], []),
        ("flag", True, True), ("cap", None, None), ("cap", 5, 5), ("cap", 0.5, 0.5), ("cap", -0.0, 0.0),
    ],
)  # fmt: skip
def test_admitted_values_have_the_form_of_the_default(name: str, value: Any, found: Any) -> None:
    given = admitted(KNOWN[name], value, place="p")
    assert given == found and type(given) is type(found)
    assert not isinstance(given, float) or math.copysign(1, given) == 1


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("steps", -5, "int like 10 in [0, inf)"),
        ("steps", 5.0, "int like 10 in [0, inf)"),
        ("steps", True, "int like 10 in [0, inf)"),
        ("steps", None, "int like 10 in [0, inf)"),
        ("rate", 0, "float like 0.5 in (0, 1]"),
        ("rate", math.nan, "float like 0.5 in (0, 1]"),
        ("rate", math.inf, "float like 0.5 in (0, 1]"),
        ("rate", 10**400, "float like 0.5 in (0, 1]"),
        ("form", "c", "str like 'a', one of 'a', 'b'"),
        ("form", 1, "str like 'a', one of 'a', 'b'"),
        ("parts", ["w"], "list like ['x'], some of 'x', 'y', 'z', each once"),
        ("parts", ["x", "x"], "list like ['x'], some of 'x', 'y', 'z', each once"),
        ("parts", "x", "list like ['x'], some of 'x', 'y', 'z', each once"),
        ("parts", [["x"]], "list like ['x'], some of 'x', 'y', 'z', each once"),
        ("flag", 1, "bool like False"),
        ("cap", 6, "like None in [0, 5]"),
        ("cap", "much", "like None in [0, 5]"),
        ("cap", True, "like None in [0, 5]"),
    ],
)
def test_a_value_that_does_not_fit_is_refused_with_what_does(name: str, value: Any, expected: str) -> None:
    with pytest.raises(InvbenchError) as caught:
        admitted(KNOWN[name], value, place="--set mine")
    assert str(caught.value) == f"--set mine: expected {expected}, found {value!r}"


def test_numbers_without_a_range_are_finite_and_a_range_may_admit_infinity() -> None:
    for value in (math.nan, math.inf, -math.inf, [math.nan], {1, 2}, b"x", {"a": math.inf}):
        with pytest.raises(InvbenchError, match="found"):
            admitted(Option(None, "", ""), value, place="p")
    assert admitted(Option(1.0, "", "", "[0, inf]"), math.inf, place="p") == math.inf
    with pytest.raises(InvbenchError, match=r"in \[0, inf\]"):
        admitted(Option(1.0, "", "", "[0, inf]"), math.nan, place="p")


@given(some.integers(-9, 9), some.integers(-9, 9), some.sampled_from("[("), some.sampled_from("])"), some.floats(-10, 10))
def test_an_interval_holds_what_its_text_says(low: int, high: int, first: str, last: str, value: float) -> None:
    text = f"{first}{low}, {high}{last}"
    if low > high or (low == high and (first, last) != ("[", "]")):
        with pytest.raises(ValueError, match="a number in it"):
            interval(text)
        return
    above = value > low if first == "(" else value >= low
    assert (value in interval(text)) == (above and (value < high if last == ")" else value <= high))
    assert str(interval(text)) == text


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"default": -1}, r"options.steps.default: expected int like -1 in \[0, inf\), found -1"),
        ({"default": 0.5}, "options.steps.default: expected a whole number of steps, found 0.5"),
        ({"range": "from 0"}, r"options.steps.range: expected a range like \"\[0, inf\)\" or \"\(0, 1\]\", found 'from 0'"),
        ({"range": [1]}, "options.steps.range: expected a range like"),
        ({"range": "[2, 1]"}, "options.steps.range: expected a range with a number in it"),
        ({"range": "[nan, 1]"}, "options.steps.range: expected a range with a number in it"),
        ({"range": "[0, 5]"}, r"options.steps.default: expected int like 10 in \[0, 5\], found 10"),
        ({"choices": [1, 2]}, "options.steps.default: expected int like 10, one of 1, 2, found 10"),
        ({"choices": []}, "options.steps.choices: expected a list of values of the default's type, found"),
        ({"choices": ["10", 10]}, "options.steps.choices: expected a list of values of the default's type, found"),
        ({"range": "[0, 50]", "choices": [10]}, "options.steps: expected range or choices, found both"),
        ({"rnage": "[0, 50]"}, "options.steps: expected the keys"),
        ({"help": 3}, "options.steps.help: expected text, found 3"),
        ({"range": "[0, 15]"}, r"presets.paper.steps: expected int like 10 in \[0, 15\], found 20"),
    ],
)
def test_a_declaration_is_checked_when_it_is_read(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    option = METHOD["options"]["steps"] | change  # type: ignore[index]
    plugin = write(tmp_path, f"SPEC = {METHOD | {'options': {'steps': option}}!r}\n")
    with pytest.raises(InvbenchError, match=message) as caught:
        registry.discover([plugin])
    assert str(plugin) in str(caught.value)


@pytest.mark.parametrize("name", ["values", "_steps", "a-b", "for"])
def test_a_name_that_a_method_could_not_read_is_refused(name: str) -> None:
    with pytest.raises(InvbenchError, match="expected a name that can be written options.NAME"):
        declare({name: {"default": 1, "unit": "", "help": ""}}, where="mine")


def test_the_record_is_frozen_and_names_the_nearest_option() -> None:
    options = make(SPEC, {"rate": 1})
    assert options.rate == options["rate"] == 1.0 and options.parts == ("x",) and len(options) == len(SPEC["options"])
    with pytest.raises(AttributeError, match="unknown option of mine 'step'; did you mean 'steps'"):
        _ = options.step
    with pytest.raises(AttributeError, match="frozen"):
        options.steps = 3
    with pytest.raises(AttributeError, match="frozen"):
        del options.steps
    with pytest.raises(InvbenchError, match="mine.step: unknown option of mine 'step'; did you mean 'steps'"):
        make(SPEC, {"step": 3})
    with pytest.raises(InvbenchError, match=r"mine.steps: expected int like 10 in \[0, inf\), found -1"):
        make(SPEC, {"steps": -1})
    for other in (pickle.loads(pickle.dumps(options)), copy.deepcopy(options)):
        assert type(other) is Options and other == options and other.rate == 1.0


def test_counts_for_short_probes_are_admitted() -> None:
    cases = {"": 3, "[7, inf)": 7, "(7, inf)": 8, "[0, 2]": 2, "[0, 2)": 1, "[0, inf)": 3}
    for text, expected in cases.items():
        assert at_least(Option(1, "steps", "", text), 3) == expected
    assert [at_least(Option(1, "steps", "", "", (1, 10)), count) for count in (1, 3, 20)] == [1, 10, 10]


def test_every_number_and_every_form_of_ours_has_a_range_or_choices() -> None:
    for spec in registry.methods().values():
        for name, option in spec.options.items():
            if type(option.default) in (int, float):
                assert bounds(option) is not None or option.choices, f"{spec.id}.{name}"
            assert not isinstance(option.default, str) or option.choices, f"{spec.id}.{name}"
            assert limits(option) or isinstance(option.default, bool | list), f"{spec.id}.{name}"


def test_equal_values_make_the_same_recipe() -> None:
    suite, spec = load()["procfaces"], registry.methods()["pti"]
    for one, other in (({"lr": 1}, {"lr": 1.0}), ({"lambda_mse": -0.0}, {"lambda_mse": 0})):
        assert digest(resolve(suite, spec, "paper", one)) == digest(resolve(suite, spec, "paper", other))
    pair, listed = (resolve(suite, registry.methods()["sam"], "paper", {"spaces": form}) for form in (("F4",), ["F4"]))
    assert digest(pair) == digest(listed)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--set", "pti.steps=-5"], "--set pti.steps: expected int like 350 in [0, inf), found -5"),
        (["--set", "pti.lr=1e999"], "--set pti.lr: expected float like 0.0003 in (0, inf), found inf"),
        (["--set", "dhr.error_at=z"], "--set dhr.error_at: expected str like 'map', one of 'map', 'picture', found 'z'"),
        (["--set", "dhr.error_at={[]: 1}"], "dhr.error_at: expected str like 'map', one of 'map', 'picture', found '{[]: 1}'"),
        (["--seed", "-1"], "--seed (or defaults.seed): expected int like 0 in [0, 4294967296), found -1"),
    ],
)
def test_a_run_refuses_before_it_begins(tmp_path: Path, arguments: list[str], message: str) -> None:
    base = ["run", "--methods", "pti,dhr", "--images", "1", "--edits", "none", "--out", str(tmp_path / "out")]
    result = CliRunner().invoke(main, [*base, *arguments])
    assert result.exit_code == 2 and message in result.output and not (tmp_path / "out").exists()


@pytest.mark.parametrize("section", ["pti", '"pti:paper"'])
def test_a_value_of_a_file_is_refused_with_key_and_file(tmp_path: Path, section: str) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(f"[suites.procfaces.methods.{section}]\nsteps = -5\nlpips_stop = 0.1\n")
    arguments = ["plan", "--no-probe", "--methods", "e4e", "--config", str(path)]
    result = CliRunner().invoke(main, arguments)
    message = f"suites.procfaces.methods.{section}.steps in {path}: expected int like 350 in [0, inf), found -5"
    assert result.exit_code == 2 and message in result.output


def test_a_place_is_in_the_file_that_gives_the_value(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text("[suites.procfaces.methods.pti]\nsteps = 5\n")
    suite = load(path)["procfaces"]
    assert suite.place("pti", "steps").endswith(f".pti.steps in {path}")
    assert suite.place("pti", "lr").endswith("procfaces.toml")
