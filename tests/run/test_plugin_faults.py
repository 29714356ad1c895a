"""What a plug-in does wrong costs that plug-in: its rows, its metric, or, before any work, one line."""

from __future__ import annotations

import re
from hashlib import sha256
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from invbench.api import InvbenchError
from invbench.plugins import selection
from invbench.plugins.config import EditConfig, RunSettings, Suite
from invbench.plugins.registry import discover
from invbench.run import runner, truths
from invbench.run.executors import processes
from invbench.store import Store
from invbench.util.progress import Progress
from invbench.util.startup import start_server
from tests.fixtures import TOYS, timeless

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
LOADING = 20.0  # seconds that a worker has to load torch on a busy machine
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
    plugin = folder / f"{sha256(text.encode()).hexdigest()[:8]}" / "mine.py"  # a file is imported once
    plugin.parent.mkdir(exist_ok=True)
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


DATASET = '''
import ctypes, os, time
from tests.toys import Toys

SPECS = [{"id": "mine", "title": "Mine", "class": "Mine", "domain": "toys", "size": 12, "options": {"count": 12}}]


class Mine(Toys):
    def truth(self, index, edit):
        if index == 1 and edit.strength == 1:
            DEED
        return super().truth(index, edit)
'''
ENDS = {
    "os._exit(0)": "it ended its process with exit code 0",
    "ctypes.string_at(0)": "it ended its process with SIGSEGV",
    "raise SystemExit(0)": "SystemExit: 0",
    "raise KeyError('nowhere')": "KeyError: 'nowhere'",
    "return object.__new__(type('Local', (), {}))": "Local",  # cannot be pickled, either
    "return super().truth(index, edit).astype(float)": "expected uint8 [16, 16, 3] or None, found float64 [16, 16, 3]",
}


@pytest.fixture
def server() -> None:
    """Processes start in less time, as those of the command line do."""
    start_server("invbench.run.executors.worker")


def _of_mine(folder: Path, text: str, **changes: object) -> RunSettings:
    """A run of the toy method on the dataset ``mine``."""
    plain = {"methods": ["toy"], "metrics": ["toy_mse", "toy_truth"], "datasets": ["mine"], "images": 3}
    return asked(folder, text, **plain | changes)


@pytest.mark.slow
@pytest.mark.usefixtures("server")
@pytest.mark.parametrize(("deed", "workers"), [*((deed, 1) for deed in ENDS), *((deed, 0) for deed in [*ENDS][2:])])
def test_a_dataset_whose_truth_goes_wrong_is_told_before_any_work(tmp_path: Path, deed: str, workers: int) -> None:
    settings = _of_mine(tmp_path, DATASET.replace("DEED", deed), workers=workers)
    with pytest.raises(InvbenchError) as caught:
        runner.run(settings, progress=False)
    assert re.match("dataset mine: truth of toy-01: .*" + re.escape(ENDS[deed]), str(caught.value)), caught.value
    assert not Store(settings.out).exists()


@pytest.mark.slow
@pytest.mark.usefixtures("server")
def test_a_dataset_whose_truth_hangs_is_told_before_any_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "PATIENCE", LOADING)
    settings = _of_mine(tmp_path, DATASET.replace("DEED", "time.sleep(600)"), workers=1, limit=1.0)
    with pytest.raises(InvbenchError, match=rf"^dataset mine: truth of toy-01: it took more than {LOADING:g} s$"):
        runner.run(settings, progress=False)


@pytest.mark.parametrize("deed", ["raise KeyError('nowhere')", "return np.zeros(3)"])
def test_a_truth_that_goes_wrong_costs_the_metrics_that_need_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, deed: str
) -> None:
    monkeypatch.setattr(truths, "FIRST", 0)  # nothing for the page
    text = "import numpy as np\n" + DATASET
    plain = _of_mine(tmp_path, text.replace("DEED", "pass"), out=tmp_path / "plain")
    assert runner.run(plain, progress=False) == 0
    wrong = _of_mine(tmp_path, text.replace("DEED", deed))
    assert runner.run(wrong, progress=False) == 1
    found, expected = timeless(Store(wrong.out).rows()), timeless(Store(plain.out).rows())
    lost = (found.strength == 1) & found["toy_truth@native"].isna()
    assert lost.sum() == 3 and (found.status == "ok").all()
    pd.testing.assert_frame_equal(found[~lost], expected[~lost])
    right = _of_mine(tmp_path, text.replace("DEED", "pass"))
    assert runner.run(right, progress=False) == 0  # tried again
    pd.testing.assert_frame_equal(timeless(Store(right.out).rows()), expected)


