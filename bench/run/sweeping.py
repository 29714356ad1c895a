"""Run the points of a sweep, each in a run folder of its own, so that an interrupted sweep continues where it stopped."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from invbench import swept
from invbench.api import InvbenchError
from invbench.plugins import pairs, selection
from invbench.plugins.config import NetworkConfig, RunSettings, Suite
from invbench.plugins.registry import Registry
from invbench.plugins.sweeps import Point, Sweep
from invbench.run import runner
from invbench.util.files import LEFT

TRAIN = "python -m invbench.methods.train"


@dataclass(frozen=True)
class Planned:
    """A point with the settings of its run, or with the reason why it cannot be measured here."""

    point: Point
    settings: RunSettings | None
    reason: str = ""


@dataclass(frozen=True)
class Asked:
    """How a sweep is run: as :func:`invbench.plugins.selection.settings` has it.

    images  the first so many of the dataset; None: all
    workers processes that do the work of a point; None: this one, and one of its own for plug-ins
    zoo     a folder that is searched for networks of points before the package's zoo
    """

    images: int | None
    device: str = "auto"
    workers: int | None = None
    seed: int = 0
    dataset: str = ""
    fresh: bool = False
    zoo: Path | None = None
    configuration: Mapping[str, str] | None = None


def plan(sweep: Sweep, suite: Suite, registry: Registry, *, out: Path, asked: Asked) -> list[Planned]:
    """The points of a sweep in its order.

    Raises InvbenchError naming the point for what is wrong in it, before any work, and for a suite that it is not meant for.
    """
    if sweep.only and suite.id != sweep.suite:
        told = f"expected suite {sweep.suite}, whose networks and units its points name, found {suite.id}"
        raise InvbenchError(f"sweep {sweep.name}: {told}")
    return [_planned(sweep, point, suite, registry, out / point.name, asked) for point in sweep.point]


def write(sweep: Sweep, planned: list[Planned], *, out: Path, asked: Asked) -> None:
    """Write ``sweep.json``. Raises InvbenchError for a folder that holds anything but this sweep, and if no point can run."""
    able = [one.settings for one in planned if one.settings is not None]
    if not able:
        lines = "; ".join(f"{one.point.name}: {one.reason}" for one in planned)
        raise InvbenchError(f"sweep {sweep.name}: none of its points can be measured here: {lines}")
    if out.exists() and not out.is_dir():
        raise InvbenchError(f"{out}: expected a folder, found a file")
    known = (out / swept.FILE).is_file()
    if known and (name := swept.read(out)["name"]) != sweep.name:
        raise InvbenchError(f"{out}: expected the folder of sweep {sweep.name}, found that of {name}; choose another --out")
    if not known and out.is_dir() and any(not LEFT.fullmatch(item.name) for item in out.iterdir()):
        raise InvbenchError(f"{out}: expected the folder of a sweep or an empty one, found others' files and no {swept.FILE}")
    first = able[0]
    swept.write(
        out,
        {
            "format": 1,
            **{name: getattr(sweep, name) for name in ("name", "title", "source", "about", "axis", "log")},
            "suite": first.suite.id,
            "dataset": first.datasets[0].id,
            "images": asked.images,
            "metrics": [spec.id for spec in first.metrics],
            "edits": [{"name": edit.name, "strength": float(edit.strength)} for edit in first.edits],
            "points": [_described(sweep, one) for one in planned],
        },
    )


def run(planned: list[Planned], *, progress: bool, say: Callable[[str], None]) -> int:
    """Run the points that can be measured. Returns 0, 1 if images failed, or the code of the point at which it stopped."""
    worst, able = 0, [one for one in planned if one.settings is not None]
    for one in planned:
        if one.settings is None:
            say(f"without {one.point.name}: {one.reason}")
    for number, one in enumerate(able, 1):
        assert one.settings is not None
        say(f"point {number} of {len(able)}: {one.point.label or one.point.name}")
        code = runner.run(one.settings, progress=progress)
        if code not in (0, 1):
            return code
        worst = max(worst, code)
    return worst


def _planned(sweep: Sweep, point: Point, suite: Suite, registry: Registry, out: Path, asked: Asked) -> Planned:
    where = f"sweep {sweep.name}: point {point.name}"
    try:
        spec = pairs.find(point.method.partition(":")[0], registry.methods)
        reason = next((suite.without[leaf.id] for leaf in pairs.leaves(spec) if leaf.id in suite.without), "")
        lacking = next((role for role in spec.roles if role not in suite.networks), None)
        if lacking is not None:
            reason = f"suite {suite.id} has no network for the role {lacking!r}, which {spec.id} needs"
        own: dict[str, NetworkConfig] = {}
        for role, name in point.networks.items():
            found = _own_network(suite, role, name, asked.zoo)
            if found is None:
                reason = reason or f"its network {name} is not trained here; {TRAIN} {point.train} does it"
            else:
                own[role] = found
        if reason:
            return Planned(point, None, reason)
        settings = selection.settings(
            suite.model_copy(update={"networks": suite.networks | own}) if own else suite,
            registry,
            methods=[point.method],
            datasets=[asked.dataset or _dataset(sweep, suite)],
            metrics=metrics(suite, registry, sweep.metrics),
            edits=sweep.edits or ["none"],
            images=asked.images,
            overrides=point.set,
            device=asked.device,
            workers=asked.workers or 0,
            seed=asked.seed,
            out=out,
            fresh=asked.fresh,
            configuration=asked.configuration,
        )
    except InvbenchError as error:
        raise InvbenchError(f"{where}: {error}") from error
    if len(settings.datasets) != 1:
        raise InvbenchError(f"{where}: expected one dataset, found {', '.join(choice.id for choice in settings.datasets)}")
    if asked.workers is None and settings.strangers():
        settings = settings.model_copy(update={"workers": 1})
    return Planned(point, settings)


def metrics(suite: Suite, registry: Registry, names: tuple[str, ...]) -> list[str]:
    """Ids of metrics: for a family ("lpips") the first of the suite's default metrics that belongs to it; others as named."""
    usual = selection.choose_metrics(suite, (), registry, round_trips=False)
    exact = {name for spec in registry.metrics.values() for name in (spec.id, spec.name)}
    found = []
    for name in names:
        own = next((spec.id for spec in usual if spec.name == name or spec.name.startswith(f"{name}_")), None)
        found.append(name if own is None or (name in exact and own.partition("@")[0] != name) else own)
    return found


def _own_network(suite: Suite, role: str, name: str, zoo: Path | None) -> NetworkConfig | None:
    """The suite's network of a role with other weights; None if there is no such file."""
    usual = suite.networks.get(role)
    if usual is None or usual.cls is None:
        return None
    folders = [*([zoo] if zoo else []), *([usual.weights.parent] if usual.weights is not None else [])]
    path = next((folder / f"{name}.safetensors" for folder in folders if (folder / f"{name}.safetensors").is_file()), None)
    return None if path is None else usual.model_copy(update={"weights": path})


def _dataset(sweep: Sweep, suite: Suite) -> str:
    if sweep.dataset and sweep.suite == suite.id:
        return sweep.dataset
    return suite.collections[suite.default][0].partition(":")[0]


def _described(sweep: Sweep, one: Planned) -> dict[str, Any]:
    point, settings = one.point, one.settings
    return {
        "name": point.name,
        "label": point.label or point.name,
        "line": point.line,
        "x": point.x,
        "method": point.method.partition(":")[0],
        "preset": settings.methods[0].preset if settings is not None else "",
        "settings": list(point.set),
        "reason": one.reason,
        "printed": {**sweep.printed, **point.printed} if point.printed else {},
    }
