"""The manifests of several runs as one: what all must share, and what each call took and where."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from invbench.api import InvbenchError

Manifests = Sequence[tuple[str, Mapping[str, Any]]]
"""The name of each run (its folder, for messages) and the content of its ``manifest.json``."""

WHOLE = ("format", "protocol", "precision")
ALIKE = {"methods": ("options",), "metrics": ("recipe",), "edits": ("unit", "per_strength", "region"), "weights": ("sha256",)}
"""What of an item must be the same in every run: what its numbers depend on, and no titles."""
GATHERED = (*ALIKE, "datasets", "protocols", "configuration")
CALL = (
    "command", "started", "finished", "seed", "configuration", "workers", "seconds", "work",
    "machine", "machines", "versions", "git",
)  # fmt: skip

SAME = ("command", "started", "machine")  # in a call that was killed and in the one that continued it


def together(manifests: Manifests) -> dict[str, Any]:
    """One manifest, as :func:`invbench.run.manifest.build` writes them but for ``metric_failures``; ``merge`` is true.

    runs      of each call of ``invbench run``: its command, machine, versions, commit, times; each once, however often merged
    seconds   the sums over these, and so with ``work``; ``wall`` and ``overhead`` too: processes may have run beside each other
    machines  all on which rows were made; ``machine`` is the first

    Raises InvbenchError naming two runs and the first key in which they must not differ.
    """
    (first, manifest), *others = manifests
    for name, other in others:
        for key in WHOLE:
            _expect_same(f"{name}: {key}", first, manifest.get(key), other.get(key))
    gathered = {key: _gathered(key, manifests) for key in GATHERED}
    calls = _calls(manifests)
    seeds = [call["seed"] for call in calls if call["seed"] is not None]
    for name, other in manifests:
        if seeds and other.get("seed") is not None:
            _expect_same(f"{name}: seed", first, seeds[0], other["seed"])
    reasons = {id: why for _, one in manifests for id, why in one.get("unavailable", {}).items()}
    ended = [call["finished"] for call in calls]
    seconds, work = Counter[str](), Counter[str]()
    for call in calls:
        seconds.update(call["seconds"] or {})
        work.update(call["work"] or {})
    return {
        **{key: manifest.get(key) for key in WHOLE},
        **gathered,
        "suite": manifest["suite"],
        "merge": True,
        "runs": calls,
        "command": "; ".join(filter(None, _each(call["command"] for call in calls))),
        "seed": seeds[0] if seeds else None,
        "started": min(filter(None, (call["started"] for call in calls)), default=None),
        "finished": max(ended) if ended and all(ended) else None,
        "unavailable": {id: why for id, why in reasons.items() if id not in gathered["metrics"]},
        "workers": max((call["workers"] or 1 for call in calls), default=1),
        "seconds": dict(seconds),
        **({"work": dict(work)} if work else {}),
        "machine": next((call["machine"] for call in calls), None),
        "machines": _each(machine for call in calls for machine in call["machines"] or []),
        "versions": _words(call["versions"] or {} for call in calls),
        "git": {**_words({"commit": (call["git"] or {}).get("commit")} for call in calls), "modified": _modified(calls)},
    }


def _gathered(key: str, manifests: Manifests) -> dict[str, Any]:
    """The items of all runs under a key; of one that several have, that of the first."""
    found: dict[str, tuple[str, Any]] = {}
    for name, manifest in manifests:
        for id, item in (manifest.get(key) or {}).items():
            other, known = found.setdefault(id, (name, item))
            for part in ALIKE.get(key, ()):
                _expect_same(f"{name}: {key}: {id}: {part}", other, (known or {}).get(part), (item or {}).get(part))
    return {id: item for id, (_, item) in found.items()}


def _calls(manifests: Manifests) -> list[dict[str, Any]]:
    """The calls of all runs, each once; of one that was killed and continued, what it took last."""
    found: list[dict[str, Any]] = []
    for _, manifest in manifests:
        own = [] if manifest.get("merge") else [{key: manifest.get(key) for key in CALL}]
        earlier = [{**dict.fromkeys(CALL), **call} for call in manifest.get("runs", [])]  # older ones lack some keys
        found += [call for call in [*earlier, *own] if call not in found]
    ended = [[call[key] for key in SAME] for call in found if call["finished"]]
    return [call for call in found if call["finished"] or [call[key] for key in SAME] not in ended]


def _expect_same(where: str, first: str, expected: object, found: object) -> None:
    if expected != found:
        raise InvbenchError(f"{where}: expected that of {first}, {_short(expected)}, found {_short(found)}")


def _short(value: object) -> str:
    return value if isinstance(value, str) else f"{value!r:.300}"


def _each(values: Iterable[Any]) -> list[Any]:
    found: list[Any] = []
    for value in values:
        if value not in found:
            found.append(value)
    return found


def _words(ones: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Of each key the value of all, or all values in one text where they differ."""
    found: dict[str, list[Any]] = {}
    for one in ones:
        for key, value in one.items():
            if value not in found.setdefault(key, []):
                found[key].append(value)
    return {key: values[0] if len(values) == 1 else ", ".join(map(str, values)) for key, values in found.items()}


def _modified(calls: Sequence[Mapping[str, Any]]) -> bool | None:
    states = [(call["git"] or {}).get("modified") for call in calls]
    return True if any(states) else next(iter(states), None)
