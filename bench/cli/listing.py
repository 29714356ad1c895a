"""``invbench list``: what there is, without importing any of it."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bench.api import DatasetSpec, MethodSpec, MetricSpec
from bench.cli.common import config_option, plugin_option
from bench.registry import discover

if TYPE_CHECKING:
    from bench.config import Suite

EPILOG = """\b
Examples
  invbench list methods
  invbench list methods --long      with presets, options, defaults and units
  invbench list suites --long       with datasets, collections, edits and networks
"""


@click.command("list", epilog=EPILOG, short_help="Methods, metrics, datasets or suites.")
@click.argument("kind", type=click.Choice(["methods", "metrics", "datasets", "suites"]))
@click.option("--long", "detailed", is_flag=True, help="All that is known of each.")
@config_option
@plugin_option
def list_(kind: str, detailed: bool, config: Path | None, plugins: tuple[Path, ...]) -> None:
    """List what is registered: built in, installed, or in a --plugin file."""
    if kind == "suites":
        from bench.config import load

        _print([(name, suite.title, _suite(suite)) for name, suite in load(config).items()], detailed)
        return
    registry = discover(plugins)
    found: Mapping[str, MethodSpec | MetricSpec | DatasetSpec] = getattr(registry, kind)
    _print([(name, spec.title, _details(spec)) for name, spec in found.items()], detailed)


def _print(rows: list[tuple[str, str, list[str]]], detailed: bool) -> None:
    width = max((len(name) for name, _, _ in rows), default=0)
    for name, title, details in rows:
        click.echo(f"{name:<{width}}  {title}")
        for line in details if detailed else []:
            click.echo(textwrap.fill(line, 110, initial_indent="    ", subsequent_indent="        "))
        if detailed:
            click.echo()


def _details(spec: MethodSpec | MetricSpec | DatasetSpec) -> list[str]:
    if isinstance(spec, MethodSpec):
        head = [spec.summary, f"{spec.paper} ({spec.venue})", f"family: {spec.family}", f"networks: {_join(spec.roles)}"]
        presets = [f"preset {name}: {_pairs(changes)}" for name, changes in spec.presets.items()]
        options = [f"{name} = {o.default!r}{f' {o.unit}' if o.unit else ''}: {o.help}" for name, o in spec.options.items()]
        return [line for line in [*head, *presets, *options] if line]
    if isinstance(spec, MetricSpec):
        lines = [spec.summary, f"{spec.kind}, {spec.unit or 'no unit'}, range {spec.range}, better: {spec.better}"]
        lines += [f"{key}: {_join(value)}" for key, value in _metric_needs(spec) if value]
        return [line for line in lines if line]
    size = "counted when opened" if spec.size is None else f"{spec.size} images"
    return [line for line in (spec.summary, f"domain {spec.domain}, {size}") if line]


def _pairs(changes: Mapping[str, Any]) -> str:
    return _join(f"{name}={value!r}" for name, value in changes.items()) or "the defaults"


def _metric_needs(spec: MetricSpec) -> list[tuple[str, tuple[str, ...]]]:
    return [("networks", spec.roles), ("needs", spec.needs), ("edits", spec.edits)]


def _suite(suite: Suite) -> list[str]:
    collections = [
        f"collection {name}{' (default)' if name == suite.default else ''}: {_join(items)}"
        for name, items in suite.collections.items()
    ]
    edits = [
        f"edit {name}: strength 1 = {edit.per_strength:+g} {edit.unit}, strengths {_join(f'{s:g}' for s in edit.strengths)}"
        for name, edit in suite.edits.items()
    ]
    networks = [f"network {role}: {network.origin}" for role, network in suite.networks.items()]
    size = f"{suite.resolution} x {suite.resolution} pixels"
    return [size, f"datasets: {_join(suite.datasets)}", *collections, *edits, *networks]


def _join(items: Iterable[object]) -> str:
    return ", ".join(map(str, items))
