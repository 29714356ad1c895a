from __future__ import annotations

import platform
import subprocess
import sys

import pytest

from invbench.util import memory

SCRIPT = """
import resource
from invbench.util.memory import keep_freed_memory
assert keep_freed_memory() or not {keep}
def faults():
    buffer = bytearray(2**26)
    del buffer
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(8):
        buffer = bytearray(b"x") * 2**26
        del buffer
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
print(faults())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="a policy of glibc")
def test_a_buffer_is_not_faulted_in_again() -> None:
    def faults(script: str) -> int:
        return int(subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True).stdout)

    kept, plain = faults(SCRIPT.format(keep=True)), faults(SCRIPT.replace("keep_freed_memory() or", "").format(keep=False))
    assert kept < plain / 4


def test_another_library_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "libc_ver", lambda: ("", ""))
    monkeypatch.setattr(memory.ctypes, "CDLL", None)
    assert memory.keep_freed_memory() is False
