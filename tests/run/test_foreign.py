"""Foreign code behind commands: its rows, its times, its failures, and what it leaves behind."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pytest
from PIL import Image

from invbench import schema
from invbench.api import Edit, InvbenchError
from invbench.plugins import foreign
from invbench.plugins.registry import discover
from invbench.run import runner
from invbench.run.foreign import code, process, starts
from invbench.store import Store
from invbench.util import interrupts
from tests.fixtures import TOYS, toy_settings
from tests.util.test_interrupts import heeding

CODE = Path(__file__).parent / "foreign_code"
CELL = "mine.default.toys"
TABLE = """
[methods.mine]
title = "Stand-in"
folder = "code"
invert = ["{python}", "stand_in.py", "invert", "{{trouble}}"]
edit = "'{python}' stand_in.py edit '{{trouble}}' {{edit}} {{strength}} '{{edit_folder}}'"
edits.bright = "hell"
options = {{ trouble = "{trouble}" }}
"""


@pytest.fixture
def make(tmp_path):
    """Settings of a run of the stand-in, with its trouble."""

    def settings(trouble: str = "", *, table: str = TABLE, images: int = 4, **changes):
        (tmp_path / "code").mkdir(exist_ok=True)
        for file in CODE.glob("*.py"):
            shutil.copy(file, tmp_path / "code")
        (tmp_path / "mine.toml").write_text(table.format(python=sys.executable, trouble=trouble))
        registry = foreign.added(discover([TOYS]), tmp_path / "mine.toml")
        asked = {"methods": ["mine"], "out": tmp_path / "run", "images": images, "edits": ["bright:1"]}
        return toy_settings(registry, **(asked | changes))

    return settings


def rows(settings):
    found = Store(settings.out).rows()
    return found[found["edit"].isna()].set_index("image"), found[~found["edit"].isna()].set_index("image")


def test_it_has_rows_like_any_other_method(make, monkeypatch):
    monkeypatch.setattr(process, "POLL", 0.005)  # looks often at a command that ends soon
    settings = make()
    assert runner.run(settings, progress=False) == 0
    inverted, edited = rows(settings)
    assert len(inverted) == len(edited) == 4 and set(inverted["status"]) == {"ok"}
    store = Store(settings.out)
    for name in inverted.index:
        original = np.asarray(Image.open(store.input("toys", name)))
        made = store.read_picture(store.picture(CELL, name))
        assert np.array_equal(made, original // 16 * 16)
        brighter = store.read_picture(store.picture(CELL, name, Edit("bright", 1.0)))
        assert np.array_equal(brighter, (made.astype(int) + 13).clip(0, 255))
        error = (made.astype(float) - original) / 127.5
        assert inverted.loc[name, "toy_mse@native"] == pytest.approx((error**2).mean(), abs=1e-6)
    assert (inverted[schema.RSS_PEAK] > 2**20).all() and inverted[schema.DEVICE_PEAK].eq(0).all()
    assert store.manifest["methods"]["mine.default"]["commands"]["invert"][1:3] == ["stand_in.py", "invert"]
    assert runner.run(settings, progress=False) == 0  # nothing is left to do
    log = (store.foreign(CELL) / "log.txt").read_text()
    assert log.count("$ ") == 4 and "invert with" in log  # the measured start and the start, of two commands each


def test_a_start_is_measured_apart(make):
    settings = make("slow", images=12)
    assert runner.run(settings, progress=False) == 0
    figures = starts.figures(starts.latest(Store(settings.out).foreign(CELL)), None)
    assert figures.startup > 0.25 and figures.each >= 0.0  # a busy machine starts it more slowly at one time than at another
    assert rows(settings)[0][schema.INVERT].to_numpy() == pytest.approx(figures.each)


def test_a_start_and_a_picture_are_told_apart_by_two_sizes(tmp_path):
    def start(number, seconds, *, probe):
        made = {f"{i}": "" for i in range(number)}
        return starts.Start(tmp_path, "recipe", made, probe, {"": starts.Work(seconds, made, {})})

    found = starts.figures([start(1, 2.5, probe=True), start(9, 6.5, probe=False), start(3, 3.5, probe=False)], None)
    assert (found.startup, found.each) == pytest.approx((2.0, 0.5))  # 2 + 0.5, 2 + 9 x 0.5, 2 + 3 x 0.5


def test_times_that_the_command_tells_count_if_they_can_be_true(make):
    settings = make("times")
    assert runner.run(settings, progress=False) == 0
    inverted, _ = rows(settings)
    assert inverted["seconds.refine"].to_numpy() == pytest.approx(0.002)
    assert inverted[schema.INVERT].to_numpy() == pytest.approx(0.003)
    settings = make("lies")
    assert runner.run(settings, progress=False) == 0
    assert (rows(settings)[0][schema.INVERT].dropna() < 10).all()
    assert "times are left out" in (Store(settings.out).foreign(CELL) / "log.txt").read_text()


REASONS = {  # of the pictures in their order
    "toy-00": "outputs/toy-00.png: expected a file, found none; the command ended with exit code 0",
    "toy-01": "expected 16x16 pixels as the original, found 16x8; nothing is resized",
    "toy-02": "the image is corrupt or truncated",
    "toy-03": "expected a PNG file, found another kind",
    "toy-04": "expected a PNG file, found another kind",
    "toy-05": "found a link",
    "toy-06": "expected a file, found none",
    "toy-07": "found a device, FIFO or folder",
    "toy-08": "found a device, FIFO or folder",
    "toy-09": "bytes, found more",
}  # the last two, grey and of 16 bits, are good


def test_what_cannot_be_used_costs_its_picture(make):
    settings = make("all", images=12)
    assert runner.run(settings, progress=False) == 1
    inverted, edited = rows(settings)
    for name, row in inverted.iterrows():
        assert (row["status"] == "failed") == (name in REASONS) == (edited.loc[name, "status"] == "failed")
        if name in REASONS:
            assert REASONS[name] in row["reason"] and f"foreign/{CELL}/log.txt" in row["reason"]
            assert "no face \\x1b[31m found" in row["reason"] and "\x1b" not in row["reason"]
    assert runner.run(settings, progress=False) == 1  # a link to / is left in its folder, and the run goes on


def test_latents_that_are_no_numbers_cost_their_picture(make):
    settings = make("nan")
    assert runner.run(settings, progress=False) == 1
    inverted, _ = rows(settings)
    assert list(inverted["status"]) == ["ok", "ok", "failed", "ok"]
    assert "expected finite latents" in inverted.loc["toy-02", "reason"]


def test_a_crash_costs_the_picture_that_it_comes_with(make):
    settings = make("crash")
    assert runner.run(settings, progress=False) == 1
    inverted, edited = rows(settings)
    assert list(inverted["status"]) == list(edited["status"]) == ["ok", "ok", "failed", "ok"]
    assert "exit code 134 (SIGABRT)" in inverted.loc["toy-02", "reason"] and "about to fall" in inverted.loc["toy-02", "reason"]


def test_an_edit_may_fail_alone(make):
    settings = make("no edit")
    assert runner.run(settings, progress=False) == 1
    inverted, edited = rows(settings)
    assert set(inverted["status"]) == {"ok"} and list(edited["status"]) == ["ok", "ok", "failed", "ok"]


def test_a_picture_that_hangs_is_cut_off_with_all_its_processes(make):
    settings = make("hang", table=TABLE + "startup = 0.5\n", limit=0.4, workers=None)
    assert runner.run(settings.model_copy(update={"workers": 0}), progress=False) == 1
    inverted, _ = rows(settings)
    assert list(inverted["status"]) == ["ok", "ok", "failed", "ok"]
    assert "took more than" in inverted.loc["toy-02", "reason"]
    files = list(Store(settings.out).foreign(CELL).glob("*/exchange/*/pids"))
    assert files and not [pid for file in files for pid in file.read_text().split() if psutil.pid_exists(int(pid))]


def test_the_process_tree_ends_with_the_run(make, tmp_path):
    make("hang")
    config = tmp_path / "suite.toml"
    config.write_text((tmp_path / "mine.toml").read_text().replace("edits.bright", "edits.smile"))
    words = ["run", "--config", str(config), "--methods", "mine", "--plugin", str(TOYS), "--out", str(tmp_path / "r")]
    words += ["--datasets", "procfaces-test:3", "--metrics", "none", "--edits", "none", "--in-process", "--quiet"]
    script = tmp_path / "code" / "stand_in.py"
    script.write_text(script.read_text().replace('"toy-02"', '"test-0001"'))
    process = subprocess.Popen([sys.executable, "-m", "invbench", *words], preexec_fn=heeding)
    pids: list[int] = []
    deadline = time.monotonic() + 120
    while not pids and time.monotonic() < deadline and process.poll() is None:
        time.sleep(0.2)
        pids = [int(pid) for file in tmp_path.glob("r/foreign/*/0002/exchange/*/pids") for pid in file.read_text().split()]
    assert pids
    process.send_signal(signal.SIGKILL if os.environ.get("HARD") else signal.SIGINT)
    assert process.wait(60) == 130
    while any(map(psutil.pid_exists, pids)) and time.monotonic() < deadline:
        time.sleep(0.2)
    assert not [pid for pid in pids if psutil.pid_exists(pid)]


def test_an_interrupt_that_python_dropped_ends_a_command(monkeypatch, tmp_path):
    monkeypatch.setattr(interrupts, "_noted", [signal.SIGINT])
    words = [sys.executable, "-c", "import time; time.sleep(600)"]
    with pytest.raises(KeyboardInterrupt):
        process.run(words, folder=tmp_path, env={}, log=tmp_path / "log", limit=30, gpu=None, watch=lambda seconds: None)


def test_what_was_made_is_made_once(make):
    settings = make(edits=["none"])
    assert runner.run(settings, progress=False) == 0
    folder = Store(settings.out).foreign(CELL)
    settings = make(edits=["bright:1"])  # more edits of the same pictures: the inversions are there
    assert runner.run(settings, progress=False) == 0
    assert (folder / "log.txt").read_text().count("stand_in.py invert") == 2
    kept = next(folder.glob("0002/exchange/outputs/toy-01.png"))
    kept.write_bytes(b"")
    shutil.rmtree(settings.out / "rows")
    assert runner.run(settings, progress=False) == 0  # what is damaged is made again, and nothing else
    assert (folder / "log.txt").read_text().count("stand_in.py invert") == 3
    assert len(list((folder / "0003" / "exchange" / "inputs").iterdir())) == 1


def test_another_code_in_the_folder_is_another_recipe(make, tmp_path):
    settings = make()
    assert runner.run(settings, progress=False) == 0
    before = rows(settings)[0]["recipe"]
    script = tmp_path / "code" / "stand_in.py"
    script.write_text(script.read_text().replace("// 16 * 16", "// 32 * 32"))
    assert runner.run(settings, progress=False) == 0
    assert not set(before) & set(rows(settings)[0]["recipe"])
    assert len(list((tmp_path / "run" / "superseded").rglob("*.parquet")))


def test_the_digest_of_a_folder_sees_files_and_not_caches(tmp_path):
    (tmp_path / "inner").mkdir()
    (tmp_path / "inner" / "a.py").write_text("1")
    (tmp_path / "inner" / "loop").symlink_to(tmp_path)
    os.mkfifo(tmp_path / "pipe")
    before = code.folder_digest(tmp_path)
    (tmp_path / "__pycache__").mkdir()
    (tmp_path / "__pycache__" / "a.pyc").write_text("2")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "plan.json").write_text("{}")
    assert code.folder_digest(tmp_path) == before
    (tmp_path / "weights.pt").write_text("3")
    assert code.folder_digest(tmp_path) != before == code.folder_digest(tmp_path, ["*.pt"])
    (tmp_path / "inner" / "a.py").write_text("2")
    assert code.folder_digest(tmp_path, ["*.pt"]) != before


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("invert = 'run {inputz}'", "invert: unknown placeholder 'inputz'; did you mean 'inputs'?"),
        ("invert = 'run {inputs:5}'", "expected {NAME}, found braces around 'inputs'"),
        ("invert = []", "at least 1 item"),
        ("edit = 'a \"b'", "No closing quotation"),
        ("startup = 0", "greater than 0"),
        ("comand = 'x'", "unknown key 'comand'"),
        ("options = { seed = 1 }", "'seed': expected a name that no placeholder has"),
        ("folder = 'nowhere'", "folder: expected a folder, found nothing"),
    ],
)
def test_a_table_that_is_none_is_refused(make, line, told):
    key = line.partition(" ")[0]
    kept = [one for one in TABLE.splitlines() if not one.startswith(f"{key} ")]
    with pytest.raises(InvbenchError, match="mine.toml: methods.mine") as error:
        make(table="\n".join([*kept, line.replace("{", "{{").replace("}", "}}")]))
    assert told in str(error.value)


def test_a_program_that_is_not_there_is_told_before_any_work(make):
    settings = make(table=TABLE.replace("{python}", "no-such-program"))
    with pytest.raises(InvbenchError, match="methods.mine.invert: expected a program of this machine, found 'no-such-program'"):
        runner.run(settings, progress=False)
    assert not settings.out.exists()


def test_gpu_memory_is_what_the_driver_tells(make, tmp_path, monkeypatch):
    from invbench.run.foreign.gpu import Gpu

    (tmp_path / "bin").mkdir()
    tool = tmp_path / "bin" / "nvidia-smi"
    tool.write_text('#!/bin/sh\ncase "$1" in *compute*) echo "77, 300"; echo "5, 11";; *) echo "0, 900"; echo "1, 50";; esac\n')
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"), prepend=os.pathsep)
    assert Gpu(1).used([77, 78], at=0.0) == 300 * 2**20
    assert Gpu(1).used([3], at=0.0) == 0  # the device as before
    assert Gpu(None).used([77], at=0.0) == 0
