"""The static site of runs: pages that open from a disk, ask nothing of a network and need no server."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from invbench import schema
from invbench.api import STAGES, InvbenchError
from invbench.compare.history import History, histories
from invbench.compare.stats import LEVEL
from invbench.reports import (
    extract,
    figures,
    page_tables,
    query,
    site_curves,
    site_edits,
    site_history,
    site_papers,
    site_plots,
    verdicts,
)
from invbench.reports.compare import Block, Method
from invbench.reports.extract import Column
from invbench.reports.provenance import facts, short
from invbench.reports.run import Run
from invbench.reports.site_data import Board, script, scripts
from invbench.reports.site_pictures import Pictures
from invbench.reports.templating import environment, static
from invbench.store import Store
from invbench.util.files import file_name, write_atomic

STATIC = ("site.css", "site.js", "table.js", "pictures.js", "gallery.js", "image.js", "compare.js", "papers.css")
COPIED = "pictures/"  # below the site: copies of the pictures of each run
FACTS = ("paper", "venue", "family", "embedder", "precision", "compile")  # of a method, from the manifest
EXTREMES = 8  # pictures that a method's page shows from each end


def write(
    sources: Sequence[Run | Store | Path],
    out: Path | None = None,
    *,
    images: int | None = None,
    history: Sequence[Path] = (),
    looked_at: list[Path] | None = None,
) -> Path:
    """Write the site of run folders and return its first page, ``out/index.html``.

    out     its folder; None: ``<run>/report`` of a single run. Inside a run's folder the pages link to the run's pictures, so
            the run folder can only be moved as a whole; elsewhere ``out/pictures`` holds them, and the site stands alone
    images  the number of images of each dataset whose pictures are put there; None: all
    history earlier runs, baselines, or folders of baselines: with several moments of a suite there is a page of them
    looked_at   gets the folders and files of pictures on which the pages depend
    Raises InvbenchError if a folder holds no run, if the site of several runs has no ``out``, and if ``out`` holds pages that
    are not ours.
    """
    runs = [Run.of(Store(one) if isinstance(one, Path) else one) for one in sources]
    if out is None and len(runs) != 1:
        raise InvbenchError(f"site of {len(runs)} runs: expected --out FOLDER, found none")
    target = out if out is not None else runs[0].store.path / "report"
    if (target / "index.html").exists() and not (target / "static" / STATIC[0]).exists():  # a site's static files come first
        raise InvbenchError(f"{target}: expected no pages or those of invbench, found another index.html: choose another --out")
    boards = [board for number, run in enumerate(runs) for board in _boards(run, number, target, alone=len(runs) == 1)]
    for name in STATIC:
        write_atomic(target / "static" / name, static(name).encode())
    pictures = {board.id: Pictures.of(board) for board in boards}
    if looked_at is not None:
        looked_at += [path for one in pictures.values() for path in one.looked_at]
    for board in boards:
        for name, content in scripts(board, list(map(quote, pictures[board.id].hidden))):
            write_atomic(target / "data" / name, content.encode())
        if board.root.startswith(COPIED):
            pictures[board.id].copy(target / board.root, most=images)
    moments = [*(run.store.path for run in runs), *history]
    past = histories(moments) if len(moments) > 1 else []
    for path, page in _pages(runs, boards, pictures, past):  # HTML, and a script of published numbers for each board
        write_atomic(target / path, page.encode(errors="backslashreplace"))
    return target / "index.html"


def _boards(run: Run, number: int, target: Path, *, alone: bool) -> list[Board]:
    found = figures.datasets(run, query.leaderboard(run), query.edits(run, strongest=True), strongest=True)
    own, site = run.store.path.resolve(), target.resolve()
    inside = site.is_relative_to(own)
    root = quote(os.path.relpath(own, site).replace(os.sep, "/")) if inside else f"{COPIED}{number}"
    prefix = "" if alone else f"{number}-"
    main = extract.of_datasets(run, found)
    return [Board(f"{prefix}{file_name(one.name)}", run, one, short, root) for one, short in zip(found, main)]


def _pages(
    runs: Sequence[Run], boards: Sequence[Board], pictures: Mapping[str, Pictures], past: Sequence[History]
) -> Iterator[tuple[str, str]]:
    """(path below the site, text) of every page, and of the scripts with published numbers."""
    templates = environment()
    titles = list(dict.fromkeys(str(run.manifest.get("suite", {}).get("id", "run")) for run in runs))
    shared = {
        "site": ", ".join(titles),
        "suites": [dict(one) for one in dict.fromkeys(tuple(run.manifest.get("suite", {}).items()) for run in runs)],
        "provenance": [short(run) for run in runs],
        "level": f"{LEVEL:.0%}",
        "stages": [stage for stage in STAGES if stage != "edit"],
        "past": bool(past),
        "index": [{"id": board.id, "name": _name(board, runs)} for board in boards],
    }

    def page(name: str, path: str, **content: Any) -> tuple[str, str]:
        root = "../" * path.count("/")
        return path, templates.get_template(f"{name}.html.j2").render(**shared, **content, root=root, page=name)

    own = [[board for board in boards if board.run is run] for run in runs]
    methods = [one for run, mine in zip(runs, own) for one in _methods(run, mine, pictures, alone=len(runs) == 1)]
    changed = [place for one in pictures.values() for place in one.hidden]
    links = {(id(one["run"]), one["id"]): one["path"] for one in methods}
    front = [_front(board, runs, links) for board in boards]
    yield page("index", "index.html", boards=front, unfinished=_unfinished(runs))
    for one in front:
        if one["board"]["published"]["rows"]:
            yield f"data/{one['id']}.published.js", script("published", f"{one['id']}.published", one["board"]["published"])
    yield page("tradeoffs", "tradeoffs.html", boards=[_tradeoffs(board, runs) for board in boards])
    yield page("gallery", "gallery.html", left_out=changed)
    yield page("image", "image.html")
    yield page("compare", "compare.html")
    yield page("edits", "edits.html", boards=[_edits(board, runs) for board in boards])
    yield from _papers(runs, page)
    if past:
        yield page("history", "history.html", histories=[site_history.content(one) for one in past])
    yield page("about", "about.html", runs=[_about(run, mine, pictures) for run, mine in zip(runs, own)])
    for one in methods:
        same = [other for other in methods if other["id"] == one["id"] and other is not one]
        also = [(other["run"].store.path.name, other["path"]) for other in same]
        yield page("method", one["path"], method=one | {"also": also})


def _papers(runs: Sequence[Run], page: Callable[..., tuple[str, str]]) -> Iterator[tuple[str, str]]:
    """The published tables, with a page for each that a run measured something of."""
    prefixes = [""] if len(runs) == 1 else [f"{number}-" for number in range(len(runs))]
    found: list[dict[str, Any]] = [
        {"name": run.store.path.name, "tables": site_papers.tables(run, prefix=prefix)} for run, prefix in zip(runs, prefixes)
    ]
    yield page("published", "published.html", papers=found)
    for table in (table for one in found for table in one["tables"] if table["path"]):
        yield page("published_table", table["path"], table=table)


def _name(board: Board, runs: Sequence[Run]) -> str:
    name = board.run.store.path.name
    return board.dataset if len(runs) == 1 or name == board.dataset else f"{name}: {board.dataset}"


def _unfinished(runs: Sequence[Run]) -> list[str]:
    return [run.store.path.name for run in runs if not run.manifest.get("finished")]


def _front(board: Board, runs: Sequence[Run], links: Mapping[tuple[int, str], str]) -> dict[str, Any]:
    run = board.run
    table = page_tables.leaderboard(run, board.found, board.main)
    for row in table["rows"]:
        row["link"] = links[id(run), f"{row['method']}.{row['preset']}"]
    sentences = [board.main.verdict, verdicts.editing(run, board.found.compared_change, board.dataset)]
    return {
        "id": board.id,
        "name": _name(board, runs),
        "verdicts": [line for line in sentences if line],
        "notes": board.main.notes,
        "plot": site_plots.quality(board),
        "board": table,
    }


def _tradeoffs(board: Board, runs: Sequence[Run]) -> dict[str, Any]:
    plots = [site_plots.quality(board), site_plots.editability(board)]
    return {"id": board.id, "name": _name(board, runs), "plots": [plot for plot in plots if plot]} | {
        "costs": site_plots.costs(board),
        "curves": site_curves.plots(board),
    }


def _edits(board: Board, runs: Sequence[Run]) -> dict[str, Any]:
    return {
        "id": board.id,
        "name": _name(board, runs),
        "plots": site_edits.plots(board),
        "leakage": site_edits.leakage(board),
        "edit_sets": site_edits.edit_fids(board),
    } | page_tables.edited(board.run, board.found)


def _about(run: Run, boards: Sequence[Board], pictures: Mapping[str, Pictures]) -> dict[str, Any]:
    return {
        "name": run.store.path.name,
        "title": run.manifest.get("suite", {}).get("title", ""),
        "facts": facts(run.manifest),
        "weights": run.manifest.get("weights", {}),
        "unavailable": query.unavailable(run),
        "failures": query.failures(run).to_dict("records"),
        "unchecked": sum(pictures[board.id].unchecked for board in boards),
        "latency": page_tables.latency(run, figures.latency(run)),
        "coverage": [{"name": board.dataset, **page_tables.coverage(run, board.found.board)} for board in boards],
    }


def _methods(run: Run, boards: Sequence[Board], pictures: Mapping[str, Pictures], *, alone: bool) -> Iterator[dict[str, Any]]:
    failed = query.failures(run)
    number = "" if alone or not boards else f"{boards[0].id.partition('-')[0]}-"
    for method, preset in dict.fromkeys(method for board in boards for method in board.methods):
        known = run.manifest.get("methods", {}).get(f"{method}.{preset}", {})
        mine = failed[(failed["method"] == method) & (failed["preset"] == preset)]
        yield {
            "run": run,
            "id": f"{method}.{preset}",
            "path": f"methods/{number}{file_name(f'{method}.{preset}')}.html",
            "label": run.label(method, preset),
            "preset": preset,
            "facts": {name: str(known[name]) for name in FACTS if known.get(name)},
            "roles": list(known.get("roles", ())),
            "options": dict(known.get("options", {})),
            "failures": mine.to_dict("records"),
            "standings": [
                one for board in boards if (one := _standing(board, (method, preset), pictures[board.id].hidden)) is not None
            ],
        }


def _standing(board: Board, method: Method, left_out: Sequence[str]) -> dict[str, Any] | None:
    """Where a method stands on a dataset: its main figures, its stages, its best and worst images by fidelity."""
    if method not in board.methods:
        return None
    index = board.methods.index(method)
    row = board.found.board.rows[index]
    blocks = [one.block for one in board.compared() if len(one.block.place) == 1]
    block = verdicts.first_of(blocks, verdicts.FIDELITY, lambda one: board.run.specs[one.metric].name)
    stages = [(stage, row.get(schema.seconds(stage), math.nan)) for stage in STAGES[:-1]]
    return {
        "board": board.id,
        "name": board.dataset,
        "number": index,
        "columns": [(column.head, column.figures[index], _rank(column, index)) for column in board.main.columns],
        "of": len(board.methods),
        "stages": [(stage, f"{seconds:.3g} s") for stage, seconds in stages if seconds > 0],
        "extremes": [] if block is None else _extremes(board, method, block, set(left_out)),
    }


def _rank(column: Column, index: int) -> str:
    """The rank of a method as text; empty where nothing is told apart."""
    one = column.figures[index]
    told = {figure.rank for figure in column.figures} - {"", "1"}
    return (one.rank if told else "") or (str(one.place) if one.place and not one.rank else "")


def _extremes(board: Board, method: Method, block: Block, left_out: set[str]) -> list[tuple[str, list[dict[str, Any]]]]:
    run, spec = board.run, board.run.specs[block.metric]
    column = block.values[:, block.methods.index(method)]
    numbers = {name: index for index, name in enumerate(board.images())}
    order = sorted((value, name) for value, name in zip(column.tolist(), block.images) if not math.isnan(value))
    ends = {"lowest": order[:EXTREMES], "highest": order[::-1][:EXTREMES]}
    names = ("worst", "best") if spec.better == "higher" else ("best", "worst")
    found = []
    for word, end in zip(names, ends.values()):
        pictures = []
        for value, name in end:
            path = run.store.picture(board.cell(method), name)
            place = path.relative_to(run.store.path).as_posix()
            source = f"{board.root}/{quote(place)}" if path.is_file() and place not in left_out else None
            pictures.append({"name": name, "value": f"{value:.4g}", "number": numbers[name], "source": source})
        found.append((f"{word} by {spec.id}", pictures))
    return sorted(found)
