"""Names as a user writes them -> :class:`invbench.plugins.config.RunSettings`, in which nothing is left to look up.

    methods    pti   pti:released            every value = defaults <- preset <- suite's section <- --set
               pti+e4e   pti+e4e:paper       a refinement over another embedder than its published one
               all                           every method that the suite supports
    datasets   procfaces-test   procfaces-test:8   quick (a collection of the suite)
               celebahq-test:random100 (a subset, the dataset celebahq-test-random100)   ./my_photos   ./my_photos:8
               ./a:12 is the folder of that name where there is one, else 12 pictures of ./a   s3://bucket/photos:12
    metrics    mse@psp256   mse (its protocol native, or its only one)   @pixel   @pixel@psp256   none
    edits      age (all strengths of the suite)   age:3   age:-1.5   smile+eye_openness:2 (both at once, each by 2)   none
               age@ganspace   age@ganspace:2          by another source of directions than the suite's own
"""

from __future__ import annotations

import ast
import hashlib
import math
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from invbench.api import InvbenchError, printable
from invbench.options import laid_over
from invbench.plugins import edit_names, pairs
from invbench.plugins.config import Compilations, DatasetChoice, Executors, MethodChoice, Precisions, RunSettings, Suite
from invbench.plugins.pairs import default_preset
from invbench.plugins.registry import Registry, find, find_metric
from invbench.specs import DatasetSpec, MethodSpec, MetricSpec
from invbench.util.names import is_folder, says_folder, unknown
from invbench.util.numbers import LARGEST
from invbench.util.numbers import count as counted
from invbench.util.remote import Remote, fetch, is_address

EVERY = "all"  # in place of methods: all that the suite supports
Layer = tuple[Mapping[str, Any], Callable[[str], str]]  # values of options, and the place where one is set


def settings(
    suite: Suite,
    registry: Registry,
    *,
    methods: Sequence[str] = (),
    datasets: Sequence[str] = (),
    metrics: Sequence[str] = (),
    edits: Sequence[str] = (),
    consistency: Sequence[str] = (),
    images: int | None = None,
    batch: int | None = None,
    latency: int = 0,
    curves: bool = False,
    workers: int | None = 0,
    threads: int = 1,
    precision: Precisions = "fp32",
    compile: Compilations = "off",
    executor: Executors = "local",
    asked: Sequence[str] = (),
    limit: float | None = None,
    readers: int | None = None,
    device: str,
    seed: int,
    out: Path | None = None,
    share: tuple[int, int] | None = None,
    fresh: bool = False,
    preset: str | None = None,
    overrides: Sequence[str] = (),
    configuration: Mapping[str, str] | None = None,
) -> RunSettings:
    """The settings of a run. An empty list means the suite's default; for ``consistency``, none.

    ``consistency``: edits of round trips (:mod:`invbench.run.round_trips`), written like ``edits``.
    ``batch``, ``workers`` and ``readers``: None = auto. ``workers``: processes that do the work (0: this one), each with
    ``threads`` threads on a CPU; methods compute in ``precision``, with networks compiled as ``compile`` says. ``limit``:
    seconds that a call may take for each of its images; it needs workers.
    ``executor``: "local", "slurm" or "ray", with ``workers`` jobs at a time that ask for ``asked`` (``KEY=VALUE``).
    ``share``: (i, n), only the i-th of n shares of the work; it needs ``batch``.
    ``latency``: images timed one at a time after the cells. ``curves``: quality is recorded against steps. ``seed`` becomes the
    option ``seed`` of every method that has one. ``overrides``: ``method.option=value``. ``configuration``: the files that were
    read -> sha256. Raises InvbenchError with the nearest name for an unknown name, before anything is loaded.
    """
    for section in suite.methods:
        _check_section(suite, section, registry.methods)
    if limit is not None and workers == 0:
        raise InvbenchError("--limit: expected workers, which can be ended, found --in-process (or --workers 0)")
    if share is not None and batch is None:
        raise InvbenchError("--shard: expected --batch N, so that all shards have the same batches, found --batch auto")
    if executor != "local" and device == "auto":
        raise InvbenchError(f"--executor {executor}: expected --device cpu or cuda, which its machines have, found auto")
    if executor != "local" and workers == 0:
        raise InvbenchError(f"--executor {executor}: expected jobs, found --in-process (or --workers 0)")
    if executor == "local" and asked:
        raise InvbenchError("--job: expected --executor slurm or ray, found local")
    names = chosen_methods(suite, methods, registry.methods)
    if not names:
        raise InvbenchError(f"suite {suite.id}: no registered method finds all its networks here; see `invbench doctor`")
    if preset is not None:
        presets = {known for spec in registry.methods.values() for known in [*spec.presets, default_preset(spec)]}
        find("preset", preset, dict.fromkeys(presets))
    changes = _overrides(overrides, names, registry.methods)
    chosen = [_method(suite, name, registry, preset=preset, changes=changes, seed=seed) for name in names]
    labels = [f"{choice.id}:{choice.preset}" for choice in chosen]
    try:
        return RunSettings(
            suite=suite,
            methods=tuple(choice for i, choice in enumerate(chosen) if labels[i] not in labels[:i]),
            datasets=choose_datasets(suite, datasets or [suite.default], registry, images=images),
            metrics=choose_metrics(suite, metrics, registry, round_trips=bool(consistency)),
            protocols=dict(registry.protocols),
            metrics_required=bool(metrics),
            edits=edit_names.parsed(suite, edits or suite.default_edits),
            consistency=edit_names.parsed(suite, consistency),
            batch=batch,
            latency=latency,
            curves=curves,
            workers=workers,
            threads=threads,
            precision=precision,
            compile=compile,
            executor=executor,
            asked=_asked(asked),
            limit=limit,
            readers=readers,
            device=device,
            seed=seed,
            out=out or Path("runs") / f"latest-{suite.id}",
            configuration=dict(configuration or {}),
            share=share,
            fresh=fresh,
        )
    except ValidationError as error:
        item = error.errors()[0]
        place = ".".join(map(str, item["loc"]))
        raise InvbenchError(f"{place}: {item['msg']}, found {item['input']!r}") from error


