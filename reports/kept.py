"""Cache of the statistics of large runs, in the run folder: the next command reads what an earlier one has computed.

``RUN/statistics/<name>.json`` holds the intervals and ranks of blocks. Its first line holds the sha256 of the values and of
everything else that the figures depend on. If the sha256 differs or the file is damaged, the statistics are computed again. If
the file cannot be written, nothing is cached. Figures are the same with and without the cache.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from invbench.compare import bootstrap, signs, stats
from invbench.compare.stats import Comparison, Interval, Ranking
from invbench.reports import compare
from invbench.reports.compare import Block, Compared, Mean
from invbench.util.files import WriteFailed, write_atomic
from invbench.util.provenance import file_digest

FOLDER = "statistics"
LARGE = 2**18  # values in all blocks; for fewer, computing is faster than writing a file


def compared(
    folder: Path, name: str, found: Sequence[Block], better: Mapping[str, str], *, flips: int = compare.FLIPS
) -> list[Compared]:
    """:func:`invbench.reports.compare.compare` of the blocks ``name`` of the run ``folder``, from the cache if it is valid."""
    if sum(block.values.size for block in found) < LARGE:
        return compare.compare(found, better, flips=flips)
    path, key = folder / FOLDER / f"{name}.json", _key(found, better, flips)
    with suppress(OSError):
        head, _, body = path.read_bytes().partition(b"\n")
        if head == _head(key, body):
            return [_restored(block, raw) for block, raw in zip(found, json.loads(body), strict=True)]
    results = compare.compare(found, better, flips=flips)
    body = json.dumps([_plain(one) for one in results], separators=(",", ":")).encode()
    with suppress(WriteFailed):  # a full disk, or a read-only run folder
        write_atomic(path, _head(key, body) + b"\n" + body)
    return results


def _key(found: Sequence[Block], better: Mapping[str, str], flips: int) -> str:
    """sha256 of all that the figures depend on: the blocks, the settings and the code."""
    code = [file_digest(Path(str(module.__file__))) for module in (stats, signs, bootstrap, compare)]
    libraries = [version(name) for name in ("numpy", "scipy")]
    settings = [compare.SEED, compare.FEW, stats.LEVEL, stats.RESAMPLES, flips]
    hashed = hashlib.sha256(json.dumps([code, libraries, settings]).encode())
    for block in found:
        head = [block.place, block.metric, better[block.metric], block.methods, block.images, block.values.shape]
        hashed.update(json.dumps(head).encode())
        hashed.update(np.ascontiguousarray(block.values, dtype=np.float64).tobytes())
    return hashed.hexdigest()


def _head(key: str, body: bytes) -> bytes:
    return f"{key} {hashlib.sha256(body).hexdigest()}".encode()


def _plain(one: Compared) -> list[Any]:
    means = []
    for mean in (one.means[method] for method in one.block.methods):
        at = mean.interval
        interval = [at.value, at.low, at.high, at.n, at.missing, at.infinite]
        means.append([interval, mean.own, mean.compared, mean.ranks, mean.finite])
    if one.ranking is None:
        return [means, None]
    comparisons = [[c.first, c.second, c.difference, c.p, c.adjusted, c.distinct] for c in one.ranking.comparisons]
    ranking = one.ranking
    return [means, [ranking.order, ranking.ranks, comparisons, ranking.n, ranking.left_out, ranking.decidable]]


def _restored(block: Block, raw: list[Any]) -> Compared:
    means = {
        method: Mean(Interval(*interval), own, is_compared, tuple(ranks), finite)
        for method, (interval, own, is_compared, ranks, finite) in zip(block.methods, raw[0], strict=True)
    }
    if raw[1] is None:
        return Compared(block, means, None)
    order, ranks, comparisons, *rest = raw[1]
    places = {name: tuple(own) for name, own in ranks.items()}
    return Compared(block, means, Ranking(tuple(order), places, tuple(Comparison(*one) for one in comparisons), *rest))
