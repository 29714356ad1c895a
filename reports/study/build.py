"""The pages of a study and its key: which pictures, in which pairs, under which question."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from invbench.api import Edit, InvbenchError
from invbench.reports import templating
from invbench.reports.compare import Method
from invbench.reports.run import Run
from invbench.reports.study import design
from invbench.reports.study.files import FORMAT, KEY, Key, KeyTrial, Page, Question
from invbench.reports.study.pictures import Pictures
from invbench.reports.text import signed
from invbench.util.files import write_all
from invbench.util.images import encode_png

INVERSION = "Which picture is closer to the original?"
EDIT = "In which picture is this change made better, with all else kept: {edit}?"
PIXELATED = 128  # pictures up to this many pixels are enlarged without smoothing
ABLE = 4  # a page of this many checks allows one mistake
LABELS = ("years", "degrees")  # units that a rater understands; changes in others are "more" or "less"


@dataclass(frozen=True)
class Wishes:
    """What a study is to be.

    methods         as the user named them, at least two
    against_first   the first method against each other one, as in the tables of DHR and SAM; else every two methods
    edits           edits by name ("age:3"); ``inversion``: whether inversions are asked, too
    images          number of images, drawn at random from those that all methods have; fewer if there are fewer
    raters, votes   number of pages, and of pages that hold an image
    largest         pictures with a longer side are made smaller; None: shown as they are
    """

    methods: Sequence[str]
    against_first: bool = False
    dataset: str | None = None
    inversion: bool = True
    edits: Sequence[str] = ()
    images: int = 50
    raters: int = 3
    votes: int | None = None
    checks: int = 6
    largest: int | None = None
    inversion_text: str = INVERSION
    edit_text: str = EDIT
    seed: int = 0


def build(run: Run, wishes: Wishes, out: Path) -> Key:
    """Write the pages and the key of a study below ``out``, which must hold none; return the key.

    Raises InvbenchError for unknown names, for pictures that the run lacks or that changed since, and where nothing is asked.
    """
    if (out / KEY).exists():
        raise InvbenchError(f"{out / KEY}: expected a folder without a study: with another key, answers to this one are lost")
    edits = [None] if wishes.inversion else []
    source = Pictures.of(
        run,
        dataset=wishes.dataset,
        methods=wishes.methods,
        edits=[*edits, *wishes.edits],
        largest=wishes.largest,
    )
    methods = source.methods
    pairs = [(methods[0], other) for other in methods[1:]] if wishes.against_first else [*combinations(methods, 2)]
    rng = np.random.default_rng(wishes.seed)
    usable = source.usable()
    if not usable:
        raise InvbenchError(f"{run.store.path}: expected an image of {source.dataset} that all methods have, found none")
    chosen = sorted(rng.permutation(len(usable))[: wishes.images].tolist())
    images = [usable[i] for i in chosen]
    votes = min(wishes.votes or wishes.raters, wishes.raters)
    sizes = {"questions": len(source.edits), "raters": wishes.raters, "votes": votes, "checks": wishes.checks}
    trials = design.pages(images, pairs, **sizes, rng=rng)
    names = [f"{number:02d}" for number in range(1, len(trials) + 1)]
    pages = [
        Page(page=name, secret=rng.bytes(16).hex(), trials=tuple(_key_trial(one, rng) for one in mine))
        for name, mine in zip(names, trials)
    ]
    key = Key(
        format=FORMAT,
        study=hashlib.sha256("".join(page.model_dump_json() for page in pages).encode()).hexdigest()[:12],
        run=run.store.path.name,
        commit=str(run.manifest.get("git", {}).get("commit") or ""),
        dataset=source.dataset,
        seed=wishes.seed,
        mistakes=1 if wishes.checks >= ABLE else 0,
        questions=tuple(_question(run, edit, wishes) for edit in source.edits),
        methods={_name(method): run.label(*method) for method in methods},
        comparisons=tuple((_name(a), _name(b)) for a, b in pairs),
        images=tuple(images),
        pages=tuple(pages),
    )
    files = {out / f"page-{page.page}.html": _html(key, page, mine, source, rng) for page, mine in zip(pages, trials)}
    write_all({**files, out / KEY: key.model_dump_json(indent=1).encode()})
    return key


def _html(key: Key, page: Page, trials: Sequence[design.Trial], source: Pictures, rng: np.random.Generator) -> bytes:
    """A page that stands alone; it names no method, no image, and no file."""
    tokens: dict[Any, str] = {}
    pictures: dict[str, str] = {}

    def shown(what: Any, picture: np.ndarray) -> str:
        if what not in tokens:
            tokens[what] = rng.bytes(8).hex()
            pictures[tokens[what]] = base64.b64encode(encode_png(picture)).decode()
        return tokens[what]

    shown_trials, largest = [], 0
    for named, one in zip(page.trials, trials):
        original = source.original(one.image)
        largest = max(largest, *original.shape[:2])
        sides = [shown((side, one.question), source.made(side, one.question)) for side in (one.left, one.right)]
        shown_trials.append([named.id, one.question, shown(one.image, original), *sides])
    content = {
        "study": key.study,
        "page": page.page,
        "secret": page.secret,
        "questions": [one.text for one in key.questions],
        "trials": shown_trials,
        "pictures": dict(sorted(pictures.items())),
    }
    script, style = templating.static("study.js"), templating.static("study.css")
    template = templating.environment().get_template("study.html.j2")
    return template.render(
        content=content,
        script=script,
        style=style,
        allowed={"script": _hash(script), "style": _hash(style)},
        pixelated=largest <= PIXELATED,
        count=len(trials),
    ).encode()


def _hash(text: str) -> str:
    """The hash of an inline script or style, as a content security policy names it."""
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _key_trial(one: design.Trial, rng: np.random.Generator) -> KeyTrial:
    return KeyTrial(
        id=rng.bytes(6).hex(),
        question=one.question,
        image=one.image,
        left=_name(one.left.method),
        right=_name(one.right.method),
        comparison=one.comparison,
        expected=one.expected,
    )


def _name(method: Method) -> str:
    return ":".join(method)


def _question(run: Run, edit: Edit | None, wishes: Wishes) -> Question:
    if edit is None:
        return Question(text=wishes.inversion_text)
    known = run.manifest.get("edits", {}).get(edit.plain.name, {})
    word = " and ".join(part.name for part in edit.plain.parts).replace("_", " ")
    if known.get("unit") in LABELS and known.get("per_strength"):
        change = f"{word} {signed(edit.strength * known['per_strength'])} {known['unit']}"
    else:
        change = f"{'more' if edit.strength > 0 else 'less'} {word}"
    return Question(text=wishes.edit_text.replace("{edit}", change), edit=edit.name, strength=edit.strength)