def _asked(items: Sequence[str]) -> dict[str, int | float | str]:
    """``KEY=VALUE`` of ``--job``; numbers as numbers."""
    found: dict[str, int | float | str] = {}
    for item in items:
        key, equals, value = item.partition("=")
        if not (key.isidentifier() and equals and value):
            raise InvbenchError(f"--job: expected KEY=VALUE, found {printable(item)!r}")
        found[key] = int(value) if value.isascii() and value.isdecimal() else value
    return found


def chosen_methods(suite: Suite, named: Sequence[str], methods: Mapping[str, MethodSpec]) -> list[str]:
    """The methods of a run as a user writes them: those ``named``, else the suite's default, else all that it supports."""
    names = list(named) or list(suite.default_methods) or [EVERY]
    return [one for name in names for one in (supported(suite, methods) if name == EVERY else [name])]


def supported(suite: Suite, methods: Mapping[str, MethodSpec]) -> list[str]:
    """Ids of the methods for which the suite has a network for every role, but those that it leaves out with a reason."""
    having = {name: spec for name, spec in methods.items() if set(spec.roles) <= set(suite.networks)}
    return [name for name, spec in having.items() if name not in suite.without and not pairs.foreign_space(spec, suite.spaces)]


def resolve(
    suite: Suite, spec: MethodSpec, preset: str, changes: Mapping[str, Any] | None = None, *, seed: int | None = None
) -> dict[str, Any]:
    """Every option's value: defaults <- preset <- ``[suites.X.methods.ID]`` <- ``...methods."ID:PRESET"]`` <- seed <- changes.

    An embedder's settings hold wherever it is used, a refinement's in all its pairs; those of the pair itself come last.
    ``changes`` are those of ``--set``; ``seed`` None leaves the options ``seed`` unchanged. Raises
    InvbenchError for a value that is not admitted and for an unknown option, and names the place where it is set.
    """
    seeds = {} if seed is None else {name: seed for name in spec.options if name.rpartition(".")[2] == "seed"}
    layers: list[Layer] = [
        (spec.presets.get(preset, {}), lambda name: f"preset {preset} of {spec.id}: {name}"),
        *_layers(spec, preset, suite.methods, suite.place),
        (seeds, lambda name: "--seed (or defaults.seed)"),
        (changes or {}, lambda name: f"--set {spec.id}.{name}"),
    ]
    values = {name: option.default for name, option in spec.options.items()}
    for layer, place in layers:
        values = laid_over(spec.options, values, layer, method=spec.id, place=place)
    return values


def _layers(
    spec: MethodSpec, preset: str, said: Mapping[str, Mapping[str, Any]], place: Callable[[str, str], str]
) -> Iterator[Layer]:
    """The layers of ``said`` for a method, by id and by id and preset; for a pair, those of its parts come first."""
    if spec.parts:
        own, start = spec.parts
        for layer, where in _layers(start, pairs.start_preset(spec, preset), said, place):
            yield pairs.prefixed(layer), lambda name, where=where: where(name.removeprefix(pairs.PREFIX))  # type: ignore[misc]
        if own.id != spec.id:
            for section in (own.id, f"{own.id}:{preset}"):
                yield pairs.own_options(said.get(section, {})), partial(place, section)
    for section in (spec.id, f"{spec.id}:{preset}"):
        yield said.get(section, {}), partial(place, section)


