"""Declarations of sweeps: those of the package hold together, a user's are laid over them, mistakes are told by name."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from invbench.api import InvbenchError
from invbench.methods.train.catalogue import find_recipe
from invbench.plugins import sweeps
from invbench.plugins.config import load
from invbench.plugins.registry import discover
from invbench.reports import published
from invbench.run import sweeping

ASKED = sweeping.Asked(images=2)
OWN = """
[[sweep]]
name = "{name}"
title = "Mine"
images = 3
metrics = ["mse"]
{more}
point = [{{ name = "one", method = "e4e"{point} }}]
"""


def written(tmp_path: Path, *texts: str) -> Path:
    path = tmp_path / "bench.toml"
    path.write_text("".join(texts))
    return path


def own(name: str = "mine", *, more: str = "", point: str = "") -> str:
    return OWN.format(name=name, more=more, point=point)


@pytest.mark.parametrize("name", sweeps.load())
def test_every_point_of_the_package_can_be_planned(name: str, tmp_path: Path) -> None:
    one, registry = sweeps.load()[name], discover([])
    planned = sweeping.plan(one, load()[one.suite], registry, out=tmp_path, asked=ASKED)
    assert [found.point.name for found in planned] == [point.name for point in one.point]
    able = [found for found in planned if found.settings is not None]
    assert len(able) >= 2 and all(found.reason for found in planned if found.settings is None)
    for found in able:
        assert found.settings.out == tmp_path / found.point.name and found.settings.datasets[0].count == 2
        assert len(found.settings.methods) == 1 and len(found.settings.metrics) == len(one.metrics)
        given = dict(item.partition("=")[::2] for item in found.point.set)
        for option, text in given.items():
            value = found.settings.methods[0].options[option.partition(".")[2]]
            assert str(value) == text.strip("'") or float(value) == float(text)
    assert not tmp_path.joinpath("sweep.json").exists()  # nothing is written before all is known


@pytest.mark.parametrize("name", sweeps.load())
def test_printed_numbers_of_points_are_found_in_the_data(name: str) -> None:
    one = sweeps.load()[name]
    for point in one.point:
        if point.printed:
            asked = {**one.printed, **point.printed}
            assert any(all(number.fields[k] == v for k, v in asked.items()) for number in published.numbers()), point.name


def test_what_is_not_trained_is_told_with_the_command_that_trains_it(tmp_path: Path) -> None:
    one = sweeps.load()["hyperinverter-ablation"]
    suite = load()["procfaces"]
    planned = {found.point.name: found for found in sweeping.plan(one, suite, discover([]), out=tmp_path, asked=ASKED)}
    assert planned["D64"].settings is None and planned["D32"].settings is not None
    assert planned["D64"].reason == (
        "its network hyperinverter_d64 is not trained here; "
        "python -m invbench.methods.train hyperinverter --set hidden=64 --as hyperinverter_d64 does it"
    )
    for found in planned.values():  # the recipes take what the lines say
        if found.point.train:
            recipe, *words = found.point.train.split()
            changes = [word for before, word in zip(words, words[1:], strict=False) if before == "--set"]
            assert find_recipe(recipe).changed(changes) != find_recipe(recipe)
    weights = suite.networks["hypernet_hyperinverter"].weights
    (tmp_path / "hyperinverter_d64.safetensors").write_bytes(weights.read_bytes())
    again = sweeping.plan(one, suite, discover([]), out=tmp_path, asked=replace(ASKED, zoo=tmp_path))
    found = next(found for found in again if found.point.name == "D64")
    assert found.settings.suite.networks["hypernet_hyperinverter"].weights == tmp_path / "hyperinverter_d64.safetensors"
    assert suite.networks["hypernet_hyperinverter"].weights == weights


def test_networks_and_units_of_one_suite_are_not_taken_to_another(tmp_path: Path) -> None:
    for name in ("hyperinverter-ablation", "sam-thresholds"):
        with pytest.raises(InvbenchError, match=f"sweep {name}: expected suite procfaces, .* found faces"):
            sweeping.plan(sweeps.load()[name], load()["faces"], discover([]), out=tmp_path, asked=ASKED)
    planned = sweeping.plan(sweeps.load()["gani-blocks"], load()["faces"], discover([]), out=tmp_path, asked=ASKED)
    assert {one.settings.datasets[0].id for one in planned} == {"celebahq-test"}


def test_a_space_that_the_suite_has_not_is_told(tmp_path: Path) -> None:
    one = sweeps.load()["sam-spaces"]
    planned = sweeping.plan(one, load()["procfaces"], discover([]), out=tmp_path, asked=ASKED)
    assert {found.point.name: found.reason for found in planned}["f10"] == "a generator of 64 x 64 has no block of 128 x 128"


def test_a_users_sweeps_come_after_the_packages_or_replace_them(tmp_path: Path) -> None:
    found = sweeps.load(written(tmp_path, own(), own("gani-blocks")))
    assert [*found][:1] == ["gani-blocks"] and [*found][-1] == "mine"
    assert found["gani-blocks"].title == "Mine" and found["gani-norms"] == sweeps.load()["gani-norms"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('[sweep]\nname = "a"\n', r"bench.toml: sweep: expected tables \[\[sweep\]\]"),
        (own(more='axiss = "a"'), "sweep mine: .*unknown key 'axiss'; did you mean 'axis'"),
        (own(more='axis = "steps"'), "sweep mine: point one: x: expected a number, found None"),
        (own(more='axis = "steps"\nlog = true', point=", x = 0"), "x: expected a number above 0, found 0"),
        (own(point=', networks = { generator = "other" }'), "train: expected the arguments that train its networks"),
        (own(point=', set = "a"'), "sweep mine.point.0.set: .*found 'a'"),
        (own() + own(), "expected names that differ, found 'mine' twice"),
        (own("my sweep"), "sweep my sweep.name: "),
    ],
)
def test_mistakes_are_told_by_their_place(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(InvbenchError, match=message):
        sweeps.load(written(tmp_path, text))


@pytest.mark.parametrize(
    ("point", "message"),
    [
        (', set = ["e4e.steps=2"]', "sweep mine: point one: .*unknown option of e4e 'steps'"),
        (', set = ["pti.steps=2"]', "sweep mine: point one: .*pti is not among the methods of this run"),
    ],
)
def test_what_a_point_asks_for_is_checked_before_any_work(tmp_path: Path, point: str, message: str) -> None:
    one = sweeps.load(written(tmp_path, own(point=point)))["mine"]
    with pytest.raises(InvbenchError, match=message):
        sweeping.plan(one, load()["procfaces"], discover([]), out=tmp_path, asked=ASKED)


def test_our_methods_work_in_this_process(tmp_path: Path) -> None:
    planned = sweeping.plan(sweeps.load()["gani-blocks"], load()["procfaces"], discover([]), out=tmp_path, asked=ASKED)
    assert {one.settings.workers for one in planned} == {0}
