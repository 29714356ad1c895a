"""The suites of the package: they agree with the registry, the assets and the table in docs/suites.md."""

from __future__ import annotations

import pytest

from invbench.plugins.config import load
from invbench.plugins.pairs import foreign_space
from invbench.plugins.registry import discover
from invbench.plugins.selection import choose_metrics, default_preset, resolve, supported
from invbench.weights.catalogue import catalogue
from tests.checkout import PROJECT

SUITES = load()
REGISTRY = discover()
OFFICIAL = ("faces", "faces256", "cars", "church", "horse", "cat", "wild")


def table() -> dict[str, dict[str, str]]:
    """Method -> suite -> cell of the first table in docs/suites.md."""
    lines = [line for line in (PROJECT / "docs/suites.md").read_text().splitlines() if line.startswith("|")]
    head = [cell.strip() for cell in lines[0].strip("|").split("|")]
    rows = {}
    for line in lines[2:]:
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if not cells[0].startswith("`"):
            break
        rows[cells[0].strip("`")] = dict(zip(head[1:], cells[1:], strict=True))
    return rows


def test_the_table_of_the_docs_is_what_the_configuration_says():
    documented = table()
    assert set(documented) == set(REGISTRY.methods)
    for name, spec in REGISTRY.methods.items():
        for suite in ("procfaces", *OFFICIAL):
            lacking = [role for role in spec.roles if role not in SUITES[suite].networks]
            other = foreign_space(spec, SUITES[suite].spaces)
            reason = ", ".join(lacking) or SUITES[suite].without.get(name, "") or other
            expected = f"no: {reason}" if reason else "yes"
            assert documented[name][suite] == expected, f"{name} in {suite}"
    assert len(supported(SUITES["faces"], REGISTRY.methods)) == 31


@pytest.mark.parametrize("suite", OFFICIAL)
def test_a_suite_names_only_what_exists(suite):
    chosen, assets = SUITES[suite], catalogue()
    for role, network in chosen.networks.items():
        for id in network.needed:
            asset = assets.find(id)
            assert asset.domain in (None, chosen.domain), f"{role}: {id} is of {asset.domain}"
            assert asset.resolution in (None, chosen.resolution), f"{role}: {id}"
    assert set(chosen.datasets) <= set(REGISTRY.datasets)
    assert {REGISTRY.datasets[name].domain for name in chosen.datasets} == {chosen.domain}
    assert choose_metrics(chosen, chosen.metrics, REGISTRY, round_trips=False)
    for name in supported(chosen, REGISTRY.methods):
        spec = REGISTRY.methods[name]
        for preset in spec.presets or [default_preset(spec)]:
            resolve(chosen, spec, preset)  # raises for an option that does not exist


@pytest.mark.parametrize("suite", OFFICIAL)
def test_every_metric_of_a_suite_finds_its_network(suite):
    chosen = SUITES[suite]
    for spec in choose_metrics(chosen, chosen.metrics, REGISTRY, round_trips=False):
        id = spec.id
        roles = [*spec.roles, *REGISTRY.protocols[spec.protocol].roles]
        assert [role for role in roles if role not in chosen.networks] == [], id
