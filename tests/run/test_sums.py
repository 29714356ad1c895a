"""Sums of edits: from the command line through methods and metrics to tables and pages."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from invbench.api import Edit, InvbenchError
from invbench.datasets.procfaces import EDITS, FACTORS, INDEX, render_edited
from invbench.datasets.procfaces_suite import Procfaces
from invbench.methods.common.moves import scaled_move
from invbench.methods.directions.linear import Directions
from invbench.methods.directions.positions import EditDirections
from invbench.plugins import edit_names, selection
from invbench.plugins.config import load
from invbench.plugins.registry import discover
from invbench.reports import query, site
from invbench.run import runner
from invbench.run.sums import Sums
from invbench.store import Store
from tests.fixtures import TOYS, toy_settings

BOTH = "smile+eye_openness"


@pytest.fixture(scope="module")
def registry():
    return discover([TOYS])


def chosen(*edits: str) -> tuple[Edit, ...]:
    suite = load(None)["procfaces"]
    return selection.settings(suite, discover([]), methods=["e4e"], edits=edits, device="cpu", seed=0).edits


def test_a_sum_has_one_strength_for_all_its_parts():
    assert chosen(f"{BOTH}:2") == (Edit(BOTH, 2.0),)
    assert Edit(BOTH, 2.0).parts == (Edit("smile", 2.0), Edit("eye_openness", 2.0))
    assert chosen("age + yaw:-1") == (Edit("age+yaw", -1.0),)
    assert [edit.strength for edit in chosen(BOTH)] == [edit.strength for edit in chosen("smile")]
    assert Edit("age", 1.0).parts == (Edit("age", 1.0),)


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        ("smile+eyes", "unknown edit 'eyes'"),
        ("smile+", "unknown edit ''"),
        ("smile+smile:1", "expected each edit of a sum once, found smile twice"),
        ("smile:2+age:1", "a sum has one strength for all its parts, after its last"),
    ],
)
def test_what_is_no_sum_is_told(edit, message):
    with pytest.raises(InvbenchError, match=message):
        chosen(edit)


def test_parts_without_a_common_strength_need_one():
    config = SimpleNamespace(edits={"a": SimpleNamespace(strengths=(1, 2)), "b": SimpleNamespace(strengths=(2, 3))})
    assert edit_names.named_edit(config, "a+b") == ("a+b", [2])
    config.edits["b"].strengths = (3,)
    with pytest.raises(InvbenchError, match=r"no strength in common: expected one, for example a\+b:3"):
        edit_names.parsed(config, ["a+b"])


def test_latents_move_by_one_part_after_the_other():
    draws = torch.Generator().manual_seed(0)
    latents = torch.randn(3, 4, 5, generator=draws)
    linear = Directions(["a", "b"], 4, 5)
    linear.vectors.copy_(torch.randn(2, 4, 5, generator=draws))
    moved = Sums(linear).move(latents, Edit("a+b", 2.0))
    torch.testing.assert_close(moved, latents + 2 * linear.vectors.sum(0))
    torch.testing.assert_close(Sums(linear).move(latents, Edit("b+a", 0.0)), latents, rtol=0, atol=0)
    assert torch.equal(Sums(linear).move(latents, Edit("a", 2.0)), linear.move(latents, Edit("a", 2.0)))
    assert Sums(linear).names == ("a", "b") and torch.equal(Sums(linear)["b"], linear["b"])
    half = scaled_move(Sums(linear), latents, Edit("a+b", 2.0), 0.5)
    torch.testing.assert_close(half, latents + linear.vectors.sum(0))
    there = EditDirections(names=["a", "b"], num_ws=4, dim=5)  # b goes to a position, so it is never scaled
    there.vectors.copy_(linear.vectors)
    there.readings[1] = torch.randn(5, generator=draws)
    first = latents + linear.vectors[0]
    present = first[:, 0] @ there.readings[1]
    expected = first + (2 - present)[:, None, None] * linear.vectors[1]
    torch.testing.assert_close(scaled_move(Sums(there), latents, Edit("a+b", 2.0), 0.5), expected)


def test_the_truth_of_a_sum_has_all_its_factors_moved():
    data, edit = Procfaces("test"), Edit("age+smile", 2.0)
    before, after = data.read(3).factors, data.true_factors(3, edit)
    for name, (factor, step, _) in EDITS.items():
        index = INDEX[factor]
        span = FACTORS[index].high - FACTORS[index].low
        wanted = np.clip(before[index] + 2 * step / span, 0, 1) if name in ("age", "smile") else before[index]
        assert after[index] == pytest.approx(wanted, abs=1 / 4096)
    once = data.true_factors(3, Edit("age", 2.0))[None]
    picture = render_edited(once, "smile", 2.0, extras=None).images[0]
    np.testing.assert_array_equal(data.truth(3, edit), picture)
    assert data.truth(3, Edit("age+hat", 2.0)) is None and data.true_factors(3, Edit("hat+age", 2.0)) is None


def test_rows_and_pages_have_sums(registry, tmp_path):
    suite = toy_settings(registry, out=tmp_path).suite
    suite = suite.model_copy(update={"edits": suite.edits | {"warm": suite.edits["bright"]}})
    asked = {"methods": ["toy"], "metrics": ["toy_mse", "toy_truth"], "images": 3, "out": tmp_path / "run"}
    for edit in ("bright:1", "bright+warm:1"):
        settings = selection.settings(suite, registry, **asked, edits=[edit], batch=4, device="cpu", seed=0)
        assert runner.run(settings, progress=False) == 0
    store = Store(tmp_path / "run")
    rows = store.rows()
    assert set(rows["edit"].dropna()) == {"bright", "bright+warm"} and (rows["status"] == "ok").all()
    assert store.picture("toy.paper.toys", "toy-00", Edit("bright+warm", 1.0)).name == "toy-00@bright+warm+1.png"
    assert store.picture("toy.paper.toys", "toy-00", Edit("bright+warm", 1.0)).is_file()
    assert set(query.edits(store)["edit"]) == {"bright", "bright+warm"}
    assert "bright+warm" in (site.write([store], tmp_path / "site").parent / "edits.html").read_text()
