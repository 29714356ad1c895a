"""``invbench list``: list plug-ins and suites without importing them."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from invbench.cli.common import PathType, plain_config_option, plugin_option, registry_of
from invbench.options import limits
from invbench.plugins import files
from invbench.plugins.registry import Registry
from invbench.specs import MethodSpec, MetricSpec, Option, ProtocolSpec
from invbench.util.names import signed

if TYPE_CHECKING:
    from invbench.plugins.config import Suite
    from invbench.plugins.declarations import Spec

EPILOG = """\b
Examples
  invbench list methods
  invbench list methods --long      with presets, options, defaults, units, ranges and choices
  invbench list metrics --long      with recipe, range, unit, direction and reference implementation
  invbench list protocols           recipes that prepare pictures for metrics; a metric's id is METRIC@PROTOCOL
  invbench list groups              groups of metrics, for example @pixel for `run --metrics`
  invbench list suites --long       with datasets, collections, edits and networks
  invbench list methods --format markdown --run RUN
                                    the page docs/methods.md; RUN is a folder or a stored baseline
"""


@click.command("list", epilog=EPILOG, short_help="Methods, metrics, groups of metrics, protocols, datasets or suites.")
@click.argument("kind", type=click.Choice(["methods", "metrics", "groups", "protocols", "datasets", "suites"]))
@click.option("--long", "detailed", is_flag=True, help="Show all details.")
@click.option(
    "--format",
    "form",
    type=click.Choice(["terminal", "markdown"]),
    default="terminal",
    show_default=True,
    help="markdown: of methods, a page with their training, what --run measured and the papers' ranks.",
)
@click.option("--run", type=PathType(exists=True), help="Run folder or baseline of the embedded suite.")
@plain_config_option
@plugin_option
def list_(kind: str, detailed: bool, form: str, run: Path | None, config: Path | None, plugins: tuple[Path, ...]) -> None:
    """List everything registered: built in, installed, or in a --plugin file."""
    if (form == "markdown") != (run is not None) or (run is not None and kind != "methods"):
        raise click.UsageError("--format markdown and --run: expected both, and the kind methods")
    if run is not None:
        click.echo(_page(registry_of(config, plugins), run, config), nl=False)
        return
    if kind == "suites":
        from invbench.plugins.config import load

        _print([(name, suite.title, _suite(suite)) for name, suite in load(config).items()], detailed)
        return
    if kind == "groups":
        from invbench.plugins.config import groups

        _print([(f"@{name}", _join(members), []) for name, members in groups(config).items()], detailed)
        return
    registry = registry_of(config, plugins)
    if kind == "metrics":
        placed = _placed(registry, config)
        rows = [(name, f"{placed.get(name, ''):<19} {spec.title}", spec) for name, spec in registry.metrics.items()]
        _print([(name, title, _details(spec, registry)) for name, title, spec in rows], detailed)
        return
    found: Mapping[str, Spec] = getattr(registry, kind)
    _print([(name, spec.title, _details(spec, registry)) for name, spec in found.items()], detailed)
    if kind == "methods" and detailed:
        from invbench.reports.published import only_published

        click.echo("Rows of published tables without a method of their own here:\n")
        _print([(name, title, [reason]) for name, title, reason in only_published()], detailed)


def _page(registry: Registry, run: Path, config: Path | None) -> str:
    """The methods as a page of Markdown."""
    from invbench.compare import baseline
    from invbench.plugins.config import load
    from invbench.reports import methods_table
    from invbench.weights.trained import trained

    rows = baseline.read(run).rows
    networks = {role: trained(one.weights) for role, one in load(config)["procfaces"].networks.items() if one.weights}
    known = {role: methods_table.Network(*one) for role, one in networks.items() if one is not None}
    readings = {id: _choices(spec) for id, spec in registry.methods.items()}
    return methods_table.markdown(registry.methods, known, rows, readings, source=f"`{run}`")


def _placed(registry: Registry, config: Path | None) -> dict[str, str]:
    """The groups that name a metric, by its id; a group that names a metric holds it under all protocols."""
    groups = files.groups()  # the package's own need no check by pydantic, which is slow to import
    if config is not None and "groups" in files.read(config):
        from invbench.plugins import config as checked

        groups = checked.groups(config)
    places: dict[str, list[str]] = {}
    for group, members in groups.items():
        for member in members:
            places.setdefault(member.partition("@")[0], []).append(f"@{group}")
    return {id: " ".join(places.get(spec.name, [])) for id, spec in registry.metrics.items()}


def _print(rows: list[tuple[str, str, list[str]]], detailed: bool) -> None:
    width = max((len(name) for name, _, _ in rows), default=0)
    for name, title, details in rows:
        click.echo(f"{name:<{width}}  {title}")
        for line in details if detailed else []:
            click.echo(textwrap.fill(line, 110, initial_indent="    ", subsequent_indent="        "))
        if detailed:
            click.echo()


def _details(spec: Spec, registry: Registry) -> list[str]:
    if isinstance(spec, MethodSpec):
        venue = f"({spec.venue})" if spec.paper and spec.venue else spec.venue
        head = [spec.summary, f"{spec.paper} {venue}".strip(), f"family: {spec.family}", _pairing(spec)]
        head.append(f"networks: {_join(spec.roles)}")
        return [line for line in [*head, *_choices(spec)] if line]
    if isinstance(spec, MetricSpec):
        protocol = registry.protocols[spec.protocol]
        needs = {"networks": (*protocol.roles, *spec.roles), "needs": spec.needs, "edits": spec.edits}
        lines = [
            spec.summary,
            f"recipe: {protocol.recipe}",
            f"{spec.kind}, {spec.unit or 'no unit'}, range {spec.range}, better: {spec.better}",
            f"reference: {spec.reference or 'not said'}",
            *(f"{key}: {_join(dict.fromkeys(value))}" for key, value in needs.items() if value),
            f"source of the recipe: {protocol.source}",
        ]
        return [line for line in lines if line]
    if isinstance(spec, ProtocolSpec):
        measured = [metric.name for metric in registry.metrics.values() if metric.protocol == spec.id]
        lines = [f"recipe: {spec.recipe}", f"source: {spec.source}"]
        lines += [f"networks: {_join(spec.roles)}"] if spec.roles else []
        return [*lines, f"metrics: {_join(measured) or 'none'}"]
    size = "counted when opened" if spec.size is None else f"{spec.size} images"
    source = f"files: {spec.page} (licence: {spec.licence})" if spec.page else ""
    return [line for line in (spec.summary, f"domain {spec.domain}, {size}", source) if line]


def _choices(spec: MethodSpec) -> list[str]:
    """The presets of a method and its options."""
    presets = [f"preset {name}: {_pairs(changes)}" for name, changes in spec.presets.items()]
    return [*presets, *(_option(name, option) for name, option in spec.options.items())]


def _pairing(spec: MethodSpec) -> str:
    """The latents that a method gives to a refinement, or starts from itself; "" for one that goes with no other."""
    if spec.refines:
        spaces = " or ".join(space.upper() for space in spec.refines)
        return f"starts from latents in {spaces}; published: {_join(dict.fromkeys(spec.embedder.values()))}"
    return f"gives latents in {spec.gives.upper()}" if spec.gives else ""


def _option(name: str, option: Option) -> str:
    admits = f"; {limits(option)}" if limits(option) else ""
    return f"{name} = {option.default!r}{f' {option.unit}' if option.unit else ''}: {option.help}{admits}"


def _pairs(changes: Mapping[str, Any]) -> str:
    return _join(f"{name}={value!r}" for name, value in changes.items()) or "the defaults"


def _suite(suite: Suite) -> list[str]:
    collections = [
        f"collection {name}{' (default)' if name == suite.default else ''}: {_join(items)}"
        for name, items in suite.collections.items()
    ]
    edits = [
        f"edit {name}: strength 1 = {signed(edit.per_strength)} {edit.unit}, "
        f"strengths {_join(signed(one).removeprefix('+') for one in edit.strengths)}"
        for name, edit in suite.edits.items()
    ]
    networks = [f"network {role}: {network.origin}" for role, network in suite.networks.items()]
    size = f"{suite.resolution} x {suite.resolution} pixels"
    return [size, f"datasets: {_join(suite.datasets)}", *collections, *edits, *networks]


def _join(items: Iterable[object]) -> str:
    return ", ".join(map(str, items))
