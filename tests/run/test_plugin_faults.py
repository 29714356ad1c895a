"""What a plug-in does wrong costs that plug-in: its rows, its metric, or, before any work, one line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from invbench.api import InvbenchError
from invbench.plugins import selection
from invbench.plugins.config import EditConfig, RunSettings, Suite
from invbench.plugins.registry import discover
from invbench.run import runner
from invbench.store import Store
from tests.fixtures import TOYS

METHOD = '''
import torch
from invbench.api import Inversion

SPEC = {{"id": "mine", "class": "Mine", "title": "Mine", "family": "test", "roles": [], "options": {{}}}}


class Mine:
    def __init__(self, networks, options):
        {build}

    def invert(self, images, clock):
        {invert}
        with torch.inference_mode(), clock.stage("encode"):
            return Inversion(images.mean(dim=(2, 3))[:, None], images.clone())

    def edit(self, inversion, edit, clock):
        with torch.inference_mode(), clock.stage("edit"):
            {edit}
            return inversion.images + 0.1 * edit.strength

    def max_batch(self, memory):
        {size}
'''
RIGHT = {"build": "pass", "invert": "pass", "edit": "pass", "size": "return 4"}
METRIC = '''
SPECS = [{"id": "a_spoiler", "class": "Spoiler", "title": "Spoiler", "kind": "inversion", "better": "none", "unit": "",
          "range": "[0, 1]"}]


class Spoiler:
    def __init__(self, networks):
        pass

    def __call__(self, given):
        WRITE
        return given.output.double().mean(dim=(1, 2, 3)).numpy()
'''


def asked(folder: Path, text: str, **changes: object) -> RunSettings:
    plugin = folder / "mine.py"
    plugin.write_text(text, encoding="utf-8")
    edits = {"bright": EditConfig(unit="levels", per_strength=12.75, strengths=(-1, 1))}
    suite = Suite(
        id="toys", title="toys", resolution=16, datasets=("toys",), collections={"all": ("toys",)}, default="all", edits=edits
    )
    plain = {"methods": ["mine", "toy"], "metrics": ["toy_mse"], "edits": ["bright"], "images": 3, "out": folder / "run"}
    return selection.settings(suite, discover([TOYS, plugin]), device="cpu", seed=0, **(plain | changes))


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ({"build": "raise RuntimeError('no GPU')"}, "cannot be built: RuntimeError: no GPU"),
        ({"size": "raise RuntimeError('who knows')"}, "max_batch: RuntimeError: who knows"),
        ({"size": "return float('inf')"}, "max_batch: ValueError: expected a number of images, 1 or more, found inf"),
        ({"size": "return float('nan')"}, "1 or more, found nan"),
        ({"size": "return 0"}, "1 or more, found 0"),
        ({"size": "return None"}, "max_batch: TypeError"),
        ({"invert": "raise GeneratorExit('gone')"}, "GeneratorExit: gone"),
        ({"invert": "images = images.to(torch.complex64)"}, "expected floating-point numbers, found torch.complex64"),
    ],
)
def test_a_method_that_fails_costs_its_own_rows(tmp_path: Path, fault: dict[str, str], reason: str) -> None:
    settings = asked(tmp_path, METHOD.format(**RIGHT | fault))
    assert runner.run(settings, progress=False) == 1
    rows = Store(settings.out).rows()
    mine, toy = rows[rows.method == "mine"], rows[rows.method == "toy"]
    assert len(mine) == 9 and (mine.status == "failed").all() and mine.reason.str.contains(reason, regex=False).all()
    assert len(toy) == 9 and (toy.status == "ok").all()


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("import not_installed", r"^method mine: mine\.py:3: No module named 'not_installed'$"),
        ("1 / 0", r"^method mine: mine\.py:3: ZeroDivisionError: division by zero$"),
        ("import broken", r"^method mine: broken\.py:1: SyntaxError: "),
    ],
)
def test_a_plug_in_that_cannot_be_imported_is_told_before_any_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: str, message: str
) -> None:
    (tmp_path / "broken.py").write_text("def\n")
    monkeypatch.syspath_prepend(tmp_path)
    settings = asked(tmp_path, METHOD.format(**RIGHT).replace("import torch\n", f"import torch\n{line}\n", 1))
    with pytest.raises(InvbenchError, match=message):
        runner.run(settings, progress=False)
    assert not settings.out.exists()


@pytest.mark.parametrize("write", ["inversion.latents.zero_()", "inversion.images[0] = 0", "inversion.images.add_(0.1)"])
def test_an_edit_that_writes_into_its_inversion_fails(tmp_path: Path, write: str) -> None:
    settings = asked(tmp_path, METHOD.format(**RIGHT | {"edit": write}), methods=["mine"])
    assert runner.run(settings, progress=False) == 1
    rows = Store(settings.out).rows()
    edits = rows[rows.edit.notna()]
    assert (rows[rows.edit.isna()].status == "ok").all() and (edits.status == "failed").all()
    assert edits.reason.str.contains("wrote into").all()


@pytest.mark.parametrize("write", ["given.output.zero_()", "given.target[:] = given.output", "given.samples[0].picture[:] = 0"])
def test_a_metric_that_writes_into_its_input_has_no_value_and_harms_no_other(tmp_path: Path, write: str) -> None:
    plain = asked(tmp_path, METHOD.format(**RIGHT), methods=["toy"], out=tmp_path / "plain")
    assert runner.run(plain, progress=False) == 0
    spoilt = asked(tmp_path, METRIC.replace("WRITE", write), methods=["toy"], metrics=["a_spoiler", "toy_mse"])
    assert runner.run(spoilt, progress=False) == 1
    found, expected = Store(spoilt.out).rows(), Store(plain.out).rows()
    np.testing.assert_array_equal(found["toy_mse@native"], expected["toy_mse@native"])
    assert expected["toy_mse@native"].notna().any() and found["a_spoiler@native"].isna().all()
