"""``invbench audit``: what all sources print for the same quantity, in one order where they share a protocol."""

from __future__ import annotations

from pathlib import Path

import click

from invbench.cli.common import Names, PathType

EPILOG = """\b
Examples
  invbench audit                                            every quantity of every source
  invbench audit --domains faces --metrics lpips,mse        DHR, StyleFeatureEditor and the others in one list
  invbench audit runs/faces --metrics mse                   with the intervals of a run of the same protocol
  invbench audit --format markdown > audit.md
"""


@click.command(epilog=EPILOG, short_help="Line up what all sources print.")
@click.argument("run", required=False, type=PathType(exists=True, file_okay=False))
@click.option("--domains", type=Names(), default=(), help="Domains, such as faces,cars. [default: all]")
@click.option("--metrics", type=Names(), default=(), help="Published metrics, such as lpips,mse,fid. [default: all]")
@click.option(
    "--format",
    "form",
    type=click.Choice(["terminal", "markdown", "latex", "csv", "json"]),
    default="terminal",
    show_default=True,
)
def audit(run: Path | None, domains: tuple[str, ...], metrics: tuple[str, ...], form: str) -> None:
    """Can a published number be believed? Line up what the papers, a README and a project page print for the same methods.

    Two sources whose shared rows agree within 5 % are put into one order, with the evidence; where they differ, the known
    cause is named: another PSNR, a mislabelled LPIPS, another FID, other steps. Where RUN measured the same protocol, its
    interval stands beside.
    """
    from invbench.plugins.registry import find
    from invbench.reports import audit as audits
    from invbench.reports import audit_formats, published
    from invbench.store import Store

    numbers = [one for table in published.tables().values() for one in table.numbers]
    for kind, asked in (("domain", domains), ("metric", metrics)):
        known = {one[kind]: None for one in numbers if one[kind]}
        for name in asked:
            find(f"published {kind}", name, known)
    found = audits.audit(Store(run) if run else None, domains=domains, metrics=metrics)
    click.echo(audit_formats.FORMATS[form](found), nl=False)
