"""Kendall's tau between orders of methods, and its intervals."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats as scipy_stats

from invbench.compare import agreement
from invbench.compare.bootstrap import sizes


def test_tau_is_that_of_scipy() -> None:
    rng = np.random.default_rng(9)
    x, y = rng.normal(size=(5, 8)).round(1), rng.normal(size=8).round(0)
    assert agreement.kendall_tau(x, y) == pytest.approx([scipy_stats.kendalltau(one, y).statistic for one in x])
    assert math.isnan(agreement.kendall_tau([1.0, 1.0], [1.0, 2.0]))


def test_rank_agreement_says_how_sure_the_order_is() -> None:
    rng = np.random.default_rng(10)
    clear = np.arange(4.0) + rng.normal(0, 0.1, (30, 4))
    sure = agreement.rank_agreement([0.1, 0.2, 0.3, 0.4], clear, rng, resamples=199)
    assert (sure.value, sure.low, sure.high, sure.n) == (1.0, 1.0, 1.0, 30)
    unsure = agreement.rank_agreement([0.1, 0.2, 0.3, 0.4], rng.normal(0, 1, (30, 4)), rng, resamples=199)
    assert -1 <= unsure.low < unsure.high <= 1
    assert agreement.rank_agreement([4, 3, 2, 1], clear, rng, resamples=19).value == -1.0
    assert math.isnan(agreement.rank_agreement([1.0], clear[:, :1], rng).value)
    clear[0, 0] = math.nan
    assert agreement.rank_agreement([1, 2, 3, 4], clear, rng, resamples=19).missing == 1


def test_two_metrics_of_the_same_images_are_resampled_together() -> None:
    rng = np.random.default_rng(11)
    noise = rng.normal(0, 1, (40, 3))  # decides the order of the means, and both metrics see it alike
    values = np.stack([noise, 5 * noise + 1, -noise])
    found = agreement.mutual_agreement(values, rng, resamples=99)
    same, reversed_ = found[0, 1], found[0, 2]
    assert (same.value, same.low, same.high, same.n) == (1.0, 1.0, 1.0, 40)  # drawn apart, the ends would differ from 1
    assert (reversed_.value, reversed_.low, reversed_.high) == (-1.0, -1.0, -1.0)
    values[1, 3, 2] = math.nan
    assert agreement.mutual_agreement(values, rng, resamples=9)[0, 2].missing == 1
    values[0, 0, 0] = math.inf
    assert math.isnan(agreement.mutual_agreement(values, rng, resamples=9)[0, 1].low)


def test_their_interval_is_that_of_the_plain_bootstrap() -> None:
    data = np.random.default_rng(12).normal(0, 1, (2, 25, 5)) + 0.2 * np.arange(5)
    found = agreement.mutual_agreement(data, np.random.default_rng(1), resamples=399)[0, 1]
    rng, taus = np.random.default_rng(1), []
    for counts in rng.multinomial(25, np.full(25, 1 / 25), size=399):
        rows = np.repeat(np.arange(25), counts)
        taus.append(scipy_stats.kendalltau(data[0, rows].mean(0), data[1, rows].mean(0)).statistic)
    assert list(sizes(399, 10**6)) == [399]
    ends = np.quantile(taus, 0.025, method="lower"), np.quantile(taus, 0.975, method="higher")
    assert (found.low, found.high) == pytest.approx(ends)


def test_figures_of_sets_are_drawn_from_their_intervals() -> None:
    rng = np.random.default_rng(13)
    sure = np.array([[1.0, 0.9, 1.1], [2.0, 1.9, 2.1], [3.0, 2.9, 3.1]])
    found = agreement.agreement_of_estimates(sure, sure * 2, rng, n=50)
    assert (found.value, found.low, found.high, found.n) == (1.0, 1.0, 1.0, 50)
    vague = np.array([[1.0, -4.0, 6.0], [2.0, -3.0, 7.0], [3.0, -2.0, 8.0]])
    assert agreement.agreement_of_estimates(sure, vague, rng, n=50).low < 0
    vague[0, 1:] = math.nan
    found = agreement.agreement_of_estimates(sure, vague, rng, n=50)
    assert found.value == 1.0 and math.isnan(found.low)
