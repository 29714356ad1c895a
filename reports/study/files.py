"""The two kinds of files of a study: the key, which says what each pair was, and the answers of a rater.

The seal of an answer file is the sha256 of the page's secret and of all that the file says (:func:`seal`). The page computes
it, so it tells a file that was changed, cut or moved to another page from a whole one; it does not stop somebody who takes
the page's program apart.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Final, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from invbench.api import InvbenchError, printable
from invbench.reports.study.design import Side

FORMAT: Final = 1
KEY = "key.json"
LARGEST = 10_000_000  # bytes of an answer file that are read


class _Record(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


Kind = TypeVar("Kind", bound=_Record)


class Question(_Record):
    """What raters are asked; ``edit`` is None for the inversion."""

    text: str
    edit: str | None = None
    strength: float | None = None


class KeyTrial(_Record):
    """A pair of a page: the methods on both sides by name, or (a check, without ``comparison``) the right answer."""

    id: str
    question: int = Field(ge=0)
    image: str
    left: str
    right: str
    comparison: int | None = Field(default=None, ge=0)
    expected: Side | Literal[""] = ""


class Page(_Record):
    """A page: its name, the secret of its seal, its pairs in the order in which they are shown."""

    page: str
    secret: str
    trials: tuple[KeyTrial, ...]


class Key(_Record):
    """What the person who runs the study keeps.

    study        id of the study; every page and every answer names it
    methods      name ("dhr:paper") -> title
    comparisons  the pairs of methods; a share is of the first one
    mistakes     number of attention checks that a rater may miss and still counts
    """

    format: Literal[1]
    study: str
    run: str
    commit: str
    dataset: str
    seed: int
    mistakes: int
    questions: tuple[Question, ...]
    methods: dict[str, str]
    comparisons: tuple[tuple[str, str], ...]
    images: tuple[str, ...]
    pages: tuple[Page, ...]

    @model_validator(mode="after")
    def _hangs_together(self) -> Key:
        for one in (trial for page in self.pages for trial in page.trials):
            if one.question >= len(self.questions) or one.image not in self.images:
                raise ValueError(f"trial {one.id}: expected a question and an image of the study")
            pair = () if one.comparison is None else self.comparisons[one.comparison : one.comparison + 1]
            if one.comparison is not None and {frozenset(names) for names in pair} != {frozenset((one.left, one.right))}:
                raise ValueError(f"trial {one.id}: expected the methods of its comparison")
        if {name for pair in self.comparisons for name in pair} - set(self.methods):
            raise ValueError("comparisons: expected methods of the study")
        return self


class Answer(_Record):
    """The choice of a rater, and the milliseconds that it took."""

    trial: str
    choice: Side
    ms: int = Field(ge=0)


class Answers(_Record):
    """An answer file as a page saves it."""

    format: Literal[1]
    study: str
    page: str
    answers: tuple[Answer, ...]
    seal: str


def seal(secret: str, study: str, page: str, answers: Iterable[Answer]) -> str:
    """The seal of an answer file; reports/static/study.js computes the same."""
    lines = [secret, f"invbench study {FORMAT}", study, page, *(f"{one.trial} {one.choice} {one.ms}" for one in answers)]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def read_key(path: Path) -> Key:
    """The key of a study: a file, or the folder that ``invbench study build`` wrote. Raises InvbenchError for anything else."""
    file = path / KEY if path.is_dir() else path
    return _read(file, Key, "the key of a study, as `invbench study build` writes it", most=None)


def read_answers(path: Path) -> Answers:
    """An answer file. Raises InvbenchError where it cannot be one."""
    return _read(path, Answers, "the answers that a page of a study saves", most=LARGEST)


def _read(path: Path, kind: type[Kind], what: str, *, most: int | None) -> Kind:
    try:
        with path.open("rb") as file:
            content = file.read(-1 if most is None else most + 1)
    except OSError as error:
        raise InvbenchError(f"{printable(path)}: expected {what}, found {error.strerror or error}") from error
    if most is not None and len(content) > most:
        raise InvbenchError(f"{printable(path)}: expected {what}, found a file of more than {most:,} bytes")
    try:
        return kind.model_validate_json(content)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        place = ".".join(map(str, first["loc"]))
        found = printable(f"{place}: {first['msg']}" if place else first["msg"])
        raise InvbenchError(f"{printable(path)}: expected {what}, found {found}") from error