def _method(
    suite: Suite,
    item: str,
    registry: Registry,
    *,
    preset: str | None,
    changes: Mapping[str, Mapping[str, Any]],
    seed: int,
) -> MethodChoice:
    name, _, named = item.partition(":")
    spec = pairs.find(name, registry.methods)
    for part in pairs.leaves(spec):
        if part.id in suite.without:
            raise InvbenchError(f"suite {suite.id} does not run {part.id}: {suite.without[part.id]}")
    if reason := pairs.foreign_space(spec, suite.spaces):
        raise InvbenchError(f"suite {suite.id} does not run {name}: {reason}")
    for role in spec.roles:
        if role not in suite.networks:
            where = f"suite {suite.id} has no network for the role {role!r}, which {name} needs"
            raise InvbenchError(f"{where}: {unknown('role', role, suite.networks)}")
    presets = set(spec.presets) | {default_preset(spec)}
    if named and named not in presets:
        raise InvbenchError(unknown(f"preset of {name}", named, presets))
    asked = named or (preset if preset in presets else "") or default_preset(spec)
    own: dict[str, Any] = {}
    for layer, _ in _layers(spec, asked, changes, lambda section, name: section):
        own |= layer
    options = resolve(suite, spec, asked, own, seed=seed)
    return MethodChoice(spec=spec, preset=asked, options=options, foreign=registry.foreign.get(spec.id))


def choose_datasets(suite: Suite, items: Iterable[str], registry: Registry, *, images: int | None) -> tuple[DatasetChoice, ...]:
    """The named datasets, each once; ``images`` is the largest number of images of each."""
    chosen: dict[str, tuple[DatasetSpec, int | None]] = {}
    for item in items:
        for part in suite.collections.get(item, (item,)):
            whole = is_folder(part) or (is_address(part) and counted(part.rpartition(":")[2]) is None)
            name, colon, count = part.rpartition(":") if ":" in part and not whole else (part, "", "")
            if colon and counted(count) is None and f"{name}-{count}" in {*suite.datasets, *registry.brought}:
                name, colon = f"{name}-{count}", ""
            if colon and counted(count) is None:
                raise InvbenchError(f"dataset {part!r}: expected NAME or NAME:COUNT with COUNT from 1 to {LARGEST}")
            if is_address(name):
                spec = _remote(suite, name)
            elif says_folder(name):  # also where a suite of the user's names one; no registered dataset is called so
                spec = _folder(suite, name)
            elif name in suite.datasets or name in registry.brought:
                spec = find("dataset", name, registry.datasets)
            else:
                known = unknown("dataset", name, [*suite.datasets, *suite.collections, *registry.brought])
                near = f"; for the folder of that name: ./{name}" if is_folder(f"./{name}") else ""
                raise InvbenchError(f"suite {suite.id}: {known}{near}")
            limits = [n for n in (counted(count), images) if n is not None]
            chosen[spec.id] = (spec, min(limits) if limits else None)
    return tuple(DatasetChoice(spec=spec, count=n) for spec, n in chosen.values())


def _folder(suite: Suite, name: str) -> DatasetSpec:
    """A folder of pictures as a dataset; its id includes a hash of the path, so that two folders never share rows."""
    try:
        root = Path(name).expanduser().resolve()
    except (OSError, RuntimeError, ValueError) as error:  # a user that nobody knows, a loop of links, a zero byte
        raise InvbenchError(f"dataset {name!r}: expected the path of a folder: {error}") from error
    digest = hashlib.sha256(str(root).encode(errors="surrogateescape")).hexdigest()
    return _pictures(suite, root, root.name, digest)


def _remote(suite: Suite, address: str) -> DatasetSpec:
    """A folder of pictures at an address, copied to this disk; its id has a hash of the address, not of the copy's path."""
    root = fetch(address, kind="pictures", wanted=lambda name: True, say=lambda line: print(line, file=sys.stderr))
    remote = Remote(address)
    return _pictures(suite, root, remote.name, remote.digest)


def _pictures(suite: Suite, root: Path, name: str, digest: str) -> DatasetSpec:
    slug = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-") or "pictures"
    return DatasetSpec(
        id=f"{slug[:40]}-{digest[:6]}",
        title=f"pictures in {printable(name)}",
        entry="invbench.datasets.folder:Folder",
        domain=suite.id,
        size=None,
        options={"root": str(root), "resolution": suite.resolution},
    )


