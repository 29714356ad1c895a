"""A program ends with its own exit code, whatever libraries do at their destruction; nothing that was written is lost."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

ABORT = """
import ctypes, sys
libc = ctypes.CDLL(None)
libc.__cxa_atexit(libc.abort, None, None)  # as the destructor of a library that finds its threads still running
sys.argv = ["invbench", *sys.argv[1:]]
"""
LATE = """
import atexit, sys, threading, time
from concurrent.futures import ThreadPoolExecutor
from invbench.util.ending import end

def work():
    time.sleep(0.3)
    print("thread")

threading.Thread(target=work).start()
ThreadPoolExecutor(1)  # an idle pool that nobody shut down must not be waited for without end
kept = open(sys.argv[1], "w")
kept.write("written")
late = threading.Thread(target=time.sleep, args=(60,), daemon=True)
late.start()
atexit.register(print, "atexit")
end(7, tell=lambda error: 99)
"""


def child(code: str, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, timeout=50)


@pytest.mark.skipif(sys.platform != "linux", reason="a function of glibc")
@pytest.mark.parametrize(("words", "code"), [(["list", "suites"], 0), (["no-such-verb"], 2)])
def test_an_abort_at_the_destruction_of_libraries_does_not_change_the_exit_code(words: list[str], code: int) -> None:
    assert child(f"{ABORT}sys.exit(0)").returncode == -signal.SIGABRT  # what the interpreter's own end would do
    done = child(f"{ABORT}from invbench.__main__ import main; main()", *words)
    assert done.returncode == code, done.stderr
    assert "procfaces" in done.stdout or code


def test_threads_are_waited_for_and_open_files_written(tmp_path) -> None:
    done = child(LATE, str(tmp_path / "file.txt"))
    assert (done.returncode, done.stdout.split()) == (7, ["thread", "atexit"]), done.stderr
    assert (tmp_path / "file.txt").read_text() == "written"


def test_an_error_of_a_last_step_has_its_exit_code() -> None:
    full = "import sys; from invbench.util.ending import end; sys.stdout = open('/dev/full', 'w'); print(1); "
    done = child(f"{full}end(0, tell=lambda error: 3)")
    assert done.returncode == 3
