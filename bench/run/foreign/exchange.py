"""The folder of one start of a foreign command: what is put there, and what is taken from it.

What a command left is read as a stranger's: a file is opened only if it is one (no link, device or FIFO, at its end or on the
way), only up to the size that the picture can have, and checked before it is used.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import shutil
import stat
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor

from invbench.api import STAGES, Edit, InvbenchError
from invbench.plugins.registry import load_callable
from invbench.schema import signed
from invbench.util.files import file_name, write_all
from invbench.util.images import SIGNATURE, SLACK

RECORD = "start.json"
PIXEL = 8  # bytes of a pixel of 16 bits with alpha
LATENTS = 2**26  # bytes of a file of latents
TIMES = 2**24  # bytes of times.json


@dataclass(frozen=True)
class Exchange:
    """The exchange of a start; paths in it are those of :mod:`invbench.run.foreign`."""

    path: Path

    def place(self, name: str) -> Path:
        """The path of one of its folders."""
        return self.path / name

    def make(self) -> None:
        """Make its folders."""
        for name in ("inputs", "outputs", "latents", "edits", "work"):
            self.place(name).mkdir(parents=True)

    def put(self, pictures: Mapping[str, bytes]) -> None:
        """Write pictures, name -> PNG, among the inputs."""
        write_all({self.place("inputs") / f"{file_name(name)}.png": data for name, data in pictures.items()})

    def ask(self, edits: Sequence[tuple[Edit, str, float]]) -> None:
        """Write which edits are asked for, with their foreign names and strengths, and make their folders."""
        asked = [{"name": name, "strength": factor, "folder": f"edits/{edit_folder(edit)}"} for edit, name, factor in edits]
        write_all({self.path / "edits.json": json.dumps(asked, indent=1).encode()})
        for edit, _, _ in edits:
            with suppress(FileExistsError):
                self._folder(edit).mkdir()

    def hold(self, names: Sequence[str]) -> None:
        """Leave only these pictures among the inputs and outputs: a file that was refused must harm no other command."""
        kept = {f"{file_name(name)}.png" for name in names}
        for path in (*self.place("inputs").iterdir(), *self.place("outputs").iterdir()):
            if path.name not in kept:
                if path.is_dir() and not path.is_symlink():
                    shutil.rmtree(path, ignore_errors=True)
                else:
                    path.unlink()

    def count(self, edit: Edit | None) -> int:
        """How many pictures there are so far, for the eye."""
        try:
            with os.scandir(self._folder(edit)) as found:
                return sum(one.name.endswith(".png") for one in found)
        except OSError:
            return 0

    def picture(self, name: str, edit: Edit | None, size: tuple[int, int]) -> tuple[np.ndarray, str]:
        """A picture, uint8 [H, W, 3], and the sha256 of its file. Raises InvbenchError for one that cannot be used.

        size  height and width of the original in pixels
        """
        path = self._folder(edit) / f"{file_name(name)}.png"
        data, where = self._read(path, most=math.prod(size) * PIXEL + SLACK), self._relative(path)
        if not data.startswith(SIGNATURE):
            raise InvbenchError(f"{where}: expected a PNG file, found another kind")
        picture = load_callable("invbench.datasets.decode:decode_bytes")(data, where)
        if picture.shape[:2] != size:
            (height, width), (h, w) = size, picture.shape[:2]
            raise InvbenchError(f"{where}: expected {width}x{height} pixels as the original, found {w}x{h}; nothing is resized")
        return picture, hashlib.sha256(data).hexdigest()

    def latents(self, name: str) -> Tensor | None:
        """The latents [L, D] of a picture, float32; None if there is no file. Raises InvbenchError for unusable ones."""
        path = self.place("latents") / f"{file_name(name)}.safetensors"
        if not os.path.lexists(path):
            return None
        data, where = self._read(path, most=LATENTS), self._relative(path)
        try:
            tensors = safetensors.torch.load(data)
        except (SafetensorError, ValueError, KeyError, TypeError) as error:
            raise InvbenchError(f"{where}: expected a safetensors file: {' '.join(str(error).split())[:200]}") from error
        found = tensors.get("latents")
        if found is None:
            raise InvbenchError(f"{where}: expected a tensor 'latents', found {', '.join(sorted(tensors)[:5])!r:.200}")
        whole = found[0] if found.ndim == 3 and len(found) == 1 else found
        if whole.ndim != 2 or not whole.is_floating_point() or whole.numel() == 0:
            raise InvbenchError(f"{where}: expected floats [L, D], found {whole.dtype} {list(whole.shape)}")
        if not bool(torch.isfinite(whole.float()).all()):
            raise InvbenchError(f"{where}: expected finite latents, found NaN or infinite ones")
        return whole.float()

    def times(self, edit: Edit | None) -> dict[str, dict[str, float]]:
        """Seconds of each picture by stage, as the command told them; empty if it told none.

        Raises InvbenchError for a file that is no such table.
        """
        path = self.place("times.json") if edit is None else self._folder(edit) / "times.json"
        if not os.path.lexists(path):
            return {}
        where = self._relative(path)
        try:
            table = json.loads(self._read(path, most=TIMES))
        except (ValueError, RecursionError) as error:
            raise InvbenchError(f"{where}: expected JSON: {' '.join(str(error).split())[:200]}") from error
        if not isinstance(table, dict):
            raise InvbenchError(f"{where}: expected NAME -> seconds, found {type(table).__name__}")
        return {name: dict(_stages(where, name, one, "refine" if edit is None else "edit")) for name, one in table.items()}

    def end(self) -> None:
        """Remove the folder and all that is in it; links are removed, not followed."""
        shutil.rmtree(self.path, ignore_errors=True)

    def _folder(self, edit: Edit | None) -> Path:
        return self.place("outputs") if edit is None else self.place("edits") / edit_folder(edit)

    def _relative(self, path: Path) -> str:
        return path.relative_to(self.path).as_posix()

    def _read(self, path: Path, *, most: int) -> bytes:
        """The bytes of a plain file. Raises InvbenchError with what there is instead."""
        where = self._relative(path)
        for one in (*reversed(path.parents[: len(path.relative_to(self.path).parts) - 1]), path):
            if one.is_symlink():
                raise InvbenchError(f"{where}: expected a file of the command, found a link")
        # O_NONBLOCK: opening a FIFO must not wait for a writer
        flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
        try:
            descriptor = os.open(path, flags)
        except FileNotFoundError:
            raise InvbenchError(f"{where}: expected a file, found none") from None
        except OSError as error:
            raise InvbenchError(f"{where}: expected a file, found what cannot be opened: {error.strerror}") from error
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise InvbenchError(f"{where}: expected a file, found a device, FIFO or folder")
        with open(descriptor, "rb") as handle:
            data = handle.read(most + 1)
        if len(data) > most:
            raise InvbenchError(f"{where}: expected at most {most} bytes, found more")
        return data


def edit_folder(edit: Edit) -> str:
    """The folder of an edit below ``edits``: ``age_+3``."""
    return f"{file_name(edit.name)}_{signed(edit.strength)}"


def _stages(where: str, name: str, found: Any, usual: str) -> Iterator[tuple[str, float]]:
    for stage, seconds in (found if isinstance(found, dict) else {usual: found}).items():
        if stage not in STAGES:
            raise InvbenchError(f"{where}: {name!r:.80}: expected stages of {', '.join(STAGES)}, found {stage!r:.80}")
        if type(seconds) not in (int, float) or not math.isfinite(seconds) or seconds < 0:
            raise InvbenchError(f"{where}: {name!r:.80}.{stage}: expected seconds, 0 or more, found {seconds!r:.80}")
        yield stage, float(seconds)