def choose_metrics(
    suite: Suite, named: Sequence[str], registry: Registry, *, round_trips: bool
) -> tuple[MetricSpec, ...]:
    """The named metrics, else the suite's, each once. "none" means none; a group, those of it that the suite has networks for.

    ``round_trips``: whether the run makes round trips; if so, all round-trip metrics are added unless metrics are named.
    Raises InvbenchError with the nearest name for an unknown name, for a group of which the suite can compute no metric, and
    for a round-trip metric without round trips.
    """
    known = registry.metrics
    found: list[MetricSpec] = []
    for name in named or suite.metrics or known:
        if name.startswith("@"):
            members = [spec for spec in group(suite, name, known) if _serves(suite, spec, registry)]
            if not members:
                raise InvbenchError(f"metrics {name}: suite {suite.id} has networks for none of that group")
            found += members
        elif name != "none":
            spec = find_metric(name, known)
            if named and spec.kind == "round_trip" and not round_trips:
                raise InvbenchError(f"metric {spec.id}: needs a second inversion: expected --consistency EDIT, found none")
            found.append(spec)
    others = [spec for spec in found if spec.kind != "round_trip"]
    if not round_trips:
        return tuple(_unique(others))
    trips = [spec for spec in found if spec.kind == "round_trip"]
    return tuple(_unique([*others, *(trips or (spec for spec in known.values() if spec.kind == "round_trip"))]))


def group(suite: Suite, item: str, known: Mapping[str, MetricSpec]) -> list[MetricSpec]:
    """All metrics of ``@NAME``; for ``@NAME@PROTOCOL``, those that are defined under that protocol."""
    name, _, protocol = item.removeprefix("@").partition("@")
    found = _members(suite.groups, name, known, within=())
    if protocol:
        found = [known[id] for id in (f"{spec.name}@{protocol}" for spec in found) if id in known]
    if not found:
        raise InvbenchError(f"metrics {item}: no metric of that group has the protocol {protocol!r}")
    return found


def _members(
    groups: Mapping[str, Sequence[str]], name: str, known: Mapping[str, MetricSpec], *, within: tuple[str, ...]
) -> list[MetricSpec]:
    """The metrics of a group in its order; a group that contains itself adds nothing."""
    found: list[MetricSpec] = []
    for member in () if name in within else find("group of metrics", name, groups):
        if member.startswith("@"):
            found += _members(groups, member.removeprefix("@"), known, within=(*within, name))
            continue
        try:
            found.append(find_metric(member, known))
        except InvbenchError as error:
            raise InvbenchError(f"groups.{name}: {error}") from error
    return found


def _serves(suite: Suite, spec: MetricSpec, registry: Registry) -> bool:
    """Whether a suite has the networks of a metric and of its protocol, and an edit that the metric is defined for."""
    protocol = registry.protocols.get(spec.protocol)
    roles = {*spec.roles, *(protocol.roles if protocol else ())}
    return roles <= set(suite.networks) and (not spec.edits or bool(set(spec.edits) & set(suite.edits)))


def _overrides(
    items: Iterable[str], names: Iterable[str], known: Mapping[str, MethodSpec]
) -> dict[str, dict[str, Any]]:
    chosen = {name.partition(":")[0] for name in names}
    parts = {one.id for name in chosen for one in pairs.leaves(pairs.find(name, known))}
    changes: dict[str, dict[str, Any]] = {}
    for item in items:
        target, equals, text = item.partition("=")
        method, dot, option = target.partition(".")
        if not (equals and dot and option):
            raise InvbenchError(f"--set {item!r}: expected METHOD.OPTION=VALUE, for example pti.steps=100")
        pairs.find(method, known)
        if method not in (chosen if option.startswith(pairs.PREFIX) else chosen | parts):
            raise InvbenchError(f"--set {item!r}: {method} is not among the methods of this run")
        try:
            value = ast.literal_eval(text)
        except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):  # not a literal: a word
            value = {"true": True, "false": False, "none": None, "inf": math.inf}.get(text.lower(), text)
        changes.setdefault(method, {})[option] = value
    return changes


def _check_section(suite: Suite, section: str, known: Mapping[str, MethodSpec]) -> None:
    name, colon, preset = section.partition(":")
    where = f"suites.{suite.id}.methods"
    try:
        spec = pairs.find(name, known)
    except InvbenchError as error:
        raise InvbenchError(f"{where}: {error}") from error
    presets = {*spec.presets, default_preset(spec)}
    if colon and preset not in presets:
        raise InvbenchError(f"{where}: {unknown(f'preset of {name}', preset, presets)}")
    resolve(suite, spec, preset or default_preset(spec))


def _unique(items: Iterable[Any]) -> list[Any]:
    return list(dict.fromkeys(items))
