"""One composition root: nobody else builds, and whoever asks for the scores of a picture gets the same ones."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pandas as pd
import pytest
from click.testing import CliRunner, Result

from invbench.cli import main
from invbench.run.session import Session
from invbench.schema import ROWS
from invbench.store import Store
from invbench.util import provenance
from invbench.util.startup import cores
from tests.checkout import PROJECT

BUILDERS = re.compile(r"(?<![\w.])(?:\w+\.)?(Networks|Scorer|Tools|Prefetch)\(")
MINE = "mine.scored.procfaces-test"
E4E = "e4e.paper.procfaces-test"
OF_LATENTS = {"nscd@native"}  # which are not stored


def invbench(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(one) for one in arguments])


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two faces by e4e with one edit, in all metrics that a run takes by default."""
    out = tmp_path_factory.mktemp("session") / "run"
    asked = ("--methods", "e4e:paper", "--datasets", "procfaces-test:2", "--edits", "age:3", "--device", "cpu")
    done = invbench("run", *asked, "--out", out, "--quiet")
    assert done.exit_code == 0, done.output
    return out


def test_only_the_session_builds_networks_scorers_datasets_and_tools() -> None:
    found = {
        (path.relative_to(PROJECT / "bench").as_posix(), name)
        for path in (PROJECT / "bench").rglob("*.py")
        for line in path.read_text(encoding="utf-8").splitlines()
        if not line.startswith("class ")
        for name in BUILDERS.findall(line)
    }
    assert found == {("run/session.py", name) for name in ("Networks", "Scorer", "Tools", "Prefetch")}


def test_a_run_that_nobody_touched_is_verified(measured: Path) -> None:
    done = invbench("score", measured, "--device", "cpu")
    assert done.exit_code == 0, done.output
    compared = {line.split()[0] for line in done.output.splitlines() if "@" in line}
    rows = Store(measured).rows()
    assert compared == {name for name in rows if "@" in name} - OF_LATENTS
    assert "changed" not in done.output and ", 0 of them different" in done.output
    values = rows[[name for name in rows if name.startswith("parsed_background")]]
    assert values.shape[1] and values[rows["edit"].notna()].notna().any().all()  # what no region reached was NaN


def test_the_same_pictures_by_other_code_have_the_same_scores(measured: Path, tmp_path: Path) -> None:
    folder, run = tmp_path / "mine", Store(measured)
    (folder / "age_+3").mkdir(parents=True)
    own = run.rows()
    for row in own.itertuples():
        source = run.path / "images" / E4E / (f"{row.image}@age+3.png" if row.edit == "age" else f"{row.image}.png")
        shutil.copy(source, (folder / "age_+3" if row.edit == "age" else folder) / f"{row.image}.png")
    out = tmp_path / "scored"
    done = invbench("score", folder, "--against", "procfaces-test:2", "--name", "mine", "--out", out, "--device", "cpu")
    assert done.exit_code == 0, done.output
    foreign = Store(out).rows()
    metrics = [name for name in own if name not in ROWS.names and "@" in name and name not in OF_LATENTS]
    assert len(metrics) > 20
    columns = ["image", "edit", "strength", *metrics]
    pd.testing.assert_frame_equal(foreign[columns], own[columns], rtol=1e-6)
    sets = ["metric", "value", "n", "reason"]
    both = [pd.DataFrame(store.sets())[sets].sort_values("metric", ignore_index=True) for store in (Store(out), run)]
    pd.testing.assert_frame_equal(*both, rtol=1e-6)


def test_a_session_opens_each_thing_once(make_settings) -> None:
    settings = make_settings()
    with Session(settings.suite, device="cpu", readers=0) as session:
        choice = settings.methods[0]
        assert session.method(choice) is session.method(choice) is not session.build(choice.spec, choice.options)
        spec = settings.datasets[0].spec
        assert session.dataset(spec) is session.dataset(spec)


def test_workers_without_cores_of_their_own_say_so(make_settings) -> None:
    suite = make_settings().suite
    for workers, told in ((1, ""), (cores() + 1, f", shared by {cores() + 1} workers")):
        with Session(suite, device="cpu", readers=0, workers=workers) as session:
            assert session.machine == provenance.described(provenance.machine("cpu")) + told
