"""Intervals, paired tests, tie groups and rank agreement, against scipy and by simulation."""

from __future__ import annotations

import math
from itertools import combinations

import numpy as np
import pytest
from scipy import stats as scipy_stats

from invbench.compare import signs, stats


def coverage(draw, mean: float, *, n: int, runs: int, resamples: int) -> float:
    rng = np.random.default_rng(3)
    found = [stats.mean_interval(draw(rng, n), rng, resamples=resamples) for _ in range(runs)]
    return float(np.mean([one.low <= mean <= one.high for one in found]))


def test_the_interval_covers_the_true_mean_about_as_often_as_it_says() -> None:
    assert 0.85 <= coverage(lambda rng, n: rng.normal(2, 3, n), 2.0, n=40, runs=80, resamples=299) < 1.0


@pytest.mark.slow
@pytest.mark.parametrize(("n", "low"), [(8, 0.85), (50, 0.92), (200, 0.935)])
def test_coverage_by_simulation(n: int, low: float) -> None:
    assert low <= coverage(lambda rng, n: rng.normal(size=n), 0.0, n=n, runs=1500, resamples=999) <= 0.965


@pytest.mark.slow
def test_coverage_of_skewed_data_by_simulation() -> None:
    found = coverage(lambda rng, n: rng.lognormal(0, 0.5, n), math.exp(0.125), n=100, runs=1500, resamples=999)
    assert 0.92 <= found <= 0.965


def test_what_cannot_be_averaged_is_counted_and_not_hidden() -> None:
    rng = np.random.default_rng(0)
    one = stats.mean_interval([1.0, 2.0, 4.0, math.nan, 3.0], rng)
    assert (one.value, one.n, one.missing) == (2.5, 4, 1) and one.low < 2.5 < one.high
    assert one.margin == max(one.high - 2.5, 2.5 - one.low)
    infinite = stats.mean_interval([20.0, math.inf, 30.0], rng)
    assert infinite.value == math.inf and infinite.infinite == 1 and math.isnan(infinite.low)
    assert math.isnan(stats.mean_interval([math.inf, -math.inf], rng).value)
    for values, n in (([], 0), ([5.0], 1), ([math.nan], 0)):
        found = stats.mean_interval(values, rng)
        assert found.n == n and math.isnan(found.low) and math.isnan(found.high)
    same = stats.mean_interval([0.1, 0.1, 0.1], rng)
    assert (same.value, same.low, same.high) == (0.1, 0.1, 0.1)


def test_the_same_generator_gives_the_same_interval() -> None:
    values = np.random.default_rng(1).normal(size=30)
    first, second = (stats.mean_interval(values, np.random.default_rng(7), resamples=199) for _ in range(2))
    assert first == second != stats.mean_interval(values, np.random.default_rng(8), resamples=199)


def test_a_difference_is_paired() -> None:
    rng = np.random.default_rng(0)
    hard = rng.lognormal(0, 2, 50)  # images differ far more than methods
    found = stats.difference_interval(hard + 0.1 + rng.normal(0, 0.05, 50), hard, rng, resamples=499)
    assert 0.05 < found.low < found.value < found.high < 0.15
    assert stats.difference_interval([1.0, math.nan, 3.0], [0.0, 1.0, math.nan], rng).missing == 2
    with pytest.raises(ValueError, match="found 1 and 2"):
        stats.difference_interval([1.0], [1.0, 2.0], rng)


def test_exact_p_values_are_those_of_scipy() -> None:
    data = np.random.default_rng(2).normal(0.4, 1, size=(9, 3))
    p = stats.sign_flip_test(data, np.random.default_rng(0))
    expected = [
        scipy_stats.permutation_test((column,), np.mean, permutation_type="samples", vectorized=True, n_resamples=np.inf)
        for column in data.T
    ]
    assert p == pytest.approx([one.pvalue for one in expected], abs=1e-12)


def test_drawn_p_values_come_near_the_exact_ones() -> None:
    data = np.random.default_rng(4).normal(0.4, 1, size=(12, 2))
    exact = stats.sign_flip_test(data, np.random.default_rng(0), flips=4096)
    drawn = stats.sign_flip_test(data, np.random.default_rng(0), flips=4000)
    assert drawn == pytest.approx(exact, abs=0.03) and (drawn != exact).any()


def test_p_values_of_awkward_columns() -> None:
    rng = np.random.default_rng(0)
    columns = {"zero": [0.0] * 4, "missing": [1.0, math.nan, 1.0, 1.0], "infinite": [1.0, math.inf, 1.0, 1.0]}
    p = dict(zip(columns, stats.sign_flip_test(np.array(list(columns.values())).T, rng)))
    assert p["zero"] == 1.0 and p["missing"] == 0.25 and math.isnan(p["infinite"])  # 0.25: three signs, exact
    assert np.isnan(stats.sign_flip_test(np.full((3, 1), math.nan), rng)).all()
    assert np.isnan(stats.sign_flip_test(np.empty((0, 2)), rng)).all()


