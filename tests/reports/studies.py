"""A study of a small run, and answer files of raters that choose as a test says."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from invbench.api import Edit
from invbench.reports.run import Run
from invbench.reports.study.build import Wishes, build
from invbench.reports.study.files import Answer, Key, KeyTrial, Page, seal
from invbench.store import Store, file_digest

from .fake import make_run

METHODS = ("psp", "pti", "dhr")


def make_study(folder: Path, *, count: int = 6, **wishes: object) -> Key:
    """A study in ``folder/study`` of a run in ``folder/run``."""
    run = make_run(
        folder / "run", count=count, methods=METHODS, datasets=("procfaces-test",), strengths=(1.0, 3.0), failing=None
    )
    for path in run.files("rows/*/*.parquet"):  # as a real run, which notes the sha256 of every picture that it wrote
        note_pictures(run, path)
    asked = {"methods": METHODS, "raters": 2, "checks": 4} | wishes
    return build(Run.of(run), Wishes(**asked), folder / "study")


def note_pictures(run: Store, path: Path) -> None:
    """Put the sha256 of the pictures into a part of rows."""
    (part,) = run.parts(path.parent.name)
    for row in part.rows:
        edit = Edit(row["edit"], row["strength"]) if row.get("edit") else None
        row["picture"] = file_digest(run.picture(path.parent.name, row["image"], edit))
    run.write_part(path.parent.name, part)


def write_answers(path: Path, key: Key, page: Page, choose: Callable[[KeyTrial], str]) -> Path:
    """Answers to a page: checks are answered right, pairs as ``choose`` says ("left", "right" or a method)."""
    found = []
    for trial in page.trials:
        wanted = choose(trial) if trial.comparison is not None else trial.expected
        side = wanted if wanted in ("left", "right") else ("left" if trial.left == wanted else "right")
        found.append(Answer(trial=trial.id, choice=side, ms=1000))
    content = {"format": 1, "study": key.study, "page": page.page, "answers": [one.model_dump() for one in found]}
    path.write_text(json.dumps(content | {"seal": seal(page.secret, key.study, page.page, found)}), encoding="utf-8")
    return path
