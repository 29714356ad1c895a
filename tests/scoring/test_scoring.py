"""Protocols and shared intermediates: what metrics see, how often it is computed, and what is not covered."""

from __future__ import annotations

import hashlib
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch

from invbench.api import Edit, InvbenchError, MetricInput, Sample
from invbench.plugins.config import Suite
from invbench.plugins.registry import discover, find_metric
from invbench.scoring.evaluator import Evaluator
from invbench.scoring.scorer import Scorer
from invbench.weights.networks import Networks

UNKNOWN = {"truth": None, "true_factors": None}  # what these datasets do not know

PLUGIN = '''
import numpy as np
import torch

PROTOCOLS = [
    {"id": "half", "class": "Half", "title": "Every second pixel", "recipe": "[::2, ::2]", "source": "none"},
    {"id": "bright", "class": "Bright", "title": "No dark pictures", "recipe": "NaN where dark", "source": "none"},
    {"id": "broken", "class": "Broken", "title": "Raises", "recipe": "none", "source": "none"},
]
SPECS = [
    {"id": "size", "class": "Size", "title": "Size", "kind": "inversion", "better": "none", "unit": "pixels", "range": "",
     "protocols": ["native", "half", "bright", "broken"]},
    {"id": "left", "class": "Left", "title": "Mean of the embedding", "kind": "edit", "better": "none", "unit": "",
     "range": "", "protocols": ["native", "half"]},
    {"id": "right", "class": "Left", "title": "The same", "kind": "edit", "better": "none", "unit": "", "range": ""},
    {"id": "true", "class": "True_", "title": "Mean of the true picture", "kind": "edit", "better": "none", "unit": "",
     "range": "", "protocols": ["native", "half"], "needs": ["truth"]},
    {"id": "writes", "class": "Writes", "title": "Writes", "kind": "edit", "better": "none", "unit": "", "range": "",
     "needs": ["truth"]},
    {"id": "first", "class": "First", "title": "Inverted", "kind": "inversion", "better": "none", "unit": "", "range": ""},
    {"id": "only", "class": "Size", "title": "Only half", "kind": "inversion", "better": "none", "unit": "", "range": "",
     "protocols": ["half"]},
    {"id": "two", "class": "Size", "title": "Two", "kind": "inversion", "better": "none", "unit": "", "range": "",
     "protocols": ["half", "bright"]},
    {"id": "counts", "class": "Counts", "title": "Counts", "kind": "inversion", "better": "none", "unit": "", "range": "",
     "protocols": ["bright"]},
    {"id": "counts_edit", "class": "Counts", "title": "Counts", "kind": "edit", "better": "none", "unit": "", "range": "",
     "protocols": ["bright"]},
    {"id": "means", "class": "Means", "title": "Set", "kind": "set", "better": "none", "unit": "", "range": "",
     "protocols": ["half", "bright"]},
]
CALLS = []


def image(pictures):
    return torch.from_numpy(np.ascontiguousarray(pictures)).permute(0, 3, 1, 2).float() / 127.5 - 1


class Half:
    def __init__(self, networks):
        pass

    def __call__(self, pictures, *, original=False):
        CALLS.append(("half", original))
        return image(pictures[:, ::2, ::2])


class Bright(Half):
    def __call__(self, pictures, *, original=False):
        images = image(pictures)
        images[pictures.mean((1, 2, 3)) < 60] = torch.nan
        return images


class Broken(Half):
    def __call__(self, pictures, *, original=False):
        raise RuntimeError("no detector")


class Size:
    def __init__(self, networks):
        pass

    def __call__(self, given):
        return np.full(len(given.samples), float(given.output.shape[-1]))


def embed(images):
    CALLS.append(("embed", images.shape[-1]))
    return images.mean((1, 2, 3))


class Left(Size):
    def __call__(self, given):
        parts = [given.once("embed", which, embed) for which in ("output", "inverted", "target")]
        return sum(part.double().numpy() * factor for part, factor in zip(parts, (100, 10, 1)))


class True_(Size):
    def __call__(self, given):
        return given.once("true", "truth", lambda truth: embed(truth) + given.target.mean((1, 2, 3))).double().numpy()


class Writes(Size):
    def __call__(self, given):
        given.truth.zero_()
        return np.zeros(len(given.samples))


class Counts(Size):
    sees_uncovered = True

    def __call__(self, given):
        return given.output.isfinite().flatten(1).all(1).double().numpy()


class First(Size):
    def __call__(self, given):
        return given.once("embed", "output", embed).double().numpy()


class Means:
    feature, minimum = "means", 1

    def __init__(self, networks):
        pass

    def features(self, images):
        return images.mean((2, 3)).numpy()

    def compute(self, reference, measured):
        return 0.0
'''


