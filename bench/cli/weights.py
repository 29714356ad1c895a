"""``invbench weights``: list, fetch, add, find and verify official weights files."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from invbench.api import InvbenchError
from invbench.cli.common import PathType, find_suite, plain_config_option
from invbench.plugins.registry import discover
from invbench.specs import MethodSpec, MetricSpec

if TYPE_CHECKING:
    from invbench.weights.cache import WeightsCache
    from invbench.weights.catalogue import Asset

EPILOG = """\b
Examples
  invbench weights list --suite faces             the files that a suite needs, and whether they are here
  invbench weights get --suite faces              fetch what is missing
  invbench weights get e4e_ffhq stylegan2_ffhq
  invbench weights add ~/g.pkl --as stylegan2_horse
  invbench weights where                          every file in the searched folders, and the asset that it is
  invbench weights verify e4e_ffhq --long         hash it, load it, print how each tensor was used

\b
Files with any name in INVBENCH_HOME/weights are found as well; see docs/weights.md.
"""

ids_argument = click.argument("ids", nargs=-1, metavar="[ID]...")
suite_option = click.option("--suite", help="All files that this suite needs.")


@click.group(epilog=EPILOG, short_help="Official weights: list, get, add, where, verify.")
def weights() -> None:
    """List, fetch, add, find and verify official weights files."""


@weights.command("list", short_help="List official files and whether they are here.")
@ids_argument
@suite_option
@click.option("--long", "detailed", is_flag=True, help="Show page, address, licence, hash and layout of each.")
@plain_config_option
def list_(ids: tuple[str, ...], suite: str | None, detailed: bool, config: Path | None) -> None:
    """List official files with the methods and metrics that need them."""
    from tabulate import tabulate

    cache = _cache()
    assets = _chosen(cache, ids, suite, config)
    suites, roles = _uses(assets, config)
    needed = _needed_by(roles)
    if detailed:
        for asset in assets:
            users = {"suites": suites[asset.id], "roles": roles[asset.id], "needed by": needed[asset.id]}
            click.echo("\n".join(_details(asset, cache, users)) + "\n")
        return
    rows = [
        (asset.id, _state(asset, cache), _size(asset), ", ".join(suites[asset.id]), ", ".join(needed[asset.id]), asset.title)
        for asset in assets
    ]
    click.echo(tabulate(rows, headers=("id", "state", "size", "suites", "needed by", "what"), tablefmt="plain"))


@weights.command(short_help="Fetch official files.")
@ids_argument
@suite_option
@click.option("--all", "everything", is_flag=True, help="Fetch every file that has a direct address.")
@click.option("--accept-licence", is_flag=True, help="Accept the licences without being asked.")
@plain_config_option
def get(ids: tuple[str, ...], suite: str | None, everything: bool, accept_licence: bool, config: Path | None) -> None:
    """Fetch official files into INVBENCH_HOME/weights. Files that are here already are left unchanged.

    The same command continues an interrupted transfer. Exit code: 0 all are here; 1 some could not be fetched.
    """
    cache = _cache()
    if not (ids or suite or everything):
        raise InvbenchError("weights get: expected ids, --suite NAME or --all; see `invbench weights list`")
    assets = _chosen(cache, ids, suite, config)
    missing = [asset for asset in assets if _state(asset, cache) != "here"]
    for asset in assets:
        if asset not in missing:
            click.echo(f"{asset.id}: here, {cache.find(asset.id).path}")
    by_hand = [asset for asset in missing if not asset.address]
    _accept([asset for asset in missing if asset not in by_hand], cache, yes=accept_licence)
    failed = 0
    for asset in missing:
        failed += not _fetched(asset, cache)  # a failure does not stop the others
    click.get_current_context().exit(1 if failed else 0)


@weights.command(short_help="Register a file as an asset.")
@click.argument("file", type=PathType(exists=True, dir_okay=False))
@click.option("--as", "id", required=True, metavar="ID", help="The asset that the file is.")
def add(file: Path, id: str) -> None:
    """Register FILE by its sha256 as the asset ID. It is copied unless it is in a searched folder already."""
    from invbench.weights import fetch

    cache = _cache()
    asset = cache.catalogue.find(id)
    with _Bar(file.name) as bar:
        found = fetch.add(file, asset, cache, report=bar.show)
    click.echo(f"{id}: {found.path}, sha256 {found.sha256}")


@weights.command(short_help="Show which file is which asset.")
@ids_argument
def where(ids: tuple[str, ...]) -> None:
    """Print every file in the searched folders with its asset, or why it is none; with IDs, only the paths of these.

    Exit code: 0; 1 if a named asset is not here.
    """
    cache = _cache()
    if ids:
        missing = 0
        for id in ids:
            try:
                click.echo(cache.find(id).path)
            except InvbenchError as error:
                cache.catalogue.find(id)  # raises for an unknown id
                click.echo(str(error), err=True)
                missing += 1
        click.get_current_context().exit(1 if missing else 0)
    from invbench.weights.cache import REMOVED

    for folder in cache.folders:
        click.echo(f"{folder}{'' if folder.is_dir() else ' (does not exist)'}")
        for match in cache.matches():
            if match.found.path.parent == folder:
                size = f"{match.found.size / 1e6:.1f} MB"
                told = match.id or f"not used: {match.problem}"
                told += f" (taken without {match.found.facts[REMOVED]})" if REMOVED in match.found.facts else ""
                click.echo(f"  {match.found.path.name}  {size}  {match.found.sha256[:12]}  {told}")


@weights.command(short_help="Hash files again and build their networks.")
@ids_argument
@suite_option
@click.option("--long", "detailed", is_flag=True, help="Print how each tensor was used.")
@plain_config_option
def verify(ids: tuple[str, ...], suite: str | None, detailed: bool, config: Path | None) -> None:
    """Read every byte again, compare the sha256 with the published or recorded one, and build each network of the file.

    Without IDs: every asset that is here. Exit code: 0 all are right; 1 one is wrong, or a named one is missing.
    """
    from invbench.weights import check

    cache = _cache()
    assets = _chosen(cache, ids, suite, config)
    if not (ids or suite):
        assets = [asset for asset in assets if _state(asset, cache) == "here"]
    wrong = 0
    for asset in assets:
        try:
            lines = check.verify(asset, cache, detailed=detailed)
        except InvbenchError as error:
            click.echo(f"WRONG {asset.id}: {error}")
            wrong += 1
            continue
        click.echo("\n".join([f"ok    {asset.id}: {lines[0]}", *(f"      {line}" for line in lines[1:])]))
    if not assets:
        click.echo(f"no official file is here; looked in {', '.join(map(str, cache.folders))}")
    click.get_current_context().exit(1 if wrong else 0)


def _cache() -> WeightsCache:
    from invbench.weights.cache import WeightsCache

    return WeightsCache()


def _chosen(cache: WeightsCache, ids: Iterable[str], suite: str | None, config: Path | None) -> list[Asset]:
    """The assets of these ids and of the suite, with the assets that these need; all assets if neither is given.

    If a suite names several assets for a role, the one that is here is taken, else the first.
    """
    listed = cache.catalogue
    names = list(ids)
    if suite is not None:
        for network in find_suite(suite, config).networks.values():
            here = [id for id in network.choices if _state(listed.find(id), cache) == "here"]
            names += [*(here or network.choices)[:1], *network.assets.values()]
    if not names and suite is None:
        return list(listed.assets.values())
    chosen: dict[str, Asset] = {}
    for name in names:
        asset = listed.find(name)
        chosen |= {asset.id: asset} | {other: listed.find(other) for other in asset.beside.values()}
    return list(chosen.values())


def _uses(assets: Iterable[Asset], config: Path | None) -> tuple[dict[str, list[str]], dict[str, list[str]]]:
    """The suites that name each asset, and the roles; an asset that another one needs is used wherever that one is."""
    from invbench.plugins.config import load

    suites: dict[str, list[str]] = {asset.id: [] for asset in assets}
    roles: dict[str, list[str]] = {asset.id: [] for asset in assets}
    beside = {asset.id: tuple(asset.beside.values()) for asset in assets}
    for suite in load(config).values():
        for role, network in suite.networks.items():
            for id in network.needed:
                for one in (id, *beside.get(id, ())):
                    suites.setdefault(one, []).append(suite.id)
                    roles.setdefault(one, []).append(role)
    return _once(suites), _once(roles)


def _once(names: Mapping[str, Iterable[str]]) -> dict[str, list[str]]:
    return {id: list(dict.fromkeys(found)) for id, found in names.items()}


def _needed_by(roles: Mapping[str, Iterable[str]]) -> dict[str, list[str]]:
    """Methods and metrics that need a role of each asset."""
    registry = discover()
    specs: list[MethodSpec | MetricSpec] = [*registry.methods.values(), *registry.metrics.values()]
    asking = {id: [spec for spec in specs if set(served) & set(spec.roles)] for id, served in roles.items()}
    return {id: sorted({spec.id.partition("@")[0] for spec in found}) for id, found in asking.items()}


def _state(asset: Asset, cache: WeightsCache) -> str:
    try:
        cache.find(asset.id)
        return "here"
    except InvbenchError:
        return "missing" if asset.address else "by hand"


def _size(asset: Asset) -> str:
    return f"{asset.size / 1e6:.3g} MB" if asset.size else f"about {asset.about:.0f} MB" if asset.about else "?"


def _details(asset: Asset, cache: WeightsCache, users: Mapping[str, Sequence[str]]) -> list[str]:
    licence = cache.catalogue.licences[asset.licence]
    accepted = "accepted" if asset.licence in cache.ledger.licences else "not accepted yet"
    recorded = cache.ledger.sha256(asset.id)
    facts = [
        ("state", _state(asset, cache) if _state(asset, cache) != "here" else str(cache.find(asset.id).path)),
        ("page", asset.page),
        ("address", asset.address or "none; drop the file into the folder"),
        ("file", f"{asset.file}, {_size(asset)}"),
        ("licence", f"{licence.title}, {accepted}: {licence.page}"),
        ("sha256", " or ".join(asset.sha256) or (f"{recorded} (first fetched or added)" if recorded else "none is published")),
        ("md5", asset.md5),
        ("layout", " or ".join(asset.layouts)),
        ("for", ", ".join(filter(None, [asset.domain, f"{asset.resolution} pixels" if asset.resolution else ""]))),
        ("with", ", ".join(asset.beside.values())),
        *((kind, ", ".join(names)) for kind, names in users.items()),
        ("note", asset.note),
    ]
    return [f"{asset.id}: {asset.title}", *(f"  {name:<10}{value}" for name, value in facts if value)]


def _accept(assets: Sequence[Asset], cache: WeightsCache, *, yes: bool) -> None:
    """Ask for the licences that are not accepted yet; nothing is fetched before all are."""
    for id in dict.fromkeys(asset.licence for asset in assets):
        if id in cache.ledger.licences:
            continue
        licence = cache.catalogue.licences[id]
        files = ", ".join(asset.id for asset in assets if asset.licence == id)
        click.echo(f"{licence.title}\n  {licence.page}\n  {licence.summary}\n  for: {files}")
        if not yes:
            if not sys.stdin.isatty():
                raise InvbenchError(f"the licence {id!r} is not accepted: read it, then use --accept-licence")
            if not click.confirm("Do you accept it?"):
                raise InvbenchError(f"the licence {id!r} is not accepted; nothing was fetched")
        cache.ledger.accept(id)


def _fetched(asset: Asset, cache: WeightsCache) -> bool:
    from invbench.weights import fetch

    try:
        with _Bar(asset.id) as bar:
            found = fetch.get(asset, cache, report=bar.show)
    except InvbenchError as error:
        click.echo(f"{asset.id}: {str(error).removeprefix(f'{asset.id}: ')}", err=True)
        return False
    click.echo(f"{asset.id}: {found.path}, {found.size / 1e6:.1f} MB, sha256 {found.sha256}")
    return True


class _Bar:
    """Progress of one file, on a terminal only."""

    def __init__(self, name: str) -> None:
        from tqdm import tqdm

        self._bar = tqdm(desc=name, unit="B", unit_scale=True, disable=None, leave=False, file=sys.stderr)

    def __enter__(self) -> _Bar:
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.close()

    def show(self, done: int, total: int | None) -> None:
        self._bar.total = total
        self._bar.update(done - self._bar.n)
