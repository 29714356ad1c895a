"""Writing of pictures in a second thread, while the next ones are computed."""

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
    """Encodes and writes pictures in its own thread: ``with Behind() as behind:``.

    bounded  at most one batch waits while another is written, which bounds memory and reports a full disk soon

    ``finish`` returns when all pictures are on the disk; rows that refer to them must be written after it. Leaving the block,
    with or without an error, waits for the batch that is being written and drops those that have not begun, so nothing is
    written after it.
    """

    def __init__(self, *, bounded: bool = True) -> None:
        self._bounded = bounded
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="behind")
        self._pending: deque[Future[dict[Path, str]]] = deque()
        self._written: dict[Path, str] = {}

    def __enter__(self) -> Behind:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._thread.shutdown(wait=True, cancel_futures=True)

    def write(self, pictures: Mapping[Path, np.ndarray]) -> None:
        """Queue pictures, uint8 [H, W, 3] or [H, W] by path, for writing; the caller must not change them afterwards.

        Returns when there is room for them. Raises WriteFailed if an earlier batch could not be written.
        """
        while self._bounded and len(self._pending) > 1:
            self._take()
        self._pending.append(self._thread.submit(_write, dict(pictures)))

    def finish(self) -> dict[Path, str]:
        """Wait until all pictures are written. Returns the sha256 of each file. Raises WriteFailed if one was not written."""
        while self._pending:
            self._take()
        return dict(self._written)

    def _take(self) -> None:
        self._written |= self._pending[0].result()
        self._pending.popleft()  # after the result: an interrupt while waiting must not make a batch seem written


def _write(pictures: Mapping[Path, np.ndarray]) -> dict[Path, str]:
    files = {path: encode_png(picture) for path, picture in pictures.items()}
    write_all(files)
    return {path: hashlib.sha256(data).hexdigest() for path, data in files.items()}
