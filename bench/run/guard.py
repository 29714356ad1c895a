"""The guard of switches: the first picture of a cell inverted with them and plainly in fp32, and how far the PSNR is apart."""

from __future__ import annotations

import numpy as np

from invbench.run import calls
from invbench.run.plan import Cell, Entry
from invbench.run.session import Tools
from invbench.run.switched import APART, Switched
from invbench.util.clock import StageClock
from invbench.util.images import dequantise, quantise


def run(cell: Cell, entry: Entry, tools: Tools) -> str:
    """A line that says the PSNR [dB] of both, and plainly if they differ by more than APART; or why there is none."""
    method = tools.methods[cell.id]
    name = f"{cell.method}:{cell.preset}"
    if not isinstance(method, Switched):
        return f"{name}: computes plainly in fp32"
    with tools.ledger.spent("data"):
        picture = tools.datasets[cell.dataset].read(entry.index).picture
    images = dequantise(picture[None], tools.device)
    found = []
    try:
        with tools.ledger.spent("methods"):
            for one in (method, method.method):
                with tools.watch.over(calls.Call(cell.id, "guard", None, (entry.name,))):
                    found.append(_psnr(quantise(calls.invert(one, images, StageClock(tools.device)).images)[0], picture))
    except (Exception, GeneratorExit, SystemExit) as error:  # an error of a method does not end the run; its rows tell it too
        return f"{name}: {method.how}: not compared with fp32 on {entry.name}: {type(error).__name__}: {error}"
    own, plain = found
    apart = abs(own - plain) if own != plain else 0.0
    verdict = f"{apart:.2f} dB apart"
    if apart > APART:
        verdict = f"{apart:.2f} dB APART, more than {APART}: do not trust it for this method"
    return f"{name}: PSNR of {entry.name} in {method.how} {own:.2f} dB, in plain fp32 {plain:.2f} dB: {verdict}"


def _psnr(a: np.ndarray, b: np.ndarray) -> float:
    """PSNR [dB] of pictures uint8 [H, W, 3]; inf for equal ones."""
    error = np.square(a.astype(np.float64) - b).mean()
    return float(10 * np.log10(255**2 / error)) if error else float("inf")
