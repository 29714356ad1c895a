"""Methods in worker processes: what ends a process loses its image, and the results are those of one process, to the byte."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import psutil
import pytest
from click.testing import CliRunner

from invbench.api import InvbenchError
from invbench.cli import main
from invbench.plugins import selection
from invbench.plugins.config import EditConfig, Suite
from invbench.plugins.registry import discover
from invbench.run import runner
from invbench.run.executors import processes
from invbench.run.executors.choice import devices
from invbench.run.executors.processes import DEATHS
from invbench.store import Store
from invbench.util.clock import Ledger
from tests.fixtures import TOYS, timeless
from tests.run.test_plugin_faults import METRIC

FATAL = '''
import ctypes, os, signal, sys, time
import torch
from invbench.api import Inversion

DEEDS = {
    "segfault": lambda: ctypes.string_at(0),
    "abort": os.abort,
    "_exit": lambda: os._exit(0),
    "exit": lambda: sys.exit(0),
    "hang": lambda: time.sleep(600),
    "killed": lambda: os.kill(os.getpid(), signal.SIGKILL),
}
SPECS = [{
    "id": "fatal", "title": "Fatal", "class": "Fatal", "family": "encoder", "roles": [],
    "options": {
        "deed": {
            "default": "segfault",
            "unit": "",
            "choices": ["segfault", "abort", "_exit", "exit", "hang", "killed"],
            "help": "what is done",
        },
        "when": {"default": "invert", "unit": "", "choices": ["invert", "edit", "build", "all"], "help": "h"},
    },
    "presets": {"paper": {}},
}]
MARK = torch.tensor([1.0, 2.0, 3.0]) / 127.5 - 1  # the third picture


class Fatal:
    def __init__(self, networks, options):
        self.options = options
        if options.when == "build":
            DEEDS[options.deed]()

    def invert(self, images, clock):
        marked = bool((images[:, :, 0, 0] == MARK).all(dim=1).any())
        if self.options.when == "all" or (self.options.when == "invert" and marked):
            DEEDS[self.options.deed]()
        return Inversion(images.mean((2, 3))[:, None], images * 0.5, {"marked": (images[:, :, 0, 0] == MARK).all(dim=1)})

    def edit(self, inversion, edit, clock):
        if self.options.when == "edit" and inversion.state["marked"].any():
            DEEDS[self.options.deed]()
        return inversion.images + 0.01 * edit.strength

    def max_batch(self, memory):
        return 4
'''
SAME = {".png", ".safetensors"}  # files without times
LOADING = 20.0  # seconds that a worker has to load torch on a busy machine
LIMIT = 1.5  # seconds an image: far above what a call takes, on a busy machine too


def asked(folder: Path, *, plugins: Sequence[Path] = (), **changes):
    """Settings of a run of the method above, with two workers; ``plugins``: more files."""
    plugin = folder / "fatal.py"
    plugin.write_text(FATAL, encoding="utf-8")
    edits = {"bright": EditConfig(unit="levels", per_strength=12.75, strengths=(-1, 1))}
    suite = Suite(
        id="toys", title="toys", resolution=16, datasets=("toys",), collections={"all": ("toys",)}, default="all", edits=edits
    )
    plain = {"methods": ["fatal"], "metrics": ["toy_mse"], "edits": ["bright:1"], "images": 6, "batch": 4, "workers": 2}
    plain |= {"out": folder / "run", "device": "cpu", "seed": 0}
    return selection.settings(suite, discover([TOYS, plugin, *plugins]), **(plain | changes))


SUITE = """
[suites.toys]
title = "toys"
resolution = 16
datasets = ["toys"]
default = "all"
collections = { all = ["toys"] }
edits = { bright = { unit = "levels", per_strength = 12.75, strengths = [-1, 1] } }
"""


def toy_run(folder: Path, *more: str) -> list[str]:
    """The command of a run of the toy method by two workers, but for ``--out``."""
    config = folder / "toys.toml"
    config.write_text(SUITE, encoding="utf-8")
    words = [sys.executable, "-m", "invbench", "run", "--plugin", str(TOYS), "--suite", "toys", "--config", str(config)]
    return [*words, "--methods", "toy", "--workers", "2", "--batch", "2", "--quiet", *more]


def is_worker(process: psutil.Process) -> bool:
    """Whether a process is the child of a server of processes, which has its command line."""
    try:
        return all("multiprocessing.forkserver" in " ".join(one.cmdline()) for one in (process, process.parent()))
    except (psutil.NoSuchProcess, psutil.ZombieProcess):
        return False


def rows_of(settings) -> pd.DataFrame:
    return Store(settings.out).rows()


@pytest.mark.parametrize(
    ("deed", "reason"),
    [
        ("segfault", "Ended: the process ended with SIGSEGV"),
        ("hang", f"Ended: the call took more than {LIMIT:g} s an image"),
        pytest.param("abort", "Ended: the process ended with SIGABRT", marks=pytest.mark.slow),
        pytest.param("_exit", "Ended: the process ended with exit code 0", marks=pytest.mark.slow),
        pytest.param("exit", "SystemExit: 0", marks=pytest.mark.slow),
        pytest.param("killed", "Outgrown: the process was killed, perhaps for want of memory", marks=pytest.mark.slow),
    ],
)
def test_what_ends_the_process_loses_its_image(tmp_path: Path, deed: str, reason: str) -> None:
    settings = asked(tmp_path, overrides=[f"fatal.deed={deed}"], limit=LIMIT if deed == "hang" else None)
    assert runner.run(settings, progress=False) == 1
    rows = rows_of(settings)
    inversions = rows[rows.edit.isna()].set_index("image")
    assert list(inversions.index[inversions.status == "failed"]) == ["toy-02"] and len(inversions) == 6 and len(rows) == 12
    assert inversions.loc["toy-02", "reason"] == reason
    assert set(rows[rows.image != "toy-02"].status) == {"ok"}
    alone = 2 if deed == "killed" else 1  # halved in place of cut into single images, as where memory is short
    assert inversions.loc["toy-00", "batch"] == alone


@pytest.mark.slow
@pytest.mark.parametrize("deed", ["segfault", "killed"])
def test_an_edit_that_ends_the_process_loses_its_row(tmp_path: Path, deed: str) -> None:
    settings = asked(tmp_path, overrides=[f"fatal.deed={deed}", "fatal.when=edit"])
    assert runner.run(settings, progress=False) == 1
    rows = rows_of(settings)
    (failed,) = rows[rows.status == "failed"].itertuples()
    assert (failed.image, failed.edit) == ("toy-02", "bright") and len(rows) == 12


@pytest.mark.slow
def test_a_method_that_always_ends_the_process_is_given_up_and_others_run(tmp_path: Path) -> None:
    settings = asked(tmp_path, methods=["fatal", "toy"], overrides=["fatal.when=all"])
    assert runner.run(settings, progress=False) == 1
    rows = rows_of(settings)
    inversions = rows[rows.edit.isna() & (rows.method == "fatal")]
    assert set(inversions.status) == {"failed"} and set(rows[rows.method == "toy"].status) == {"ok"}
    assert inversions.reason.str.contains("not tried").sum() >= 6 - DEATHS - 2  # two workers may be at it


@pytest.mark.slow
def test_every_worker_builds_some_of_the_methods(make_settings) -> None:
    settings = make_settings(methods=["toy", "toy:fine"], workers=2)
    with processes.Processes(settings, ["cpu", "cpu"], limit=None, ledger=Ledger()) as executor:
        assert executor.batches(settings.methods) == {("toy", "paper"): 16, ("toy", "fine"): 16}
        assert [lane.ready for lane in executor._lanes] == [True, True]
    with processes.Processes(settings, ["cpu", "cpu"], limit=None, ledger=Ledger()) as executor:
        assert executor.batches(settings.methods[:1]) == {("toy", "paper"): 16}
        assert executor._lanes[1]._process is None  # there is nothing for it yet


@pytest.mark.slow
def test_a_method_that_ends_the_process_while_it_is_built_fails_and_others_run(tmp_path: Path) -> None:
    settings = asked(tmp_path, methods=["fatal", "toy"], overrides=["fatal.when=build"])
    assert runner.run(settings, progress=False) == 1
    rows = rows_of(settings)
    assert rows[rows.method == "fatal"].reason.str.contains("while it is built the process ended with SIGSEGV, 3 times").all()
    assert set(rows[rows.method == "toy"].status) == {"ok"}


@pytest.mark.slow
@pytest.mark.parametrize("more", [{}, {"limit": 0.5}])
def test_a_method_that_hangs_while_it_is_built_fails_and_others_run(tmp_path: Path, monkeypatch, more) -> None:
    monkeypatch.setattr(processes, "PATIENCE", LOADING)
    settings = asked(tmp_path, methods=["fatal", "toy"], overrides=["fatal.deed=hang", "fatal.when=build"], **more)
    assert runner.run(settings, progress=False) == 1
    rows = rows_of(settings)
    reason = f"while it is built its process did not go on for {LOADING:g} s"
    assert rows[rows.method == "fatal"].reason.str.contains(reason).all()
    assert set(rows[rows.method == "toy"].status) == {"ok"} and set(rows.method) == {"fatal", "toy"}


@pytest.mark.slow
def test_a_method_that_hangs_in_its_second_worker_fails_and_others_run(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(processes, "PATIENCE", LOADING)
    lock = f"open({str(tmp_path / 'lock')!r}, 'x') if not os.path.exists({str(tmp_path / 'lock')!r}) else time.sleep(600)"
    settings = asked(tmp_path, methods=["fatal", "toy"], overrides=["fatal.when=build"])
    plugin = tmp_path / "fatal.py"
    plugin.write_text(FATAL.replace("DEEDS[options.deed]()", lock, 1), encoding="utf-8")
    assert runner.run(settings, progress=False) in (0, 1)
    rows = rows_of(settings)
    assert len(rows[rows.method == "fatal"]) == len(rows[rows.method == "toy"]) == 12
    assert set(rows[rows.method == "toy"].status) == {"ok"}
    failed = rows[(rows.method == "fatal") & (rows.status == "failed")]
    assert failed.reason.str.contains(f"did not go on for {LOADING:g} s").all()


@pytest.mark.slow
def test_a_metric_that_hangs_as_it_is_opened_is_one_line(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(processes, "PATIENCE", LOADING)
    plugin = tmp_path / "metric.py"
    hang = "import multiprocessing, time; multiprocessing.parent_process() and time.sleep(600)"
    plugin.write_text(METRIC.replace("pass", hang, 1).replace("        WRITE\n", ""), encoding="utf-8")
    settings = asked(tmp_path, methods=["toy"], metrics=["a_spoiler"], plugins=[plugin])
    with pytest.raises(InvbenchError, match=f"expected networks, metrics and datasets to be opened within {LOADING:g} s"):
        runner.run(settings, progress=False)


@pytest.mark.slow
@pytest.mark.parametrize("deed", ["segfault", "hang"])
def test_a_method_that_ends_the_process_while_it_is_timed_fails_and_others_are_timed(tmp_path: Path, deed: str) -> None:
    limit = LIMIT if deed == "hang" else None
    settings = asked(
        tmp_path, methods=["fatal", "toy"], overrides=[f"fatal.deed={deed}"], latency=4, workers=1, edits=["none"], limit=limit
    )
    assert runner.run(settings, progress=False) == 1
    times = Store(settings.out).latency()
    fatal, toy = times[times.method == "fatal"], times[times.method == "toy"]
    assert len(toy) == len(fatal) == 4 and set(toy.status) == {"ok"}
    assert list(fatal[fatal.status == "failed"].image) == ["toy-02"]


def test_workers_give_the_bytes_of_one_process(tmp_path: Path, make_settings) -> None:
    whole = {"images": 12, "batch": 3, "edits": ["bright"], "consistency": ["bright:1"]}
    runs = [make_settings(out=tmp_path / f"{workers}", workers=workers, **whole) for workers in (0, 2)]
    for settings in runs:
        assert runner.run(settings, progress=False) == 0
    pd.testing.assert_frame_equal(*(timeless(rows_of(settings)) for settings in runs))
    found = [[path for path in one.out.rglob("*") if path.suffix in SAME] for one in runs]
    files = [{path.relative_to(one.out): path.read_bytes() for path in paths} for one, paths in zip(runs, found, strict=True)]
    assert files[0] == files[1] and len(files[0]) > 12 * 4
    manifest = Store(runs[1].out).manifest
    assert manifest["workers"] == 2 and manifest["seconds"]["methods"] > 0 < manifest["seconds"]["waiting"]


@pytest.mark.slow
def test_workers_give_the_bytes_of_one_process_with_the_embedded_suite(tmp_path: Path) -> None:
    words = ["run", "--methods", "e4e,pti,dhr,sam", "--images", "3", "--batch", "2", "--edits", "age:3", "--device", "cpu"]
    steps = "pti.steps", "pti.pivot_steps", "dhr.weight_steps", "dhr.feature_steps", "sam.steps"
    words += ["--quiet", *(f"--set={name}=8" for name in steps)]
    for name, more in (("one", ["--in-process"]), ("two", ["--workers", "2"])):
        done = CliRunner().invoke(main, [*words, *more, "--out", str(tmp_path / name)])
        assert done.exit_code == 0, done.output
    pd.testing.assert_frame_equal(*(timeless(Store(tmp_path / name).rows()) for name in ("one", "two")))


@pytest.mark.skipif(sys.platform != "linux", reason="processes are started in another way")
def test_workers_end_with_the_run_that_was_killed(tmp_path: Path) -> None:
    words = toy_run(tmp_path, "--set", "toy.sleep=30", "--metrics", "none", "--edits", "none")
    run = subprocess.Popen([*words, "--out", str(tmp_path / "run")], stderr=subprocess.DEVNULL)
    workers = []
    for _ in range(600):
        workers = [one for one in psutil.Process(run.pid).children(recursive=True) if is_worker(one)]
        if len(workers) == 2:
            break
        time.sleep(0.1)
    assert len(workers) == 2
    os.kill(run.pid, getattr(signal, "SIGKILL", signal.SIGTERM))
    run.wait()
    _, alive = psutil.wait_procs(workers, timeout=20)
    assert not alive


def test_how_many_workers(make_settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("invbench.run.executors.choice.cores", lambda: 6)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 0)
    free = psutil.virtual_memory()._replace(available=2**40)
    monkeypatch.setattr("psutil.virtual_memory", lambda: free)
    assert devices(make_settings(workers=0)) == []
    assert devices(make_settings(workers=None)) == ["cpu"] * 6
    assert devices(make_settings(workers=None, threads=4)) == ["cpu"]
    assert devices(make_settings(workers=3)) == ["cpu"] * 3
    free = free._replace(available=5 * 2**30)
    assert devices(make_settings(workers=None)) == ["cpu"] * 2
    monkeypatch.setattr("torch.cuda.device_count", lambda: 3)
    assert devices(make_settings(workers=None, device="auto")) == ["cuda:0", "cuda:1", "cuda:2"]
    assert devices(make_settings(workers=2, device="cuda")) == ["cuda:0", "cuda:1"]
    assert devices(make_settings(workers=None, device="cuda:1")) == ["cuda:1"]
    with pytest.raises(InvbenchError, match="^workers: expected at most 3, one a GPU, found 4$"):
        devices(make_settings(workers=4, device="auto"))


def test_a_limit_needs_workers(make_settings) -> None:
    with pytest.raises(InvbenchError, match="--limit: expected workers"):
        make_settings(workers=0, limit=3.0)
