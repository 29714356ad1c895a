"""A user study: balanced and blinded pages, answer files that count and that do not, and the score of known answers."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from invbench.api import InvbenchError
from invbench.cli import main
from invbench.reports.run import Run
from invbench.reports.study import answers, design, score, tables
from invbench.reports.study.build import Wishes, build
from invbench.reports.study.files import Key, KeyTrial, read_key
from invbench.store import Store

from .studies import METHODS, make_study, write_answers

A, B, C = ("a", "paper"), ("b", "paper"), ("c", "paper")


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Key]:
    folder = tmp_path_factory.mktemp("study")
    return folder / "study", make_study(folder, edits=("age:3",), votes=2, raters=3)


@settings(max_examples=30, deadline=None)
@given(st.integers(2, 9), st.integers(1, 3), st.integers(1, 6), st.integers(1, 6), st.integers(0, 7), st.integers(0, 99))
def test_sides_are_balanced_and_every_unit_has_its_votes(
    images: int, questions: int, raters: int, votes: int, checks: int, seed: int
) -> None:
    votes = min(votes, raters)
    pairs, rng = [(A, B), (A, C), (B, C)], np.random.default_rng(seed)
    names = [f"{i}" for i in range(images)]
    pages = design.pages(names, pairs, questions=questions, raters=raters, votes=votes, checks=checks, rng=rng)
    seen = Counter((one.question, one.image, one.comparison) for page in pages for one in page if one.comparison is not None)
    assert seen == {(q, name, c): votes for q in range(questions) for name in names for c in range(3)}
    for page in pages:
        for number, (first, _) in enumerate(pairs):
            lefts = [one.left.method == first for one in page if one.comparison == number]
            assert abs(2 * sum(lefts) - len(lefts)) <= 1
        obvious = [one for one in page if one.comparison is None]
        assert len(obvious) == checks and abs(2 * sum(one.expected == "left" for one in obvious) - checks) <= 1
        for one in obvious:
            right, wrong = (one.left, one.right) if one.expected == "left" else (one.right, one.left)
            assert right.image == one.image != wrong.image and right.method == wrong.method
    assert abs(len(pages[0]) - len(pages[-1])) <= 3 * math.ceil(1)  # a unit more or less
    if votes == raters and raters % 2 == 0:  # each pair has each method on the left as often as on the right
        sides = Counter(
            (one.question, one.image, one.comparison, one.left.method)
            for page in pages
            for one in page
            if one.comparison is not None
        )
        assert set(sides.values()) == {raters // 2}


def test_a_page_names_neither_methods_nor_images_and_asks_nothing_of_a_network(study: tuple[Path, Key]) -> None:
    folder, key = study
    for page in key.pages:
        text = (folder / f"page-{page.page}.html").read_text(encoding="utf-8")
        shown = re.sub(r'"[0-9a-f]{16}": "[^"]*"', "", text)  # without the pictures
        names = [*METHODS, *key.methods.values(), "procfaces", "0001", str(folder.parent)]
        assert [name for name in names if re.search(rf"\b{re.escape(name)}\b", shown, flags=re.I)] == []
        assert re.search(r"https?:|//[a-z]", shown.replace("// ", "")) is None
        policy = re.search(r'Security-Policy" content="([^"]*)"', text)[1]
        assert "default-src 'none'" in policy and "unsafe" not in policy
        for tag in ("script", "style"):
            inside = re.search(rf"<{tag}>(.*?)</{tag}>", text, flags=re.S)[1]
            assert hashlib.sha256(inside.encode()).digest().hex() == _hex(policy, tag)
    orders = [[trial.image for trial in page.trials] for page in key.pages]
    assert orders[0] != orders[1] != orders[2]


def _hex(policy: str, tag: str) -> str:
    import base64
    import html

    return base64.b64decode(re.search(rf"{tag}-src 'sha256-([^']+)'", html.unescape(policy))[1]).hex()


def test_the_same_seed_gives_the_same_bytes_and_another_seed_another_study(tmp_path: Path) -> None:
    key = make_study(tmp_path)
    run = Run.of(Store(tmp_path / "run"))
    again = build(run, Wishes(methods=METHODS, raters=2, checks=4), tmp_path / "again")
    other = build(run, Wishes(methods=METHODS, raters=2, checks=4, seed=1), tmp_path / "other")
    assert again == key and other.study != key.study
    names = sorted(path.name for path in (tmp_path / "study").iterdir())
    assert names == ["key.json", "page-01.html", "page-02.html"]
    assert all((tmp_path / "study" / name).read_bytes() == (tmp_path / "again" / name).read_bytes() for name in names)
    with pytest.raises(InvbenchError, match="expected a folder without a study"):
        build(run, Wishes(methods=METHODS), tmp_path / "study")


def test_pictures_that_changed_or_lead_elsewhere_are_refused(tmp_path: Path) -> None:
    make_study(tmp_path)
    run = Run.of(Store(tmp_path / "run"))
    picture = run.store.picture("dhr.paper.procfaces-test", "0002")
    kept = picture.read_bytes()
    picture.write_bytes(run.store.picture("dhr.paper.procfaces-test", "0003").read_bytes())
    with pytest.raises(InvbenchError, match="0002.png: expected the picture that the run wrote"):
        build(run, Wishes(methods=METHODS), tmp_path / "one")
    (tmp_path / "elsewhere.png").write_bytes(kept)
    picture.unlink()
    picture.symlink_to(tmp_path / "elsewhere.png")
    with pytest.raises(InvbenchError, match="found a link that leads out of it"):
        build(run, Wishes(methods=METHODS), tmp_path / "two")
    wrong = {
        "two methods": {"methods": ("dhr",)},
        "unknown method 'pit'": {"methods": ("dhr", "pit")},
        "found neither": {"methods": METHODS, "inversion": False},
        "unknown edit": {"methods": METHODS, "edits": ("age:9",)},
    }
    for words, wishes in wrong.items():
        with pytest.raises(InvbenchError, match=words):
            build(run, Wishes(**wishes), tmp_path / "three")


def changed(path: Path, change) -> Path:
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))
    return path


CHANGES = {
    "a choice": (
        lambda c: c["answers"][0].update(choice="left" if c["answers"][0]["choice"] == "right" else "right"),
        "changed after",
    ),
    "a time": (lambda c: c["answers"][3].update(ms=1), "changed after"),
    "another page": (lambda c: c.update(page="02"), "changed after"),
    "a page that is not": (lambda c: c.update(page="77"), "from 01 to 03, found page 77"),
    "another study": (lambda c: c.update(study="0" * 12), "expected answers to study"),
    "one answer less": (lambda c: c["answers"].pop(), "changed after"),
    "a key more": (lambda c: c.update(name="me"), "name: Extra inputs"),
    "a truth for a time": (lambda c: c["answers"][0].update(ms=True), "ms: Input should be a valid integer"),
    "a third side": (lambda c: c["answers"][0].update(choice="both"), "choice: Input should be 'left' or 'right'"),
    "another format": (lambda c: c.update(format=2), "format: Input should be 1"),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_changed_file_is_refused_with_the_reason(study: tuple[Path, Key], tmp_path: Path, name: str) -> None:
    _, key = study
    change, words = CHANGES[name]
    path = changed(write_answers(tmp_path / "a.json", key, key.pages[0], lambda trial: "left"), change)
    counted, refused = answers.read(key, [path])
    assert counted == [] and len(refused) == 1 and words in refused[0].reason


def test_copies_count_once_and_two_different_answers_of_a_page_not_at_all(study: tuple[Path, Key], tmp_path: Path) -> None:
    _, key = study
    one = write_answers(tmp_path / "1.json", key, key.pages[0], lambda trial: "left")
    (tmp_path / "2.json").write_bytes(one.read_bytes())
    two = write_answers(tmp_path / "3.json", key, key.pages[1], lambda trial: "left")
    four = write_answers(tmp_path / "4.json", key, key.pages[1], lambda trial: "right")
    (tmp_path / "5.json").write_bytes(b"\xff\x00")
    (tmp_path / "6.json").write_bytes(b"[" * 200_000)
    counted, refused = answers.read(key, sorted(tmp_path.iterdir()))
    assert [rater.page.page for rater in counted] == ["01"]
    reasons = {Path(one.source).name: one.reason for one in refused}
    assert reasons["2.json"] == f"the same answers as {one}" and sorted(reasons) == [
        "2.json",
        "3.json",
        "4.json",
        "5.json",
        "6.json",
    ]
    assert all("answered 2 times, not always alike" in reasons[path.name] for path in (two, four))


def test_a_rater_who_misses_the_checks_does_not_count(study: tuple[Path, Key], tmp_path: Path) -> None:
    _, key = study

    def file(name: str, missed: int) -> Path:
        page, left = key.pages[0], missed
        trials = []
        for trial in page.trials:
            wrong = trial.comparison is None and left > 0
            left -= wrong
            trials.append(
                trial.model_copy(update={"expected": "left" if trial.expected == "right" else "right"}) if wrong else trial
            )
        return write_answers(tmp_path / name, key, page.model_copy(update={"trials": tuple(trials)}), lambda trial: "left")

    assert key.mistakes == 1
    assert answers.read(key, [file("one.json", 1)])[0][0].right == 3
    counted, refused = answers.read(key, [file("two.json", 2)])
    assert counted == [] and refused[0].reason == "2 of 4 attention checks wrong, at most 1 may be"


def test_shares_majorities_and_ranks_are_those_of_a_count_by_hand(study: tuple[Path, Key], tmp_path: Path) -> None:
    _, key = study
    rng = np.random.default_rng(4)
    chosen: dict[str, str] = {}

    def choose(trial: KeyTrial) -> str:
        return chosen.setdefault(trial.id, str(rng.choice([trial.left, trial.right])))

    paths = [write_answers(tmp_path / f"{page.page}.json", key, page, choose) for page in key.pages]
    found = score.score(key, paths)
    assert len(found.preferences) == 2 * 3 and len(found.raters) == 3
    for one in found.preferences:
        wins: dict[str, list[bool]] = {}
        for trial in (trial for page in key.pages for trial in page.trials):
            if (
                trial.question == one.question
                and trial.comparison is not None
                and {trial.left, trial.right} == {one.first, one.second}
            ):
                wins.setdefault(trial.image, []).append(chosen[trial.id] == one.first)
        shares = [sum(of) / len(of) for of in wins.values()]
        assert one.votes == sum(map(len, wins.values())) == 12 and one.images == 6
        assert one.share.value == pytest.approx(sum(shares) / 6)
        assert (one.won, one.tied) == (sum(s > 0.5 for s in shares), sum(s == 0.5 for s in shares))
        votes = [vote for of in wins.values() for vote in of]
        resampled = rng.choice(votes, size=(4000, len(votes))).mean(axis=1).std()
        assert one.spread == pytest.approx(resampled, abs=0.01)
    for one in found.ranks:
        assert one.n == 12 and one.shares.sum(axis=0) == pytest.approx(1) and one.shares.sum(axis=1) == pytest.approx(1)
    for form in tables.FORMATS.values():
        assert "PTI" in form(found)


def test_a_method_that_always_wins_is_first_and_a_circle_shares_all_places(study: tuple[Path, Key], tmp_path: Path) -> None:
    _, key = study
    best = ["dhr:paper", "pti:paper", "psp:paper"]
    paths = [
        write_answers(tmp_path / f"{page.page}.json", key, page, lambda trial: min(trial.left, trial.right, key=best.index))
        for page in key.pages
    ]
    found = score.score(key, paths)
    assert all(one.share.value in (0, 1) and math.isnan(one.alpha) and one.spread == 0 for one in found.preferences)
    ranks = found.ranks[0]
    assert [ranks.methods[i] for i in ranks.shares.argmax(axis=0)] == best and ranks.shares.max(axis=0).tolist() == [1, 1, 1]
    assert "6 images cannot tell whether raters prefer PTI or DHR" in tables.text(found)  # not after Holm over six pairs
    circle = {frozenset(best[:2]): best[0], frozenset(best[1:]): best[1], frozenset((best[0], best[2])): best[2]}
    for page in key.pages:
        write_answers(tmp_path / f"{page.page}.json", key, page, lambda trial: circle[frozenset((trial.left, trial.right))])
    assert score.score(key, paths).ranks[0].shares == pytest.approx(np.full((3, 3), 1 / 3))


def test_alpha_is_that_of_the_textbook() -> None:
    nan = math.nan  # three coders and fifteen units: Krippendorff's own example, nominal alpha 0.691
    coders = [
        [nan, nan, nan, nan, nan, 3, 4, 1, 2, 1, 1, 3, 3, nan, 3],
        [1, nan, 2, 1, 3, 3, 4, 3, nan, nan, nan, nan, nan, nan, nan],
        [nan, nan, 2, 1, 3, 4, 4, nan, 2, 1, 1, 3, 3, nan, 4],
    ]
    assert score.agreement(np.array(coders)) == pytest.approx(0.691, abs=5e-4)
    assert math.isnan(score.agreement(np.array([[1.0, 0.0, 1.0]]))) and math.isnan(score.agreement(np.ones((3, 4))))


def test_the_spread_of_sams_study_is_below_the_published_bound() -> None:
    votes = np.zeros((3, 500))
    votes.ravel()[: int(0.5 * 1500)] = 1  # the widest case of 1500 votes; the paper tells less than 2.5 %
    rng = np.random.default_rng(0)
    spread = (rng.binomial(1500, votes.mean(), size=2999) / 1500).std()
    assert spread == pytest.approx(math.sqrt(0.25 / 1500), rel=0.05) and spread < 0.025


def test_the_verbs_build_and_score_and_say_what_does_not_count(tmp_path: Path) -> None:
    make_study(tmp_path)
    words = [
        "study",
        "build",
        str(tmp_path / "run"),
        "--methods",
        "dhr,pti",
        "--edits",
        "age",
        "--no-inversion",
        "--images",
        "9",
    ]
    done = CliRunner().invoke(main, [*words, "--largest", "32", "--raters", "1", "--out", str(tmp_path / "edits")])
    assert done.exit_code == 0 and "note: 6 images, not 9" in done.output and "1 pages of up to 12 pairs" in done.output
    key = read_key(tmp_path / "edits")
    assert [one.text for one in key.questions] == [
        "In which picture is this change made better, with all else kept: age +15 years?"
    ]
    good = write_answers(tmp_path / "good.json", key, key.pages[0], lambda trial: "dhr:paper")
    scored = ["study", "score", str(tmp_path / "edits"), str(good)]
    done = CliRunner().invoke(main, scored)
    assert done.exit_code == 0 and "Raters prefer DHR to PTI (p = 0.031" in done.output
    bad = changed(write_answers(tmp_path / "bad.json", key, key.pages[0], lambda trial: "left"), CHANGES["a time"][0])
    done = CliRunner().invoke(main, [*scored, str(bad), "--format", "json"])
    assert (
        done.exit_code == 1
        and "not counted" in done.stderr
        and json.loads(done.stdout)["preferences"][0]["share"]["value"] == 1
    )
    done = CliRunner().invoke(main, ["study", "score", str(tmp_path / "edits"), str(bad)])
    assert done.exit_code == 2 and "expected an answer file that counts, found none" in done.output
    assert CliRunner().invoke(main, ["study", "score", str(good), str(good)]).exit_code == 2
