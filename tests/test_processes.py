"""The processes of a program, of training and of the tests: how their threads wait, how many there are, when they are ended."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from invbench.util.startup import ENVIRONMENT, settle
from tests.checkout import PROJECT
from tests.conftest import MOST, pytest_xdist_auto_num_workers

RUN = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider"]
OURS = {*ENVIRONMENT, "OMP_NUM_THREADS", "PYTEST_XDIST_WORKER"}


def child(command: list[str], folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """A process that inherits neither the policy nor the number of threads of this one."""
    clean = {name: value for name, value in os.environ.items() if name not in OURS} | {"PYTHONPATH": os.pathsep.join(sys.path)}
    return subprocess.run(command, env=clean | environment, cwd=folder, capture_output=True, text=True, timeout=120)


@pytest.mark.parametrize(
    ("program", "command"), [("invbench.cli", "list methods"), ("invbench.methods.train.__main__", "--list")]
)
def test_a_program_settles_its_threads_before_torch_is_loaded(program: str, command: str) -> None:
    code = f"from {program} import main; main({command.split()}, standalone_mode=False); import os, sys; "
    code += f"print(); print('torch' in sys.modules, *(os.environ[name] for name in {list(ENVIRONMENT)}))"
    done = child([sys.executable, "-c", code], PROJECT)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.splitlines()[-1] == " ".join(["False", *ENVIRONMENT.values()])


def test_threads_of_a_test_process_sleep_and_are_one_where_there_are_others() -> None:
    command = [*RUN, "-s", "--collect-only", "-q", "tests/methods/test_losses.py"]  # which imports torch
    done = child(command, PROJECT, OMP_DISPLAY_ENV="verbose", PYTEST_XDIST_WORKER="gw0")
    assert done.returncode == 0, done.stderr[-2000:]
    if "GOMP_SPINCOUNT" not in done.stderr:
        pytest.skip("torch brings another OpenMP here than GNU's")
    for line in ("OMP_WAIT_POLICY = 'PASSIVE'", "GOMP_SPINCOUNT = '0'", "OMP_NUM_THREADS = '1'"):
        assert line in done.stderr


def test_what_the_user_has_set_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_WAIT_POLICY", "active")
    monkeypatch.delenv("GOMP_SPINCOUNT", raising=False)
    settle()
    assert os.environ["OMP_WAIT_POLICY"] == "active" and os.environ["GOMP_SPINCOUNT"] == "0"


@pytest.mark.parametrize(
    ("cores", "chosen", "processes"),
    [
        (1, "not slow and not gpu and not perf", 0),
        (2, "not slow and not gpu and not perf", 2),
        (64, "slow", MOST),
        (2, "perf", 0),
        (2, "slow or perf", 0),
        (2, "gpu and not perf", 0),
    ],
)
def test_the_cores_are_used_except_where_speed_is_measured(
    monkeypatch: pytest.MonkeyPatch, cores: int, chosen: str, processes: int
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(cores)))
    config = SimpleNamespace(getoption=lambda name: {"-m": chosen}[name])
    assert pytest_xdist_auto_num_workers(config) == processes  # type: ignore[arg-type]


def test_a_test_that_hangs_in_compiled_code_is_named(tmp_path: Path) -> None:
    text = "import hashlib\n\ndef test_endless():\n    hashlib.pbkdf2_hmac('sha256', b'', b'', 2**31 - 1)\n"
    (tmp_path / "test_hang.py").write_text(text)
    settings = ["-c", str(PROJECT / "pyproject.toml"), "--rootdir", str(tmp_path), "-o", "timeout=1"]
    alone = child([*RUN, *settings, "test_hang.py"], tmp_path)
    assert alone.returncode != 0 and "Timeout" in alone.stdout and "in test_endless" in alone.stdout
    (tmp_path / "test_other.py").write_text("def test_other():\n    pass\n")
    many = child([*RUN, *settings, "-n", "1", "test_hang.py", "test_other.py"], tmp_path)
    assert "worker 'gw0' crashed while running 'test_hang.py::test_endless'" in many.stdout
    assert "1 failed, 1 passed" in many.stdout  # the others go on
