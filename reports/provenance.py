"""The facts that are needed to reproduce the numbers of a run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from invbench.api import printable
from invbench.reports.run import Run


def facts(manifest: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Pairs (name, text) from a manifest; what it lacks is left out."""
    git, machine = manifest.get("git", {}), manifest.get("machine", {})
    seconds = manifest.get("seconds", {})
    memory = machine.get("memory")
    hardware = [machine.get("processor"), machine.get("cores") and f"{machine['cores']} cores"]
    hardware += [memory and f"{memory / 2**30:.0f} GiB", machine.get("system"), machine.get("gpu")]
    pairs = {
        "command": manifest.get("command"),
        "commit": f"{_commit(git)}, with local changes" if git.get("modified") else _commit(git),
        "protocol": f"version {manifest.get('protocol')}, {manifest.get('precision')}, seed {manifest.get('seed')}",
        "device": machine.get("device"),
        "machine": ", ".join(str(part) for part in hardware if part),
        "versions": ", ".join(f"{name} {found}" for name, found in manifest.get("versions", {}).items() if found),
        "started": manifest.get("started"),
        "finished": manifest.get("finished") or "not finished",
    }
    if seconds.get("wall"):
        share = seconds["overhead"] / seconds["wall"]
        pairs["harness overhead"] = f"{share:z.1%} of {seconds['wall']:.0f} s (last call; outside methods and metrics)"
    return [(word, str(text)) for word, text in pairs.items() if text]


def short(run: Run) -> str:
    """One line for the foot of every page."""
    known = dict(facts(run.manifest))
    commit = str(_commit(run.manifest.get("git", {})))[:12]
    parts = [printable(run.store.path.name), known.get("command"), f"commit {commit}", known["protocol"]]
    return " · ".join(str(part) for part in [*parts, known.get("machine"), known["finished"]] if part)


def _commit(git: Mapping[str, Any]) -> Any:
    return git.get("commit") or "not a checkout"
