"""The comparison of two methods as text."""

from __future__ import annotations

import textwrap

from invbench.reports import verdicts, versus
from invbench.reports.compare import Method
from invbench.reports.grid import SIMPLE, Column, grid
from invbench.reports.run import Run
from invbench.reports.text import number_format, short_head
from invbench.reports.versus import Duel

PICTURES, WIDTH = 4, 80


def terminal(run: Run, first: Method, second: Method) -> str:
    """For each dataset: the verdict, each metric with the difference and the images won, and the pictures that differ most."""
    one, other = run.label(*first), run.label(*second)
    duels = versus.duels(run, first, second)
    blocks = []
    for dataset in dict.fromkeys(duel.dataset for duel in duels):
        mine = [duel for duel in duels if duel.dataset == dataset]
        main = verdicts.first_of([duel for duel in mine if not duel.edit], verdicts.FIDELITY, lambda duel: duel.spec.name)
        lines = [f"{dataset}"]
        if main is not None:
            lines = textwrap.wrap(f"{dataset}: {versus.sentence(main, one, other)} in {short_head(main.spec)}.", WIDTH)
        lines += [grid(_columns(mine, one, other), SIMPLE, left=1)]
        if main is not None:
            for name, rival, found in ((one, other, main.most(PICTURES)), (other, one, main.least(PICTURES))):
                told = versus.pictures(found, main.spec.unit) or "none"
                lines += textwrap.wrap(f"{name} beats {rival} most on: {told}", WIDTH)
        blocks.append("\n".join(lines))
    if not blocks:
        return f"{one} and {other} have no image in common that a metric covers\n"
    legend = f"* better (sign-flip test of these two, p <= 0.05); wins: images on which {one} is the better"
    return "\n\n".join([*blocks, "\n".join(textwrap.wrap(legend, WIDTH))]) + "\n"


def _columns(duels: list[Duel], first: str, second: str) -> list[Column]:
    heads = [" ".join(filter(None, [short_head(duel.spec), duel.edit])) for duel in duels]
    columns: dict[str, list[str]] = {"metric": heads, first: [], second: [], "advantage": [], "p": [], "wins": []}
    for duel in duels:
        write = number_format(duel.means)
        for label, value, side in ((first, duel.means[0], 1), (second, duel.means[1], -1)):
            columns[label].append(("* " if duel.decided == side else "") + write(value))
        columns["advantage"].append(write(duel.difference.value))
        columns["p"].append("<0.001" if duel.p < 0.001 else f"{duel.p:.3f}")
        columns["wins"].append(f"{duel.wins}/{len(duel.images)}")
    return list(columns.items())
