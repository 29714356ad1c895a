"""Which answer files count: whole, of this study, once a page, by a rater who looked."""

from __future__ import annotations

import hmac
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from invbench.api import InvbenchError, printable
from invbench.reports.study.files import Answer, Answers, Key, Page, read_answers, seal


@dataclass(frozen=True)
class Rater:
    """A page whose answers count.

    right, checks   attention checks answered right, and their number
    seconds         median time of an answer
    left            share of pairs, without checks, for which the left side was chosen
    """

    page: Page
    source: str
    answers: tuple[Answer, ...]
    right: int
    checks: int
    seconds: float
    left: float


@dataclass(frozen=True)
class Refused:
    """A file that does not count, and why."""

    source: str
    reason: str


def read(key: Key, paths: Sequence[Path]) -> tuple[list[Rater], list[Refused]]:
    """The raters that count, in the order of their pages, and the files that do not.

    Of several equal files one counts. Where one page has several different answers, nobody knows which is the rater's, and none
    counts.
    """
    refused: list[Refused] = []
    of_page: dict[str, list[tuple[str, Answers]]] = {}
    for path in sorted(paths):
        source = printable(path)
        try:
            found = read_answers(path)
        except InvbenchError as error:
            refused.append(Refused(source, str(error).removeprefix(f"{source}: ")))
            continue
        if reason := _wrong(key, found):
            refused.append(Refused(source, reason))
        else:
            of_page.setdefault(found.page, []).append((source, found))
    raters = []
    for name, files in sorted(of_page.items()):
        (first, answers), *rest = files
        if any(other != answers for _, other in rest):
            every = ", ".join(source for source, _ in files)
            reason = f"page {name} was answered {len(files)} times, not always alike ({every}): none of them counts"
            refused += [Refused(source, reason) for source, _ in files]
            continue
        refused += [Refused(source, f"the same answers as {first}") for source, _ in rest]
        rater = _rater(key, first, answers)
        if rater.checks - rater.right > key.mistakes:
            reason = f"{rater.checks - rater.right} of {rater.checks} attention checks wrong, at most {key.mistakes} may be"
            refused.append(Refused(first, reason))
        else:
            raters.append(rater)
    return raters, sorted(refused, key=lambda one: one.source)


def _wrong(key: Key, found: Answers) -> str:
    """Why an answer file is none of this study, or was changed; empty if it is whole."""
    if found.study != key.study:
        return f"expected answers to study {key.study}, found study {printable(found.study)[:40]}"
    page = next((one for one in key.pages if one.page == found.page), None)
    if page is None:
        return f"expected a page from {key.pages[0].page} to {key.pages[-1].page}, found page {printable(found.page)[:40]}"
    if not hmac.compare_digest(seal(page.secret, found.study, found.page, found.answers).encode(), found.seal.encode()):
        return "changed after the page saved it: its seal does not fit"
    asked = [trial.id for trial in page.trials]
    answered = [answer.trial for answer in found.answers]
    if answered != asked:
        return f"expected an answer to each of the page's {len(asked)} pairs in their order, found {len(answered)} answers"
    return ""


def _rater(key: Key, source: str, found: Answers) -> Rater:
    page = next(one for one in key.pages if one.page == found.page)
    checks = [(trial, answer) for trial, answer in zip(page.trials, found.answers) if trial.comparison is None]
    pairs = [answer for trial, answer in zip(page.trials, found.answers) if trial.comparison is not None]
    return Rater(
        page=page,
        source=source,
        answers=found.answers,
        right=sum(answer.choice == trial.expected for trial, answer in checks),
        checks=len(checks),
        seconds=float(np.median([answer.ms for answer in found.answers])) / 1000,
        left=float(np.mean([answer.choice == "left" for answer in pairs])) if pairs else float("nan"),
    )
