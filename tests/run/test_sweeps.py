"""Sweeps from end to end on toys: each point a run, continued where it stopped, one table in all formats, one page of plots."""

from __future__ import annotations

import csv
import io
import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from invbench import swept
from invbench.api import InvbenchError
from invbench.cli import main
from invbench.plugins.registry import discover
from invbench.plugins.sweeps import Sweep
from invbench.reports import svg, sweep_formats, sweep_plots, sweeps
from invbench.reports.sweeps import Cell
from invbench.run import runner, sweeping
from invbench.store import Store
from tests.fixtures import TOYS, toy_settings

LEVELS = {"coarse": 4.0, "middle": 8.0, "fine": 16.0}
PRINTED = {"source": "gani", "table": "Table 7"}
ASKED = sweeping.Asked(images=3, device="cpu", workers=0)


@pytest.fixture(scope="module")
def registry():
    return discover([TOYS])


def declared(**changes) -> Sweep:
    points = [
        {"name": name, "x": level, "method": "toy", "set": [f"toy.level={level}"]}
        | {"printed": {"variant": f"residual blocks L={number}"}}
        for number, (name, level) in enumerate(LEVELS.items(), 1)
    ]
    asked = {"name": "levels", "title": "Toy: levels", "source": "Table 7", "images": 3, "dataset": "toys", "axis": "levels"}
    asked |= {"suite": "toys", "metrics": ["mse", "psnr", "toy_truth"], "edits": ["bright:1"], "printed": PRINTED}
    asked |= {"point": points}
    return Sweep.model_validate(asked | changes)


def ran(registry, out: Path, sweep: Sweep, asked: sweeping.Asked = ASKED, *, said: list[str] | None = None) -> sweeps.Swept:
    suite = toy_settings(registry, out=out).suite
    planned = sweeping.plan(sweep, suite, registry, out=out, asked=asked)
    sweeping.write(sweep, planned, out=out, asked=asked)
    assert sweeping.run(planned, progress=False, say=(said if said is not None else []).append) == 0
    return sweeps.read(out)