def test_the_test_keeps_its_level_under_the_null() -> None:
    rng = np.random.default_rng(5)
    p = stats.sign_flip_test(rng.standard_t(3, size=(20, 600)), rng, flips=999)
    assert np.mean(p <= 0.05) == pytest.approx(0.05, abs=0.03)


def test_holm_against_the_definition() -> None:
    assert stats.holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    with_none = stats.holm([0.5, math.nan, 0.01])
    assert with_none[[0, 2]] == pytest.approx([1.0, 0.03]) and math.isnan(with_none[1])  # three tests, not two
    assert len(stats.holm([])) == 0


@pytest.mark.parametrize(
    ("distinct", "ranks"),
    [
        ([], {"a": (1,), "b": (1,), "c": (1,)}),
        ([("a", "c")], {"a": (1,), "b": (1, 2), "c": (2,)}),
        ([("a", "b"), ("a", "c"), ("b", "c")], {"a": (1,), "b": (2,), "c": (3,)}),
        ([("a", "b")], {"a": (1,), "b": (2,), "c": (1, 2)}),
    ],
)
def test_tie_groups_by_hand(distinct: list[tuple[str, str]], ranks: dict[str, tuple[int, ...]]) -> None:
    assert stats.tie_groups("abc", distinct) == ranks


def test_two_methods_share_a_rank_exactly_when_they_cannot_be_told_apart() -> None:
    rng = np.random.default_rng(6)
    for _ in range(50):
        names = "abcdefg"[: rng.integers(1, 8)]
        distinct = {pair for pair in combinations(names, 2) if rng.random() < 0.5}
        ranks = stats.tie_groups(names, distinct)
        assert min(ranks[names[0]]) == 1
        for pair in combinations(names, 2):
            assert bool(set(ranks[pair[0]]) & set(ranks[pair[1]])) == (pair not in distinct)


def test_methods_are_ranked_on_the_images_that_all_cover() -> None:
    rng = np.random.default_rng(8)
    hard = rng.normal(size=60)
    values = {"good": hard, "same": hard + rng.normal(0, 0.1, 60), "bad": hard + 1 + rng.normal(0, 0.1, 60)}
    values["good"] = np.where(np.arange(60) < 5, math.nan, hard)
    found = stats.rank(values, rng, better="lower")
    assert (found.n, found.left_out, found.decidable) == (55, 5, True) and found.order[-1] == "bad"
    assert found.ranks == {"good": (1,), "same": (1,), "bad": (2,)}
    assert stats.rank(values, rng, better="higher").ranks["bad"] == (1,)
    assert all(one.adjusted >= one.p for one in found.comparisons) and len(found.comparisons) == 3


def test_few_images_cannot_decide_and_that_is_said() -> None:
    values = {name: np.arange(8.0) + 100 * place for place, name in enumerate("abcdefg")}
    found = stats.rank(values, np.random.default_rng(0), better="lower")
    assert not found.decidable and set(found.ranks.values()) == {(1,)}
    assert stats.rank({"a": values["a"], "b": values["b"]}, np.random.default_rng(0), better="lower").decidable


def test_infinite_values_are_never_told_apart() -> None:
    values = {"a": np.full(20, math.inf), "b": np.full(20, math.inf), "c": np.arange(20.0)}
    found = stats.rank(values, np.random.default_rng(0), better="higher")
    assert not any(one.distinct for one in found.comparisons) and all(math.isnan(one.p) for one in found.comparisons)
    with pytest.raises(ValueError, match="none"):
        stats.rank(values, np.random.default_rng(0), better="none")
    with pytest.raises(ValueError, match="equal lengths"):
        stats.rank({"a": [1.0], "b": [1.0, 2.0]}, np.random.default_rng(0), better="lower")


def test_many_methods_can_still_be_told_apart() -> None:
    values = {str(i): np.arange(30.0) * 1e-3 + i for i in range(25)}  # 300 comparisons
    assert stats.rank(values, np.random.default_rng(0), better="lower", flips=99).ranks["24"] == (25,)


def test_many_intervals_are_those_of_scipy_for_the_same_draws() -> None:
    rng = np.random.default_rng(11)
    columns = [rng.lognormal(0, 1, 30), rng.normal(size=30), rng.integers(0, 2, 30).astype(float)]
    found = stats.mean_intervals(columns, np.random.default_rng(12), resamples=499)
    for column, one in zip(columns, found):
        expected = scipy_stats.bootstrap(
            (column,), np.mean, n_resamples=499, method="BCa", rng=np.random.default_rng(12)
        ).confidence_interval
        assert (one.low, one.high) == pytest.approx((expected.low, expected.high), rel=1e-12)


