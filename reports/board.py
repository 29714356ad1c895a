"""The page of a run, ``report/index.html``: one static document that loads nothing from a server."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from invbench.api import STAGES
from invbench.compare.stats import LEVEL
from invbench.compare.text import shown
from invbench.reports import figures, page_tables, query
from invbench.reports.gallery import AMPLIFIED, Pictures, panels, size
from invbench.reports.plots import plot_data, plotly_script, static_file
from invbench.reports.run import Run
from invbench.reports.text import signed
from invbench.store import Store
from invbench.util.files import write_atomic

PIXELATED = 128  # pictures up to this many pixels are enlarged without smoothing, so that single pixels can be seen


def write(run: Path | str | Store, *, inline: bool = False, images: int = 4) -> Path:
    """Write the page of a run folder and return its path, ``<run>/report/index.html``.

    run     the run folder
    inline  True: the page contains pictures and scripts, so that it is one file. False: the page links to files of the run
            folder by relative paths, so the folder can only be moved as a whole
    images  number of pictures of each dataset in the gallery: the first ones of the dataset
    Raises InvbenchError if the folder holds no run, ValueError if ``images`` is negative.
    """
    if images < 0:
        raise ValueError(f"images: expected 0 or more, found {images}")
    store = run if isinstance(run, Store) else Store(run)
    page = store.path / "report"
    if not inline:
        write_atomic(page / "static" / "plotly.min.js", plotly_script().encode())
    write_atomic(page / "index.html", render(Run.of(store), page, inline=inline, images=images).encode())
    return page / "index.html"


def render(run: Run, page: Path, *, inline: bool, images: int) -> str:
    """The HTML document as text. Its relative links start from the folder ``page``."""
    board, edits = query.leaderboard(run), query.edits(run)
    height, manifest = size(run), run.manifest
    environment = Environment(
        loader=PackageLoader("invbench.reports"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"shown": shown, "signed": signed}
    pictures = Pictures(run.store, page, inline=inline)
    shown_panels = panels(run, board, pictures, count=images)
    environment.policies["json.dumps_kwargs"] = {"sort_keys": False, "allow_nan": False}  # keeps the order of metrics
    return environment.get_template("board.html.j2").render(
        suite=manifest.get("suite", {}),
        manifest=manifest,
        datasets=[page_tables.of_dataset(run, one) for one in figures.datasets(run, board, edits)],
        latency=page_tables.latency(run, figures.latency(run)),
        level=f"{LEVEL:.0%}",
        panels=shown_panels,
        left_out=sorted(pictures.left_out),
        failures=query.failures(run).to_dict("records"),
        unavailable=query.unavailable(run),
        provenance=_provenance(manifest),
        weights=manifest.get("weights", {}),
        data=plot_data(run, board, edits),
        stages=STAGES,
        amplified=AMPLIFIED,
        pixelated=height is not None and height <= PIXELATED,
        css=static_file("board.css"),
        scripts=[static_file(name) for name in ("board.js", "plots.js", "comparisons.js")],
        plotly=plotly_script() if inline else None,
    )


def _provenance(manifest: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The facts that are needed to reproduce the numbers, as pairs (name, text)."""
    git, machine = manifest.get("git", {}), manifest.get("machine", {})
    commit = git.get("commit") or "not a checkout"
    seconds = manifest.get("seconds", {})
    memory = machine.get("memory")
    hardware = [machine.get("processor"), machine.get("cores") and f"{machine['cores']} cores"]
    hardware += [memory and f"{memory / 2**30:.0f} GiB", machine.get("system"), machine.get("gpu")]
    pairs = {
        "command": manifest.get("command"),
        "commit": f"{commit}, with local changes" if git.get("modified") else commit,
        "protocol": f"version {manifest.get('protocol')}, {manifest.get('precision')}, seed {manifest.get('seed')}",
        "device": machine.get("device"),
        "machine": ", ".join(str(part) for part in hardware if part),
        "versions": ", ".join(f"{name} {found}" for name, found in manifest.get("versions", {}).items() if found),
        "started": manifest.get("started"),
        "finished": manifest.get("finished") or "not finished",
    }
    if seconds.get("wall"):
        share = seconds["overhead"] / seconds["wall"]
        calls = "all merged runs" if manifest.get("merge") else "last call"
        pairs["harness overhead"] = f"{share:z.1%} of {seconds['wall']:.0f} s ({calls}; outside methods and metrics)"
    return [(word, str(text)) for word, text in pairs.items() if text]
