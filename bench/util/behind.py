"""Pictures that are written behind the computation of the next ones."""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import TracebackType

import numpy as np

from invbench.util.files import write_all
from invbench.util.images import encode_png


class Behind:
    """Encodes and writes pictures in a thread of its own: ``with Behind() as behind:``.

    One batch is written while one more may wait, so that memory stays bounded and a full disk is told soon. ``finish`` returns
    when all is on the disk; what says that pictures are there is to be written after it. Leaving the block awaits the batch
    that is being written and drops one that has not begun: after it nobody writes, however the block was left.
    """

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="behind")
        self._pending: deque[Future[dict[Path, str]]] = deque()
        self._written: dict[Path, str] = {}

    def __enter__(self) -> Behind:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._thread.shutdown(wait=True, cancel_futures=True)

    def write(self, pictures: Mapping[Path, np.ndarray]) -> None:
        """Hand over pictures as :func:`invbench.util.images.encode_png` takes them; nobody may change them any more.

        Returns when there is room for them. Raises WriteFailed where an earlier batch could not be written.
        """
        while len(self._pending) > 1:
            self._take()
        self._pending.append(self._thread.submit(_write, dict(pictures)))

    def finish(self) -> dict[Path, str]:
        """Wait for all that was handed over; the sha256 of each file. Raises WriteFailed where one could not be written."""
        while self._pending:
            self._take()
        return dict(self._written)

    def _take(self) -> None:
        self._written |= self._pending[0].result()
        self._pending.popleft()  # only now: an interrupt while waiting must not make a batch seem written


def _write(pictures: Mapping[Path, np.ndarray]) -> dict[Path, str]:
    files = {path: encode_png(picture) for path, picture in pictures.items()}
    write_all(files)
    return {path: hashlib.sha256(data).hexdigest() for path, data in files.items()}