@pytest.fixture
def plugin(tmp_path: Path) -> Path:
    path = tmp_path / "plugin.py"
    path.write_text(PLUGIN)
    return path


@pytest.fixture
def make(plugin: Path):
    registry = discover([plugin])
    suite = Suite(id="s", title="s", resolution=16, datasets=("d",), collections={"all": ("d",)}, default="all")

    def scorer(*names: str) -> Scorer:
        specs = [find_metric(name, registry.metrics) for name in names]
        return Scorer(specs, Networks(suite), protocols=registry.protocols, regions={}, required=False)

    return scorer


def calls(scorer: Scorer) -> list:
    """What the plug-in's functions noted since the last call."""
    import sys

    found = sys.modules[type(next(iter(scorer._metrics.values()))).__module__].CALLS
    taken = list(found)
    found.clear()
    return taken


def pictures(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(100, 256, (3, 16, 16, 3), dtype=np.uint8)


def samples() -> list[Sample]:
    return [Sample(one, f"{i}", hashlib.sha256(one.tobytes()).hexdigest()) for i, one in enumerate(pictures(0))]


def mean(pictures: np.ndarray) -> np.ndarray:
    return (pictures.astype(np.float64) / 127.5 - 1).mean((1, 2, 3))


def test_each_metric_sees_the_pictures_of_its_protocol(make):
    values = Evaluator(make("size@native", "size@half"), samples(), pictures(1), masks=None).inversion()
    assert {id: list(one) for id, one in values.items()} == {"size@native": [16.0] * 3, "size@half": [8.0] * 3}


def test_everything_is_computed_once_for_all_metrics_and_edits(make):
    scorer = make("first", "left@native", "left@half", "right")
    evaluator = Evaluator(scorer, samples(), pictures(1), masks=None)
    calls(scorer)
    assert evaluator.inversion()["first@native"] == pytest.approx(mean(pictures(1)), abs=1e-6)
    for number, edit in enumerate([Edit("a", 1.0), Edit("a", 2.0), Edit("b", 1.0)]):
        values = evaluator.edit(edit, pictures(2 + number), **UNKNOWN)
        expected = 100 * mean(pictures(2 + number)) + 10 * mean(pictures(1)) + mean(pictures(0))
        assert values["left@native"] == pytest.approx(expected, abs=1e-4)
        np.testing.assert_array_equal(values["left@native"], values["right@native"])
        halves = [one[:, ::2, ::2] for one in (pictures(2 + number), pictures(1), pictures(0))]
        assert values["left@half"] == pytest.approx(sum(f * mean(h) for f, h in zip((100, 10, 1), halves)), abs=1e-4)
    counts = Counter(calls(scorer))
    assert counts[("half", True)] == 1  # the original; the reconstruction and three edits are by the method
    assert counts[("half", False)] == 1 + 3
    assert counts[("embed", 16)] == counts[("embed", 8)] == 2 + 3


def test_what_does_not_fit_into_the_memory_is_computed_again(make, monkeypatch):
    scorer = make("left@native", "right")
    want = Evaluator(scorer, samples(), pictures(1), masks=None).edit(Edit("a", 1.0), pictures(2), **UNKNOWN)
    calls(scorer)
    monkeypatch.setattr("invbench.scoring.evaluator.MEMO_BYTES", 0)
    found = Evaluator(scorer, samples(), pictures(1), masks=None).edit(Edit("a", 1.0), pictures(2), **UNKNOWN)
    assert Counter(calls(scorer))[("embed", 16)] == 6
    for id, values in want.items():
        np.testing.assert_array_equal(values, found[id])


def test_true_pictures_are_read_once_for_all_methods(make):
    scorer = make("true@native", "true@half")
    calls(scorer)
    edits = {Edit("a", 1.0): pictures(5), Edit("b", 1.0): pictures(6)}
    for method in range(3):
        evaluator = Evaluator(scorer, samples(), pictures(10 + method), masks=None)
        for edit, truth in edits.items():
            values = evaluator.edit(edit, pictures(20 + method), truth=truth, true_factors=None)
            assert values["true@native"] == pytest.approx(mean(truth) + mean(pictures(0)), abs=1e-6)
            halves = [one[:, ::2, ::2] for one in (truth, pictures(0))]
            assert values["true@half"] == pytest.approx(sum(map(mean, halves)), abs=1e-6)
    counts = Counter(calls(scorer))
    assert counts[("embed", 16)] == counts[("embed", 8)] == len(edits)
    others = samples()[::-1]  # the same true pictures of other originals
    evaluator = Evaluator(scorer, others, pictures(1), masks=None)
    found = evaluator.edit(Edit("a", 1.0), pictures(2), truth=pictures(5), true_factors=None)
    assert found["true@native"] == pytest.approx(mean(pictures(5)) + mean(pictures(0))[::-1], abs=1e-6)


def test_true_pictures_are_held_up_to_a_limit(make, monkeypatch):
    monkeypatch.setattr("invbench.scoring.truths.LIMIT", 3 * 3 * 16 * 16 * 4 + 100)  # one batch
    scorer = make("true@native")
    calls(scorer)
    for _ in range(2):
        for seed in (5, 6):
            evaluator = Evaluator(scorer, samples(), pictures(1), masks=None)
            values = evaluator.edit(Edit("a", 1.0), pictures(2), truth=pictures(seed), true_factors=None)
            assert values["true@native"] == pytest.approx(mean(pictures(seed)) + mean(pictures(0)), abs=1e-6)
    assert Counter(calls(scorer))[("embed", 16)] == 3


def test_a_metric_that_writes_into_true_pictures_harms_no_later_method(make):
    scorer = make("true@native", "writes")
    for method in range(3):
        evaluator = Evaluator(scorer, samples(), pictures(10 + method), masks=None)
        values = evaluator.edit(Edit("a", 1.0), pictures(2), truth=pictures(5), true_factors=None)
        assert values["true@native"] == pytest.approx(mean(pictures(5)) + mean(pictures(0)), abs=1e-6)
        assert np.isnan(values["writes@native"]).all()


def test_once_belongs_to_the_pictures_not_to_their_name():
    from dataclasses import replace

    one = MetricInput(target=torch.zeros(1, 3, 2, 2), output=torch.ones(1, 3, 2, 2), samples=[])
    assert one.once("sum", "output", torch.sum) == 12
    other = replace(one, output=torch.full((1, 3, 2, 2), 2.0), inverted=one.output)  # shares the memo
    assert other.once("sum", "output", torch.sum) == 24
    assert other.once("sum", "inverted", lambda _: pytest.fail("computed again")) == 12
    with pytest.raises(ValueError, match=r"given\.truth"):
        other.once("sum", "truth", torch.sum)


def test_images_that_a_protocol_does_not_cover_have_no_value(make):
    dark = pictures(1)
    dark[1] = 0
    values = Evaluator(make("size@bright", "size@native"), samples(), dark, masks=None).inversion()
    assert np.isnan(values["size@bright"]).tolist() == [False, True, False]
    assert not np.isnan(values["size@native"]).any()


def test_a_metric_may_count_what_a_protocol_does_not_cover(make):
    dark = pictures(1)
    dark[1] = 0
    evaluator = Evaluator(make("counts", "counts_edit", "size@bright"), samples(), dark, masks=None)
    assert list(evaluator.inversion()["counts@bright"]) == [1, 0, 1]
    assert list(evaluator.edit(Edit("a", 1.0), dark, **UNKNOWN)["counts_edit@bright"]) == [1, 0, 1]


def test_a_protocol_that_raises_costs_its_metrics_only(make):
    scorer = make("size@broken", "size@half")
    values = Evaluator(scorer, samples(), pictures(1), masks=None).inversion()
    assert np.isnan(values["size@broken"]).all() and list(values["size@half"]) == [8.0] * 3
    assert scorer.failures == {"size@broken": {"count": 3, "reason": "RuntimeError: no detector"}}


def test_features_of_two_protocols_are_two_features(make):
    scorer = make("means@half", "means@bright")
    assert set(scorer.feature_recipes) == {"means@half", "means@bright"}
    found = Evaluator(scorer, samples(), pictures(1), masks=None).features()
    np.testing.assert_allclose(found["means@half"][0], pictures(1)[0, ::2, ::2].mean((0, 1)) / 127.5 - 1, atol=1e-5)
    assert found["means@bright"].shape == (3, 3) and not np.allclose(found["means@bright"], found["means@half"])
    assert list(Evaluator(scorer, samples(), pictures(1), masks=None).features(only=["means@half"])) == ["means@half"]


def test_a_recipe_covers_the_protocol(plugin, make):
    before = make("size@native", "size@half").recipes
    plugin.write_text(PLUGIN.replace('"recipe": "[::2, ::2]"', '"recipe": "[1::2, ::2]"'))
    registry = discover([plugin])
    suite = Suite(id="s", title="s", resolution=16, datasets=("d",), collections={"all": ("d",)}, default="all")
    specs = [registry.metrics["size@half"]]
    after = Scorer(specs, Networks(suite), protocols=registry.protocols, regions={}, required=False).recipes
    assert before["size@native"] != before["size@half"] != after["size@half"]


def test_a_name_stands_for_native_or_for_the_only_protocol(plugin):
    known = discover([plugin]).metrics
    assert find_metric("mse", known).id == "mse@native" and find_metric("mse@psp256", known).id == "mse@psp256"
    assert find_metric("only", known).id == "only@half" and find_metric("id_curricular", known).id == "id_curricular@mtcnn112"
    with pytest.raises(InvbenchError, match="expected an id with one of its protocols .two@half, two@bright"):
        find_metric("two", known)
    with pytest.raises(InvbenchError, match="did you mean 'mse@psp256'"):
        find_metric("mse@psp265", known)
    with pytest.raises(InvbenchError, match="unknown metric 'psrn'; did you mean 'psnr'"):
        find_metric("psrn", known)


def test_an_unknown_protocol_is_told_with_the_nearest(plugin):
    plugin.write_text(PLUGIN.replace('"protocols": ["half"]', '"protocols": ["psp265"]'))
    with pytest.raises(InvbenchError, match=r"metric only of .*py:Size: unknown protocol 'psp265'; did you mean 'psp256'"):
        discover([plugin])


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"protocols": ["half"]', '"protocols": "half"', "protocols: expected a list of names"),
        ('"protocols": ["half"]', '"protocols": []', "protocols: expected at least one name"),
        ('"source": "none"', '"sorce": "none"', "unknown key 'sorce'; did you mean 'source'"),
        ('"id": "half"', '"id": "psp256"', r"'psp256' is already taken by .*protocols\.py"),
    ],
)
def test_bad_declarations_are_told(plugin, old, new, message):
    plugin.write_text(PLUGIN.replace(old, new, 1))
    with pytest.raises(InvbenchError, match=message):
        discover([plugin])