SET = '''
import os
import numpy as np

SPECS = [{"id": "a_set", "class": "Spoiler", "title": "Spoiler", "kind": "set", "better": "none", "unit": "", "range": "0.."}]


class Spoiler:
    feature, minimum = "mine", 2

    def __init__(self, networks):
        pass

    def features(self, images):
        if len(images) > 2:  # all originals at once, after the run
            FEATURES
        return images.mean(dim=(2, 3)).numpy()

    def compute(self, reference, measured):
        COMPUTE
        return float(np.abs(reference - measured).sum())
'''


ENDED, RAISED = "it ended its process with exit code 0", "ValueError: no"


@pytest.mark.slow
@pytest.mark.usefixtures("server")
@pytest.mark.parametrize(
    ("place", "deed", "reason", "workers"),
    [
        ("COMPUTE", "os._exit(0)", ENDED, 1),
        ("FEATURES", "os._exit(0)", ENDED, 1),
        ("COMPUTE", "raise SystemExit(0)", "SystemExit: 0", 1),
        ("COMPUTE", "raise ValueError('no')", RAISED, 1),
        ("COMPUTE", "raise ValueError('no')", RAISED, 0),
        ("FEATURES", "raise ValueError('no')", RAISED, 0),
    ],
)
def test_a_set_metric_that_goes_wrong_costs_its_own_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str, deed: str, reason: str, workers: int
) -> None:
    shape = {"methods": ["toy", "toy:fine"], "metrics": ["a_set", "toy_set", "toy_mse"], "images": 4, "batch": 2}
    right, wrong = (SET.replace(place, what).replace("FEATURES", "pass").replace("COMPUTE", "pass") for what in ("pass", deed))
    plain = asked(tmp_path, right, **shape, out=tmp_path / "plain")
    assert runner.run(plain, progress=False) == 0
    settings = asked(tmp_path, wrong, **shape, workers=workers)
    said: list[str] = []
    monkeypatch.setattr(Progress, "say", lambda self, line: said.append(line))
    assert runner.run(settings, progress=False) == 1
    (line,) = [line for line in said if line.startswith("metric")]
    assert line.startswith("metric a_set@native failed on ") and line.endswith(reason)
    found, expected = ({(row["method"], row["preset"], row["metric"]): row for row in Store(one.out).sets()}
                       for one in (settings, plain))  # fmt: skip
    assert found.keys() == expected.keys()
    for where, row in found.items():
        if where[2] == "a_set@native":
            assert row["value"] is None and row["reason"].endswith(reason) and row["n"] == 4
        else:
            assert row == expected[where]
    pd.testing.assert_frame_equal(timeless(Store(settings.out).rows()), timeless(Store(plain.out).rows()))


@pytest.mark.slow
@pytest.mark.usefixtures("server")
@pytest.mark.parametrize("deed", ["os._exit(0)", "raise ValueError('no')"])
def test_a_metric_that_goes_wrong_on_earlier_rows_costs_itself(tmp_path: Path, deed: str) -> None:
    shape = {"methods": ["toy"], "workers": 1}
    first = asked(tmp_path, METRIC.replace("WRITE", "pass"), **shape, metrics=["toy_mse"])
    assert runner.run(first, progress=False) == 0
    rows = timeless(Store(first.out).rows())
    second = asked(tmp_path, METRIC.replace("WRITE", f"import os; {deed}"), **shape, metrics=["toy_mse", "a_spoiler"])
    assert runner.run(second, progress=False) == 1
    pd.testing.assert_frame_equal(timeless(Store(second.out).rows())[rows.columns], rows)
    third = asked(tmp_path, METRIC.replace("WRITE", "pass"), **shape, metrics=["toy_mse", "a_spoiler"])
    assert runner.run(third, progress=False) == 0
    assert Store(third.out).rows()["a_spoiler@native"].notna().sum() == 3