@pytest.fixture(scope="module")
def done(registry, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("sweep") / "levels"
    ran(registry, out, declared())
    return out


def test_values_are_the_means_of_each_run_and_printed_ones_stand_beside(done: Path) -> None:
    found = sweeps.read(done)
    assert [column.id for column in found.columns] == ["mse@native", "psnr@native", "toy_truth@native", "seconds.invert"]
    assert found.columns[2].edit == ("bright", 1.0) and found.columns[2].name == "toy-truth, bright+1"
    for row, printed in zip(found.rows, ("0.0033", "0.0028", "0.0027"), strict=True):
        rows = Store(done / row.point["name"]).rows()
        inverted, edited = rows[rows["edit"].isna()], rows[rows["edit"].notna()]
        assert row.n == row.total == 3
        assert row.cells[0].measured.value == pytest.approx(inverted["mse@native"].mean())
        assert row.cells[0].measured.low <= row.cells[0].measured.value <= row.cells[0].measured.high
        assert row.cells[2].measured.value == pytest.approx(edited["toy_truth@native"].mean())
        assert row.cells[3].measured.value == pytest.approx(inverted["seconds.invert"].mean())
        assert row.cells[0].printed.text == printed and row.cells[0].printed["metric"] == "mse"
        assert row.cells[1].printed is None and row.cells[2].printed is None  # no PSNR is printed there
    errors = [row.cells[0].measured.value for row in found.rows]
    assert errors == sorted(errors, reverse=True)


def test_all_formats_have_the_same_table(done: Path) -> None:
    found = sweeps.read(done)
    texts = {name: write(found) for name, write in sweep_formats.FORMATS.items()}
    value = sweep_formats.texts(found)[2][1][0].partition(" ")[0]
    assert all(value in texts[name] for name in ("terminal", "markdown", "latex", "html"))
    assert all("0.0033" in text and "coarse" in text for text in texts.values())
    rows = list(csv.DictReader(io.StringIO(texts["csv"])))
    assert len(rows) == 3 * 4 and {row["point"] for row in rows} == set(LEVELS)
    assert rows[0]["settings"] == "toy.level=4.0" and rows[0]["printed_in"] == "gani, Table 7"
    assert float(rows[0]["value"]) == found.rows[0].cells[0].measured.value
    assert json.loads(texts["json"])["values"][0]["metric"] == "mse@native"
    assert r"\begin{tabular}" in texts["latex"] and texts["latex"].count(r"\\") == 4
    assert texts["html"].count("<svg") == 4  # three metrics, and the printed MSE
    assert "http://" not in texts["html"] and "https://" not in texts["html"] and "src=" not in texts["html"]
    assert "printed: Table 7 of GANI" in texts["terminal"] and "printed for celebahq" in texts["terminal"]


def test_the_axis_is_that_of_the_settings_and_lines_are_joined(done: Path) -> None:
    plots = sweep_plots.plots(sweeps.read(done))
    assert [len(pair) for pair in plots] == [2, 1, 1]  # of PSNR, and of edits, nothing is printed there
    measured, printed = plots[0]
    assert measured.count("<circle") == 3 and printed.count("<circle") == 3 and "as printed" in printed
    assert all(f">{level:g}<" in measured for level in LEVELS.values())
    found = sweeps.read(done)
    by_time = replace(found, plan={**found.plan, "axis": swept.SECONDS})
    assert "seconds an image (log)" in sweep_plots.plots(by_time)[0][0]
    one = replace(found, rows=tuple(replace(row, cells=row.cells[:0]) for row in found.rows[:0]))
    assert sweep_plots.plots(one) == []
    part = replace(found, rows=(*found.rows[:2], replace(found.rows[2], cells=tuple(Cell(None, None) for _ in found.columns))))
    assert ">16<" in sweep_plots.plots(part)[0][0]  # the axis is the same, whatever is measured
    names = {**found.plan, "axis": ""}
    assert '<path class="line' not in sweep_plots.plots(replace(found, plan=names))[0][0]
    assert all(f">{name}<" in sweep_plots.plots(replace(found, plan=names))[0][0] for name in LEVELS)
    places = re.findall(r'<circle class="hue-0" cx="([\d.]+)"', sweep_plots.plots(replace(found, plan=names))[0][0])
    third = (svg.WIDTH - svg.LEFT - svg.RIGHT) / 3
    assert [float(at) for at in places] == pytest.approx([svg.LEFT + third * (k + 0.5) for k in range(3)], abs=0.1)


def test_an_interval_of_the_page_stands_whole_below_its_value(done: Path) -> None:
    page = sweep_formats.html(sweeps.read(done))
    cells = re.findall(r'<td class="number">([\d.]+)<span class="interval">(\[[\d., -]+\])</span></td>', page)
    assert len(cells) == 3 * 3 and all(low <= value <= high for value, low, high in map(_numbers, cells))  # seconds have none


def _numbers(cell: tuple[str, str]) -> tuple[float, float, float]:
    low, high = cell[1].strip("[]").split(", ")
    return float(cell[0]), float(low), float(high)


def test_what_is_done_is_not_done_again_and_more_images_are_added(registry, done, monkeypatch) -> None:
    before = {path: path.stat().st_mtime_ns for path in done.rglob("*.parquet")}
    ran(registry, done, declared())
    assert {path: path.stat().st_mtime_ns for path in done.rglob("rows/*/*.parquet")}.items() <= before.items()
    calls: list[str] = []
    real = runner.run
    monkeypatch.setattr(runner, "run", lambda settings, **rest: calls.append(settings.out.name) or real(settings, **rest))
    found = ran(registry, done, declared(), replace(ASKED, images=5))
    assert calls == [*LEVELS] and [row.n for row in found.rows] == [5, 5, 5]


def test_an_interrupted_sweep_shows_what_it_has_and_goes_on(registry, tmp_path, monkeypatch) -> None:
    out, sweep = tmp_path / "s", declared()
    suite = toy_settings(registry, out=out).suite
    planned = sweeping.plan(sweep, suite, registry, out=out, asked=ASKED)
    sweeping.write(sweep, planned, out=out, asked=ASKED)
    real = runner.run

    def stopped(settings, **rest):
        return 130 if settings.out.name == "middle" else real(settings, **rest)

    monkeypatch.setattr(runner, "run", stopped)
    assert sweeping.run(planned, progress=False, say=print) == 130
    found = sweeps.read(out)
    assert [row.reason for row in found.rows] == ["", "not run yet", "not run yet"]
    assert "middle, fine: not measured: not run yet" in sweep_formats.terminal(found)
    monkeypatch.undo()
    assert [row.reason for row in ran(registry, out, sweep).rows] == ["", "", ""]


def test_points_that_cannot_be_measured_are_told_and_left_out(registry, tmp_path) -> None:
    points = [point.model_dump() for point in declared().point]
    points[1] |= {"networks": {"judge": "toy_middle"}, "train": "judge --set a=1 --as toy_middle"}
    said: list[str] = []
    found = ran(registry, tmp_path / "s", declared(point=points), said=said)
    assert said[0] == (
        "without middle: its network toy_middle is not trained here; "
        "python -m invbench.methods.train judge --set a=1 --as toy_middle does it"
    )
    assert said[1:] == ["point 1 of 2: coarse", "point 2 of 2: fine"]
    assert [row.n for row in found.rows] == [3, 0, 3] and found.rows[1].cells[0].printed.text == "0.0028"
    with pytest.raises(InvbenchError, match="none of its points can be measured here: middle: its network"):
        ran(registry, tmp_path / "t", declared(point=points[1:2]))


def test_plug_ins_work_in_a_process_of_their_own(registry, tmp_path) -> None:
    suite = toy_settings(registry, out=tmp_path).suite
    for workers, expected in ((None, 1), (0, 0), (2, 2)):
        asked = replace(ASKED, workers=workers)
        planned = sweeping.plan(declared(), suite, registry, out=tmp_path, asked=asked)
        assert {one.settings.workers for one in planned} == {expected}


def test_a_folder_of_something_else_is_left_alone(registry, done, tmp_path) -> None:
    with pytest.raises(InvbenchError, match="expected the folder of sweep other, found that of levels"):
        ran(registry, done, declared(name="other"))
    (tmp_path / "mine.txt").touch()
    with pytest.raises(InvbenchError, match="expected the folder of a sweep or an empty one"):
        ran(registry, tmp_path, declared())
    with pytest.raises(InvbenchError, match=r"sweep.json: expected the folder of a sweep"):
        sweeps.read(tmp_path)
    killed = tmp_path / "killed"  # while it wrote its first file
    killed.mkdir()
    (killed / f".sweep.json.{'0a' * 8}.tmp").touch()
    assert len(ran(registry, killed, declared(point=[declared().point[0].model_dump()])).rows) == 1
    broken = tmp_path / "broken"
    broken.mkdir()
    content = swept.read(done)
    swept.write(broken, content | {"points": "none"})
    with pytest.raises(InvbenchError, match="sweep.points: expected a list, found 'none'"):
        sweeps.read(broken)
    swept.write(broken, content | {"points": [content["points"][0] | {"name": "../other"}]})
    with pytest.raises(InvbenchError, match="expected a plain name, found '../other'"):
        sweeps.read(broken)


def test_the_command_runs_shows_and_lists(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("bench.toml").write_text(
        '[suites.toys]\ntitle = "toys"\nresolution = 16\ndatasets = ["toys"]\n'
        'collections = { all = ["toys"] }\ndefault = "all"\n'
        '[[sweep]]\nname = "mine"\ntitle = "Mine"\nsuite = "toys"\nimages = 2\nmetrics = ["mse"]\n'
        'point = [{ name = "four", method = "toy", set = ["toy.level=4.0"] }, { name = "fine", method = "toy:fine" }]\n'
    )

    def called(*words: str, code: int = 0) -> str:
        done = CliRunner().invoke(main, [*words], catch_exceptions=False)
        assert done.exit_code == code, done.output
        return done.output

    assert "mine                    Mine: 2 points, 2 images" in called("sweep", "list")
    plugin = ("--plugin", str(TOYS), "--device", "cpu", "--workers", "0")
    out = called("sweep", "mine", *plugin)
    assert "point 2 of 2: fine" in out and "page: runs/sweep-mine/sweep.html" in out
    assert Path("runs/sweep-mine/sweep.html").read_text().count("<svg") == 1
    assert called("sweep", "show", "mine") in out
    called("sweep", "show", "runs/sweep-mine", "--format", "csv", "--out", "mine.csv")
    assert Path("mine.csv").read_text().startswith("sweep,point,")
    assert called("sweep", "run", "mine", "--dataset", "toys:1", "-n", "1", "--quiet", *plugin).endswith("sweep.html\n")
    assert "unknown sweep 'min'; did you mean 'mine'" in called("sweep", "min", code=2)
    assert "expected this or --images" in called("sweep", "mine", "--full", "-n", "2", code=2)
    assert "expected one that was run" in called("sweep", "show", "nothing", code=2)
    assert "Exit code" in called("sweep", "run", "--help") and "gani-blocks" in called("sweep", "--help")
