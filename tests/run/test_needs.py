"""What a metric needs beside pictures reaches it: true factors of edits, and regions that an edit may change."""

from __future__ import annotations

import numpy as np
import pytest

from invbench.plugins import selection
from invbench.plugins.config import EditConfig
from invbench.plugins.registry import discover
from invbench.run import runner
from invbench.store import Store
from tests.fixtures import TOYS

PLUGIN = '''
from dataclasses import replace

import numpy as np

from tests.toys import Toys

SPECS = [
    {"id": "knowing", "title": "Toys whose factors are known", "class": "Knowing", "domain": "toys", "size": 12},
    {"id": "true_step", "title": "True change of the first factor", "class": "TrueStep", "kind": "edit", "better": "none",
     "unit": "", "range": "", "needs": ["factors", "true_factors"]},
    {"id": "allowed", "title": "Letters in the names of the region's classes", "class": "Allowed", "kind": "edit",
     "better": "none", "unit": "", "range": "", "needs": ["region"]},
]


class Knowing(Toys):
    def __init__(self):
        super().__init__(count=12)

    def read(self, index):
        return replace(super().read(index), factors=np.array([index / 100, 0.5]))

    def true_factors(self, index, edit):
        return np.array([min(index / 100 + 0.1 * edit.strength, 0.15), 0.5]) if edit.name == "bright" else None


class TrueStep:
    def __init__(self, networks):
        pass

    def __call__(self, given):
        return given.true_factors[:, 0] - np.array([sample.factors[0] for sample in given.samples])


class Allowed(TrueStep):
    def __call__(self, given):
        return np.full(len(given.samples), float(len("".join(given.region))))
'''


@pytest.fixture
def settings(make_settings, tmp_path):
    """A run on a dataset that knows the factors of its edit "bright" and of no other."""
    plugin = tmp_path / "knowing.py"
    plugin.write_text(PLUGIN)
    suite = make_settings().suite
    bright = suite.edits["bright"]

    def make(**changes):
        edits = {"bright": bright.model_copy(update=changes), "dark": EditConfig(unit="", per_strength=1, strengths=(1,))}
        wider = suite.model_copy(update={"edits": edits, "datasets": ("toys", "knowing")})
        asked = {"methods": ["toy"], "metrics": ["true_step", "allowed"], "edits": ["bright", "dark"], "batch": 4}
        return selection.settings(
            wider, discover([TOYS, plugin]), datasets=["knowing", "toys"], device="cpu", seed=0, out=tmp_path / "run", **asked
        )

    return make


def run(settings) -> Store:
    assert runner.run(settings, progress=False) == 0
    return Store(settings.out)


def test_true_factors_and_regions_reach_the_metrics_that_need_them(settings):
    rows = run(settings(region=("hair", "skin"))).rows()
    rows = rows[rows.edit.notna()].set_index(["dataset", "edit", "strength", "index"]).sort_index()
    found = rows.loc[("knowing", "bright", 1.0), "true_step@native"]
    np.testing.assert_allclose(found, [min(0.1, 0.15 - i / 100) for i in range(12)], atol=1e-12)
    assert rows.loc[("toys",), "true_step@native"].isna().all()  # a dataset that does not know factors
    assert rows.xs("dark", level="edit")["true_step@native"].isna().all()
    assert (rows.xs("bright", level="edit")["allowed@native"] == len("hairskin")).all()
    assert rows.xs("dark", level="edit")["allowed@native"].isna().all()  # an edit without a region


def test_another_region_is_scored_again_without_the_method(settings, monkeypatch):
    run(settings(region=("hair",)))
    monkeypatch.setattr("invbench.run.shard.run", lambda *_: pytest.fail("the method ran again"))
    rows = run(settings(region=("hair", "skin"))).rows()
    assert (rows[rows.edit == "bright"]["allowed@native"] == len("hairskin")).all()
    assert (rows[(rows.edit == "bright") & (rows.dataset == "knowing")]["true_step@native"]).notna().all()
