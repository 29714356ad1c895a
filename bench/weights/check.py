"""Verification of an official file: every byte is read again and every network is built."""

from __future__ import annotations

from invbench.api import InvbenchError, MissingWeights
from invbench.plugins.config import NetworkConfig
from invbench.util.provenance import file_digest
from invbench.weights import build, fetch, proof
from invbench.weights.cache import WeightsCache
from invbench.weights.catalogue import Asset
from invbench.weights.conversion import trace


def verify(asset: Asset, cache: WeightsCache, *, detailed: bool = False) -> list[str]:
    """Verify a file. Returns a report in lines: the file and the reference of its sha256, then each network built from it.

    Raises MissingWeights if the file is not on this machine, and InvbenchError if its bytes differ from the published, recorded
    or indexed ones, or if a network does not fit.
    """
    found = cache.find(asset.id)
    now = file_digest.__wrapped__(found.path)  # read from the bytes, not from the index
    if now != found.sha256:
        raise InvbenchError(
            f"{found.path}: its bytes changed though size and date did not: expected sha256 {found.sha256}, found {now}"
        )
    recorded = cache.ledger.sha256(asset.id)
    fetch.check_digest(asset, found, recorded)
    lines = [f"{found.path}, {found.size / 1e6:.1f} MB, sha256 {found.sha256} ({_compared(asset, recorded)})"]
    proof.check_tensors(found.path)
    for part in proof.parts(asset, found):
        try:
            with proof.told(found.path, part):
                report = trace(build.resolve(NetworkConfig(asset=asset.id, part=part), cache))
        except MissingWeights as error:
            lines.append(f"{part}: not built: {error}")
            continue
        counts = f"{len(report.taken)} tensors taken, {len(report.made)} made, {len(report.unused)} not used"
        lines.append(f"{part}: {report.network}, {counts}")
        lines += [f"  {line}" for line in report.lines()] if detailed else [f"  note: {note}" for note in report.notes]
    return lines


def _compared(asset: Asset, recorded: str | None) -> str:
    """The reference that the digest was found to equal, as text."""
    if asset.published:
        return "as published"
    if recorded:
        return "as recorded"
    if asset.sha256 or asset.md5:
        return f"begins as published ({' or '.join(asset.sha256) or f'md5 {asset.md5}'})"
    return "none is published or recorded to compare it with"
