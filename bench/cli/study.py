"""``invbench study``: a blinded page of pairs for each rater, and the score of their answers."""

from __future__ import annotations

from pathlib import Path

import click

from invbench.api import printable
from invbench.cli.common import Names, PathType
from invbench.util.numbers import SEEDS, WORKERS, count_type

BUILD_EPILOG = """\b
Examples
  invbench study build runs/full --methods dhr,pti,sam --out study/                  inversions, every two methods
  invbench study build runs/full --methods dhr,pti,sam --against-first --edits age:3,yaw --images 50 --out study/
  invbench study build runs/full --methods sam,pti --images 500 --raters 30 --votes 3 --out study/
"""
SCORE_EPILOG = """\b
Examples
  invbench study score study/ answers/*.json
  invbench study score study/ answers/*.json --format latex --out preferences.tex

\b
Exit code: 0 every file counts; 1 some do not, and the reasons are printed; 2 none does; 3 a file could not be written.
"""


@click.group(short_help="Ask people which picture is better.")
def study() -> None:
    """Make the pages of a user study from the pictures of a run, and score the answers that come back."""


@study.command(epilog=BUILD_EPILOG, short_help="Write a page for each rater, and the key.")
@click.argument("run", type=PathType(exists=True, file_okay=False))
@click.option("--methods", type=Names(), required=True, help="ID or ID:PRESET, two or more.")
@click.option("--against-first", is_flag=True, help="The first method against each other one. [default: every two]")
@click.option("--dataset", help="Dataset of the run. [default: the first]")
@click.option("--edits", type=Names(), default=(), help="Ask for edits, too: NAME (its largest strength) or NAME:STRENGTH.")
@click.option("--inversion/--no-inversion", default=True, help="Ask for inversions. [default: yes]")
@click.option("--images", type=count_type(1), default=50, show_default=True, help="Images, drawn at random.")
@click.option("--raters", type=count_type(1, WORKERS), default=3, show_default=True, help="Pages, one a rater.")
@click.option("--votes", type=count_type(1, WORKERS), help="Pages that an image is on. [default: all]")
@click.option("--checks", type=count_type(0, WORKERS), default=6, show_default=True,
              help="Pairs with an obvious answer on each page; a rater may miss one of four or more.")  # fmt: skip
@click.option("--largest", type=count_type(16), help="Make pictures with a longer side smaller. [default: as they are]")
@click.option("--question", metavar="TEXT", help="What is asked of inversions.")
@click.option("--edit-question", metavar="TEXT", help="What is asked of edits; {edit} stands for the change.")
@click.option("--seed", type=count_type(0, SEEDS - 1), default=0, show_default=True, help="Seed of all draws.")
@click.option("--out", required=True, type=PathType(file_okay=False), help="The study's folder.")
def build(
    run: Path,
    methods: tuple[str, ...],
    against_first: bool,
    dataset: str | None,
    edits: tuple[str, ...],
    inversion: bool,
    images: int,
    raters: int,
    votes: int | None,
    checks: int,
    largest: int | None,
    question: str | None,
    edit_question: str | None,
    seed: int,
    out: Path,
) -> None:
    """Write page-01.html, page-02.html, ... and key.json into a folder: one page a rater, in random order, without names.

    A page stands alone and sends nothing; its rater saves a file of answers. Keep key.json to yourself: it says which
    picture is of which method.
    """
    from invbench.reports.run import Run
    from invbench.reports.study import build as study_build
    from invbench.store import Store

    wishes = study_build.Wishes(
        methods=methods,
        against_first=against_first,
        dataset=dataset,
        inversion=inversion,
        edits=edits,
        images=images,
        raters=raters,
        votes=votes,
        checks=checks,
        largest=largest,
        inversion_text=question or study_build.INVERSION,
        edit_text=edit_question or study_build.EDIT,
        seed=seed,
    )
    key = study_build.build(Run.of(Store(run)), wishes, out)
    pairs = [len(page.trials) for page in key.pages]
    size = max((out / f"page-{page.page}.html").stat().st_size for page in key.pages)
    if len(key.images) < images:
        click.echo(f"note: {len(key.images)} images, not {images}: more have no picture of every method")
    click.echo(f"study {key.study}: {len(pairs)} pages of up to {max(pairs)} pairs, {size / 1e6:.1f} MB each")
    click.echo(printable(out / f"page-{key.pages[0].page}.html"))


@study.command(epilog=SCORE_EPILOG, short_help="Score the answers of raters.")
@click.argument("folder", metavar="STUDY", type=PathType(exists=True))
@click.argument("answers", nargs=-1, required=True, type=PathType(exists=True, dir_okay=False))
@click.option("--format", "form", type=click.Choice(["text", "markdown", "latex", "json"]), default="text", show_default=True)
@click.option("--out", type=PathType(dir_okay=False), help="Write to this file. [default: print]")
@click.pass_context
def score(ctx: click.Context, folder: Path, answers: tuple[Path, ...], form: str, out: Path | None) -> None:
    """Print how often raters prefer each method, with spread, interval and agreement; STUDY is the folder or its key.

    A file that was changed, that answers another study, that comes twice, or whose rater missed the attention checks is not
    counted, and the reason is printed.
    """
    from invbench.reports.study import score as study_score
    from invbench.reports.study import tables
    from invbench.reports.study.files import read_key
    from invbench.util.files import write_output

    found = study_score.score(read_key(folder), answers)
    text = tables.FORMATS[form](found)
    if out is None:
        click.echo(text, nl=False)
    else:
        write_output(out, text.encode())
        click.echo(printable(out))
    if form != "text":
        for one in found.refused:
            click.echo(f"not counted: {one.source}: {one.reason}", err=True)
    ctx.exit(1 if found.refused else 0)