@pytest.mark.slow
@pytest.mark.usefixtures("server")
def test_a_truth_that_ends_the_process_of_earlier_rows_costs_the_metrics_that_are_computed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(truths, "FIRST", 0)  # nothing for the page
    text = DATASET.replace("DEED", f"os._exit(0) if os.path.exists({str(tmp_path / 'now')!r}) else None")
    shape = {"workers": 1, "batch": 3}
    assert runner.run(_of_mine(tmp_path, text, metrics=["toy_mse"], **shape), progress=False) == 0
    rows = timeless(Store(tmp_path / "run").rows())
    (tmp_path / "now").touch()
    again = _of_mine(tmp_path, text, metrics=["toy_mse", "toy_truth"], **shape)
    assert runner.run(again, progress=False) == 1
    pd.testing.assert_frame_equal(timeless(Store(again.out).rows())[rows.columns], rows)
    (tmp_path / "now").unlink()
    assert runner.run(again, progress=False) == 0
    assert Store(again.out).rows()["toy_truth@native"].notna().sum() == 6


READS = {
    "raise KeyError('x')": "KeyError: 'x'",
    "raise SystemExit(0)": "SystemExit: 0",
    "raise GeneratorExit": "GeneratorExit: ",
    "return None": "expected an invbench.api.Sample, found NoneType",
    "return replace(sample, sha256=None)": "sha256: expected a text, found NoneType",
    "return replace(sample, picture=sample.picture / 255)": "picture: expected uint8 [H, W, 3], found float64 [16, 16, 3]",
    "return replace(sample, picture=sample.picture[..., 0])": "picture: expected uint8 [H, W, 3], found uint8 [16, 16]",
    "return replace(sample, picture=sample.picture[:0])": "picture: expected uint8 [H, W, 3], found uint8 [0, 16, 3]",
    "return replace(sample, picture=sample.picture.tolist())": "picture: expected uint8 [H, W, 3], found list",
    "return replace(sample, ood_mask=np.zeros(3))": "ood_mask: expected bool [H, W], found float64 [3]",
    "return replace(sample, parsing=np.zeros((2, 2), int))": "parsing: expected whole numbers [H, W], found int64 [2, 2]",
    "return replace(sample, factors='x')": "factors: expected numbers [K], found str",
}
READER = '''
from dataclasses import replace
import numpy as np
from tests.toys import Toys

SPECS = [{"id": "mine", "title": "Mine", "class": "Mine", "domain": "toys", "size": 12, "options": {"count": 12}}]


class Mine(Toys):
    def read(self, index):
        sample = super().read(index)
        if index == 1:
            DEED
        return sample
'''


@pytest.mark.parametrize("deed", READS)
def test_a_dataset_that_reads_a_picture_wrongly_costs_the_picture(tmp_path: Path, deed: str) -> None:
    settings = _of_mine(tmp_path, READER.replace("DEED", deed), metrics=["toy_mse"], edits=["none"])
    assert runner.run(settings, progress=False) == 1
    rows = Store(settings.out).rows()
    assert list(rows.status) == ["ok", "failed", "ok"] and READS[deed] in rows.reason[1]


@pytest.mark.parametrize("names", ["None", "7", "'abc'", "{'a': 1, 'b': 2, 'c': 3}", "(one for one in 'abc')", "[1, 2, 3]",
                                   "range(3)", "[b'a', b'b', b'c']", r"['\ud800', 'b', 'c']"])  # fmt: skip
def test_a_dataset_with_names_that_are_none_is_told_before_any_work(tmp_path: Path, names: str) -> None:
    text = READER.replace("DEED", "pass") + f"\n    def __init__(self, count):\n        self.names = {names}\n"
    with pytest.raises(InvbenchError, match="^dataset mine: names: expected "):
        runner.run(_of_mine(tmp_path, text), progress=False)
