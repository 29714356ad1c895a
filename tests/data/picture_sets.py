"""Datasets that workers of the tests build: pictures that decode, fail or kill their process."""

from __future__ import annotations

import hashlib
import os
import time
from pathlib import Path

import numpy as np

from invbench.api import InvbenchError, Sample


class Odd(Exception):
    """An exception that another process cannot rebuild."""

    def __init__(self, first, second):
        super().__init__(f"{first} and {second}")


class Numbers:
    """``count`` pictures; those at ``trouble`` (index -> kind) go wrong. Every read leaves a file in ``log``."""

    def __init__(self, *, count, trouble=None, log="", sleep=0.0, broken=False):
        if broken and os.environ.get("INVBENCH_TEST_PARENT") != str(os.getpid()):
            os._exit(7)
        self.names = [f"{index:03d}" for index in range(count)]
        self._trouble, self._log, self._sleep = trouble or {}, log, sleep

    def read(self, index):
        if self._log:
            Path(self._log, f"{index:03d}-{os.getpid()}").touch()
        time.sleep(self._sleep)
        kind = self._trouble.get(index, "")
        if kind == "error":
            raise InvbenchError(f"{index}.png: the image is corrupt")
        if kind == "odd":
            raise Odd(index, "odd")
        if kind == "value":
            raise ValueError("a value")
        if kind == "die":
            os._exit(9)
        picture = np.full((4, 4, 3), index, np.uint8)
        return Sample(picture, self.names[index], hashlib.sha256(picture.tobytes()).hexdigest())

    def truth(self, index, edit):
        return np.full((4, 4, 3), index, np.uint8)