def test_columns_of_any_length_keep_their_place() -> None:
    rng = np.random.default_rng(13)
    columns = [rng.normal(size=n) + n for n in (5, 40, 5, 1, 40)] + [np.array([2.0, 2.0]), np.array([1.0, math.inf])]
    columns[1][3] = math.nan
    found = stats.mean_intervals(columns, rng, resamples=199)
    assert [one.n for one in found] == [5, 39, 5, 1, 40, 2, 2] and found[1].missing == 1
    assert [one.value for one in found] == pytest.approx([np.nanmean(column) for column in columns])
    assert all(one.low < one.value < one.high for one in found[:3]) and (found[5].low, found[5].high) == (2.0, 2.0)
    assert math.isnan(found[3].low) and math.isnan(found[6].low) and found[6].infinite == 1


def test_many_families_are_ranked_as_each_alone() -> None:
    rng = np.random.default_rng(14)
    hard = rng.normal(size=(9, 1))  # nine images: all sign patterns are tried, so nothing depends on the draws
    families = [dict(zip("abc", (hard + step * np.arange(3) + rng.normal(0, 0.1, (9, 3))).T)) for step in (0.0, 1.0, 0.05)]
    families.append({"a": hard[:4, 0], "b": hard[:4, 0] + 1})
    better = ["lower", "higher", "lower", "lower"]
    found = stats.rankings(families, rng, better=better)
    assert found == [stats.rank(one, rng, better=way) for one, way in zip(families, better)]
    assert found[1].order == ("c", "b", "a") and found[3].n == 4
    assert stats.rankings([], rng, better=[]) == []


def test_the_fewest_images_that_decide_are_those_of_the_ranking_itself() -> None:
    assert [stats.images_to_decide(methods) for methods in (1, 2, 7, 15)] == [0, 6, 10, 13]
    for methods in (2, 3, 7):
        for n, told in ((stats.images_to_decide(methods) - 1, False), (stats.images_to_decide(methods), True)):
            values = {str(i): np.full(n, float(i)) for i in range(methods)}
            found = stats.rank(values, np.random.default_rng(0), better="lower")
            assert found.decidable == told and any(one.distinct for one in found.comparisons) == told


@pytest.mark.parametrize("effect", [0.5, 1.0])
def test_so_many_images_as_are_needed_have_the_power_that_was_planned(effect: float) -> None:
    base = np.random.default_rng(0).normal(size=1000)
    differences = (base - base.mean()) / base.std(ddof=1) + effect
    needed = stats.images_needed(differences, methods=7)
    rng = np.random.default_rng(1)
    p = stats.sign_flip_test(rng.normal(effect, 1.0, size=(needed, 400)), rng)
    assert np.mean(p <= 0.05 / 21) == pytest.approx(stats.POWER, abs=0.08)  # simulated power of Holm's first step


def test_images_needed_says_nothing_where_nothing_is_known() -> None:
    for differences in ([], [1.0], [math.nan, 1.0], [1.0, -1.0], [1.0, math.inf]):
        assert stats.images_needed(differences, methods=3) is None
    assert stats.images_needed([2.0, 2.0, math.nan], methods=7) == 10  # certain: the test's own limit


def test_tests_and_intervals_of_pairs_are_those_of_their_differences() -> None:
    rng = np.random.default_rng(20)
    pairs = [(a, b) for a in range(5) for b in range(a)]
    for n in (9, 60):  # all patterns of signs, and drawn ones
        values = rng.normal(size=(n, 1)) + rng.normal(0, 0.1, size=(n, 5)) + 0.03 * np.arange(5)
        values[:, 4] = values[:, 3] + 0.5
        values[3, 0] = math.inf
        gaps = [stats.paired_difference(values[:, a], values[:, b]) for a, b in pairs]
        p = signs.paired_sign_flip_tests(values, pairs, np.random.default_rng(1))
        assert p == pytest.approx(stats.sign_flip_test(np.stack(gaps, axis=1), np.random.default_rng(1)), nan_ok=True)
        found = stats.pair_intervals(values, pairs, np.random.default_rng(2))
        for gap, one in zip(gaps, found):
            alone = stats.mean_interval(gap, np.random.default_rng(2))
            expected = [alone.value, alone.low, alone.high, alone.n, alone.infinite]
            assert [one.value, one.low, one.high, one.n, one.infinite] == pytest.approx(expected, nan_ok=True, abs=1e-12)
    needed = stats.images_needed_of_many(np.stack(gaps, axis=1), methods=5)
    assert needed == [stats.images_needed(gap, methods=5) for gap in gaps] and None in needed
