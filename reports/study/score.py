"""Preferences of raters: shares with their spread, agreement, and ranks where every two methods were compared.

The published forms are DHR's Table 2 (percentage of images whose raters prefer a method), SAM's Table 2 (percentage of votes,
with the spread of the bootstrap) and HyperInverter's Figure 6 (how often a method comes first, second, third).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path

import krippendorff
import numpy as np

from invbench.api import InvbenchError
from invbench.compare import stats
from invbench.compare.stats import Interval
from invbench.reports.study.answers import Rater, Refused, read
from invbench.reports.study.files import Key

SEED = 0


@dataclass(frozen=True)
class Preference:
    """How often ``first`` is preferred to ``second`` under a question.

    votes      number of answers
    share      mean over the images of the share of their votes for ``first``, with its BCa interval over images
    spread     standard deviation of the share of all votes over resamples of single votes, as SAM gives it
    images     number of images; ``won`` of them have most votes for ``first``, ``tied`` have as many for both
    alpha      Krippendorff's alpha, nominal, over raters and images; NaN for one rater, or if no two answers differ
    adjusted   p of the sign-flip test that both are preferred equally, after Holm's correction over all preferences
    """

    question: int
    first: str
    second: str
    votes: int
    share: Interval
    spread: float
    images: int
    won: int
    tied: int
    alpha: float
    adjusted: float = math.nan

    @property
    def decided(self) -> int:
        """1 if raters prefer ``first``, -1 if ``second``, 0 if these images cannot tell."""
        told = self.adjusted <= 1 - stats.LEVEL
        return (1 if self.share.value > 0.5 else -1) if told and self.share.value != 0.5 else 0


@dataclass(frozen=True)
class Ranks:
    """How often each method comes first, second, ...: ``shares`` [methods, places] of ``n`` rankings; a tie shares places."""

    question: int
    methods: tuple[str, ...]
    shares: np.ndarray
    n: int


@dataclass(frozen=True)
class Score:
    """The result of a study."""

    key: Key
    raters: tuple[Rater, ...]
    refused: tuple[Refused, ...]
    preferences: tuple[Preference, ...]
    ranks: tuple[Ranks, ...]


def score(key: Key, paths: Sequence[Path]) -> Score:
    """The score of a study from the answer files that count. Raises InvbenchError if none does."""
    raters, refused = read(key, paths)
    if not raters:
        reasons = "; ".join(f"{one.source}: {one.reason}" for one in refused[:3])
        raise InvbenchError(f"study {key.study}: expected an answer file that counts, found none ({reasons or 'no file'})")
    rng = np.random.default_rng(SEED)
    found, differences = [], []
    for question in range(len(key.questions)):
        for number in range(len(key.comparisons)):
            votes = _votes(key, raters, question, number)
            if not np.isnan(votes).all():
                found.append(_preference(key, question, number, votes, rng))
                differences.append(2 * _means(votes) - 1)
    p = [float(stats.sign_flip_test(column[:, None], rng)[0]) for column in differences]
    adjusted = stats.holm(p)
    preferences = tuple(replace(one, adjusted=float(value)) for one, value in zip(found, adjusted))
    ranks = [_ranks(key, raters, question) for question in range(len(key.questions))]
    return Score(key, tuple(raters), tuple(refused), preferences, tuple(one for one in ranks if one is not None))


def _votes(key: Key, raters: Sequence[Rater], question: int, comparison: int) -> np.ndarray:
    """float64 [raters, images]: 1 for the first method, 0 for the second, NaN where the rater was not asked."""
    place = {image: index for index, image in enumerate(key.images)}
    votes = np.full((len(raters), len(key.images)), math.nan)
    for row, rater in enumerate(raters):
        for trial, answer in zip(rater.page.trials, rater.answers):
            if (trial.question, trial.comparison) == (question, comparison):
                chosen = trial.left if answer.choice == "left" else trial.right
                votes[row, place[trial.image]] = chosen == key.comparisons[comparison][0]
    return votes


def _means(votes: np.ndarray) -> np.ndarray:
    """float64 [images that were asked]: the share of their votes for the first method."""
    seen = ~np.isnan(votes)
    asked = seen.any(axis=0)
    return np.nansum(votes[:, asked], axis=0) / seen[:, asked].sum(axis=0)


def _preference(key: Key, question: int, comparison: int, votes: np.ndarray, rng: np.random.Generator) -> Preference:
    every, means = votes[~np.isnan(votes)], _means(votes)
    # Drawing n of n votes with replacement is a binomial draw: no list of votes is needed.
    spread = (rng.binomial(len(every), every.mean(), size=stats.RESAMPLES) / len(every)).std()
    first, second = key.comparisons[comparison]
    return Preference(
        question=question,
        first=first,
        second=second,
        votes=len(every),
        share=stats.mean_interval(means, rng),
        spread=float(spread),
        images=len(means),
        won=int((means > 0.5).sum()),
        tied=int((means == 0.5).sum()),
        alpha=agreement(votes),
    )


def agreement(votes: np.ndarray) -> float:
    """Krippendorff's alpha of nominal votes [raters, images]; NaN if no image has two votes, or no two votes differ."""
    several = votes[:, (~np.isnan(votes)).sum(axis=0) > 1]
    if several.size == 0 or len(np.unique(several[~np.isnan(several)])) < 2:
        return math.nan
    return float(krippendorff.alpha(reliability_data=several, level_of_measurement="nominal"))


def _ranks(key: Key, raters: Sequence[Rater], question: int) -> Ranks | None:
    """Rankings by the number of pairs that a method wins with a rater on an image; None if not all pairs were asked."""
    methods = tuple(key.methods)
    every = {frozenset(pair) for pair in combinations(methods, 2)}
    if len(methods) < 3 or {frozenset(pair) for pair in key.comparisons} != every:
        return None
    total, n = np.zeros((len(methods), len(methods))), 0
    for rater in raters:
        wins: dict[str, np.ndarray] = {}
        for trial, answer in zip(rater.page.trials, rater.answers):
            if trial.question == question and trial.comparison is not None:
                chosen = trial.left if answer.choice == "left" else trial.right
                wins.setdefault(trial.image, np.zeros(len(methods)))[methods.index(chosen)] += 1
        for won in wins.values():
            total += _places(won)
            n += 1
    return Ranks(question, methods, total / n, n) if n else None


def _places(won: np.ndarray) -> np.ndarray:
    """[methods, places]: 1 at the place of each method; methods with equally many wins share theirs."""
    shares = np.zeros((len(won), len(won)))
    for value in np.unique(won):
        alike = won == value
        start, count = int((won > value).sum()), int(alike.sum())
        shares[alike, start : start + count] = 1 / count
    return shares
