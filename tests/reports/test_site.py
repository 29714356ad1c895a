"""The site: its figures are those of the leaderboard, its links stay in it, names stay text, changed pictures are left out."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from invbench.api import Edit, InvbenchError
from invbench.cli import main
from invbench.reports import query, site, site_published, svg
from invbench.reports.extract import Column
from invbench.reports.figures import Figure
from invbench.reports.measures import Measure
from invbench.store import Part, Store

from .fake import make_run

HOSTILE = "<img src=x onerror=alert(1)>"
BREAKOUT = "</script><script>alert(2)</script>"


class Page(HTMLParser):
    """Tags with attributes, and the rows of the leaderboards: head -> data-value."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.rows: list[dict[str, str]] = []
        self._board, self._table, self._heads, self._column = "", "", list[str](), 0
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        self.tags.append((tag, found))
        if tag == "section":
            self._board = found.get("data-board") or ""
        elif tag == "table":
            self._table, self._heads = (found.get("class") or "").split()[-1], []
        elif tag == "th" and found.get("scope") == "col":
            self._heads.append(found.get("data-metric") or str(len(self._heads)))
        elif tag == "tr" and "data-method" in found:
            self.rows.append({"board": self._board, "method": str(found["data-method"]), "table": self._table})
            self.rows[-1] |= {key: str(found[f"data-{key}"]) for key in ("edit", "strength") if f"data-{key}" in found}
            self._column = 0
        elif tag in {"th", "td"} and self.rows and "data-value" in found:
            self.rows[-1][self._heads[self._column]] = str(found["data-value"])
            self._column += 1

    def values(self, tag: str, name: str) -> list[str]:
        return [str(found[name]) for one, found in self.tags if one == tag and name in found]


def content(folder: Path, name: str) -> dict:
    """What a data script hands over."""
    text = (folder / "data" / f"{name}.js").read_text()
    return json.loads(re.fullmatch(r'window\.invbench\.\w+\["[^"]+"\]=(.*);\n', text).group(1))


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Store:
    folder = tmp_path_factory.mktemp("run")
    return make_run(folder, count=3, methods=("psp", "pti", "dhr"), failing=("psp", 1), strengths=(-1.0, 3.0))


@pytest.fixture(scope="module")
def pages(run: Store) -> Path:
    return site.write([run]).parent


def test_figures_of_the_pages_are_those_of_the_leaderboard(run: Store, pages: Path) -> None:
    compared = 0
    for name, table, frame, keys in (
        ("index", "board", query.leaderboard(run), ("dataset", "method")),
        ("edits", "edits", query.edits(run, strongest=True), ("dataset", "method", "edit", "strength")),
    ):
        page = Page((pages / f"{name}.html").read_text())
        rows = [row | {"dataset": row["board"]} for row in page.rows if row["table"] == table]
        shown = {tuple(row[key] for key in keys): row for row in rows}
        assert len(shown) == len(frame)
        for record in frame.to_dict("records"):
            row = shown[tuple(str(record[key]) for key in keys)]
            for id in query.Run.of(run).specs:
                if id in row:
                    assert float(row[id] or "nan") == pytest.approx(record[id], rel=0, abs=0, nan_ok=True)
                    compared += row[id] != ""
    assert compared > 60


def test_the_front_page_answers_first_and_hides_all_but_the_main_columns(pages: Path) -> None:
    text = (pages / "index.html").read_text()
    assert text.index("images cannot tell DHR from PTI and PSP in PSNR") < text.index("<svg") < text.index("<table")
    heads = [found for tag, found in Page(text).tags if tag == "th" and "data-metric" in found]
    shown = [str(one["data-metric"]) for one in heads if "hidden" not in one]
    assert shown[:4] == ["psnr@native", "lpips_proc@native", "id_proc@native", "kid_proc@native"]
    assert shown[4].startswith("id_kept@native at age") and "mse@native" not in shown[:5] and len(text) < 400_000
    assert not re.search(r'class="rank"', text)  # nothing is told apart, so nobody has a rank


def test_every_page_has_its_provenance_and_asks_for_nothing_outside(run: Store, pages: Path) -> None:
    for file in [*pages.glob("*.html"), *pages.glob("methods/*.html")]:
        text = file.read_text()
        page = Page(text)
        assert "commit 0123456789ab" in text and "seed 0" in text and "invbench run --suite procfaces" in text
        kinds = (("img", "src"), ("script", "src"), ("link", "href"), ("a", "href"))
        links = [link for kind in kinds for link in page.values(*kind)]
        for link in links:
            if link in ("data:,", "#main"):
                continue
            assert not re.match(r"[a-zA-Z][a-zA-Z0-9+.-]*:|//|/", link)
            target = (file.parent / unquote(link).partition("#")[0]).resolve()
            assert target.is_file() and target.is_relative_to(run.path.resolve()), link
        assert "default-src 'none'" in next(found["content"] for tag, found in page.tags if found.get("http-equiv"))
        assert "unsafe-inline" not in text.partition("script-src")[2].partition('"')[0]
    for file in pages.glob("static/*"):
        text = file.read_text()
        assert "fetch(" not in text and "@import" not in text and not re.search(r"https?://(?!www\.w3\.org/)", text)
    about = (pages / "about.html").read_text()
    for words in ("inversion failed: output is not finite", "weights missing: no network", "ab" * 32, "needs at least 100"):
        assert words in about


def test_data_of_the_scripts_are_the_rows_and_their_pictures_exist(run: Store, pages: Path) -> None:
    for dataset in ("procfaces-test", "procfaces-test-ood"):
        board = content(pages, dataset)
        assert board["images"] == ["0000", "0001", "0002"] and board["methods"][0] == "DHR"
        rows = run.rows()
        rows = rows[(rows["dataset"] == dataset) & rows["edit"].isna()].sort_values("index")
        metric = board["fidelity"]
        assert board["metrics"][metric]["id"] == "psnr@native"
        values = content(pages, f"{dataset}.{metric}")
        for number, cell in enumerate(board["cells"]):
            own = rows[rows["method"] == cell.split(".")[0]]["psnr@native"].tolist()
            assert [row[number] for row in values] == [pytest.approx(v, rel=1e-5) if v == v else None for v in own]
            for index, file in enumerate(board["files"]):
                for tag in ("", *(tag for edits in board["edits"].values() for _, tag in edits)):
                    picture = pages / unquote(f"{board['root']}/images/{cell}/{file}{tag}.png")
                    assert picture.is_file() is (f"{index}.{number}" not in board["failed"])
        assert board["hidden"] == [] and board["pixelated"] and board["truths"]
        first = content(pages, f"{dataset}.pairs")[metric][0]
        gaps = np.array([row[first[0]] - row[first[1]] for row in values if None not in row])
        assert first[2] == pytest.approx(gaps.mean(), rel=1e-4) and first[7] == len(gaps) and first[8] > len(gaps)


def test_a_site_of_several_runs_stands_alone(run: Store, tmp_path: Path) -> None:
    other = make_run(tmp_path / "other", count=2, methods=("dhr",), datasets=("d",), failing=None, strengths=())
    done = CliRunner().invoke(main, ["site", str(run.path), str(other.path), "--out", str(tmp_path / "site"), "--images", "1"])
    assert done.exit_code == 0, done.output
    text = (tmp_path / "site" / "index.html").read_text()
    assert "other: d" in text and f"{run.path.name}: procfaces-test" in text
    board = content(tmp_path / "site", "1-d")
    assert board["root"] == "pictures/1"
    kept = sorted(path.name for path in (tmp_path / "site" / "pictures" / "1" / "images").rglob("*.png"))
    assert kept == ["0000.png"] and (tmp_path / "site" / "pictures" / "1" / "inputs" / "d" / "0000.png").is_file()
    assert {path.name for path in (tmp_path / "site" / "methods").iterdir()} >= {"1-dhr.paper.html", "0-dhr.paper.html"}
    with pytest.raises(InvbenchError, match="expected --out"):
        site.write([run, other])


def test_pictures_that_changed_or_lie_outside_are_left_out(tmp_path: Path) -> None:
    store = make_run(tmp_path / "run", count=2, methods=("dhr",), datasets=("d",), failing=None, strengths=(1.0,))
    secret = tmp_path / "secret.png"
    Image.new("RGB", (64, 64)).save(secret)
    linked, broken = store.picture("dhr.paper.d", "0000"), store.picture("dhr.paper.d", "0001", Edit("age", 1.0))
    linked.unlink()
    linked.symlink_to(secret)
    broken.write_bytes(b"no picture")
    Image.new("RGB", (64, 64)).save(store.input("d", "0001"))
    pages = site.write([store]).parent
    hidden = {unquote(one) for one in content(pages, "d")["hidden"]}
    assert hidden == {path.relative_to(store.path).as_posix() for path in (linked, broken, store.input("d", "0001"))}
    assert "left out: 3" in (pages / "gallery.html").read_text()
    assert "images/dhr.paper.d/0000.png" not in (pages / "methods" / "dhr.paper.html").read_text()
    out = site.write([store], tmp_path / "site").parent
    assert not (out / "pictures" / "0" / "images" / "dhr.paper.d" / "0000.png").exists()


def test_hostile_names_stay_text(tmp_path: Path) -> None:
    names = {"datasets": (f"d{HOSTILE}",), "prefix": BREAKOUT}
    store = make_run(tmp_path, count=2, methods=("dhr", "pti"), failing=("dhr", 1), strengths=(1.0,), **names)
    manifest = store.manifest
    manifest["methods"]["dhr.paper"] |= {"title": BREAKOUT, "paper": HOSTILE, "options": {HOSTILE: f'"{HOSTILE}'}}
    manifest["unavailable"] = {HOSTILE: BREAKOUT}
    manifest["suite"] = {"id": HOSTILE, "title": BREAKOUT}
    manifest["command"] = f"invbench {HOSTILE}"
    store.write_json("manifest.json", manifest)
    pages = site.write([store]).parent
    for file in pages.rglob("*.html"):
        page = Page(file.read_text())
        assert not page.values("img", "onerror") and "x" not in page.values("img", "src")
        assert all("src" in found or found.get("type") == "application/json" for tag, found in page.tags if tag == "script")
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert all(not set("<>") & set(path.name) for path in files)


def test_an_unfinished_run_and_one_of_few_rows_say_so(tmp_path: Path) -> None:
    store = make_run(tmp_path, count=5, methods=("psp", "dhr"), datasets=("d",), failing=None, strengths=())
    part = store.parts("psp.paper.d")[0]
    store.write_part("psp.paper.d", Part(part.name, part.rows[:2], part.metrics))
    store.write_json("manifest.json", store.manifest | {"finished": None})
    pages = site.write([store]).parent
    text = (pages / "index.html").read_text()
    assert "is not finished" in text and "psp.paper covers only 2 of 5 images" in text and "2 images, not compared" in text
    assert "No edits were asked for." in (pages / "edits.html").read_text()
    with pytest.raises(InvbenchError, match="manifest.json"):
        site.write([tmp_path / "none"])


def test_the_front_holds_what_no_other_method_beats() -> None:
    points = [svg.Point(name, s, v, np.nan, np.nan) for name, s, v in (("a", 1, 20), ("b", 2, 19), ("c", 3, 25), ("d", 3, 24))]
    assert [one.label for one in svg.front(points, better="higher")] == ["a", "c"]
    assert [one.label for one in svg.front(points, better="lower")] == ["a", "b"]
    plot = svg.pareto([*points, svg.Point("<b>", 9, 9.0, 8.0, 10.0)], better="higher", title="x")
    assert "&lt;b&gt;" in plot and plot.count('class="on"') == 2 and plot.count('class="off"') == 3
    assert svg.pareto(points[:1], better="higher", title="x") == "" == svg.lines([], title="x", x_title="y")


def test_published_numbers_are_marked_unless_data_and_recipe_are_the_same() -> None:
    figures: list[Figure] = []
    columns = [
        Column(id, id, "lower", "", figures, Measure(id, "inversion"))
        for id in ("mse@psp256", "lpips_alex@psp256", "fid@inception_uint8")
    ]
    found = {(row["label"], row["source"]): row["cells"] for row in site_published.rows("celebahq-test", columns)}
    restyle = found["ReStyle (pSp)", "DHR, Table 1"]
    assert restyle[0] == {"text": "0.0276", "value": "0.0276", "reason": ""} and restyle[1]["text"] == "0.1298"
    ours = site_published.rows(
        "procfaces-test", [Column("mse@native", "MSE", "lower", "", figures, Measure("mse@native", "inversion"))]
    )
    assert {row["cells"][0]["reason"] for row in ours if row["source"] == "DHR, Table 1"} == {
        "measured on celebahq; by mse@psp256, not mse@native"
    }
    assert all(cell["reason"] for row in ours for cell in row["cells"].values())
    assert site_published.rows("stanford_cars-test", columns) and not site_published.rows("own", columns)


def test_trade_offs_have_stages_memory_and_editability(pages: Path) -> None:
    text = (pages / "tradeoffs.html").read_text()
    assert text.count("<svg") == 4 and "encode 1.4" in text and "ID-kept, age" in text and "Quality against" not in text


def test_edits_are_drawn_with_intervals_and_leakage_is_a_matrix(tmp_path: Path) -> None:
    store = make_run(tmp_path, count=6, methods=("psp", "dhr"), datasets=("d",), failing=None, strengths=(-1.0, 3.0))
    manifest = store.manifest
    manifest["metrics"]["leakage@native"] = manifest["metrics"]["truth_mse@native"] | {
        "id": "leakage@native",
        "title": "Leakage",
    }
    manifest["metrics"]["true_change@native"] = manifest["metrics"]["age_change@native"] | {"id": "true_change@native"}
    store.write_json("manifest.json", manifest)
    run = query.Run.of(store)
    run.rows["leakage@native"] = run.rows["truth_mse@native"] * 2
    run.rows["true_change@native"] = run.rows["strength"] * 4.0
    text = (site.write([run]).parent / "edits.html").read_text()
    age = text.partition("change of age, years")[2].partition("</figure>")[0]
    assert age.count('class="whisker"') == 4 and age.count('class="line') == 2 and 'class="ideal"' in age
    means = run.rows[(run.rows["edit"] == "yaw") & (run.rows["strength"] == 3.0)].groupby("method")["leakage@native"].mean()
    matrix = text.partition("Leakage ↓")[2].partition("</table>")[0]
    shown = re.findall(r'style="--share:([\d.]+)">([\d.]+)<', matrix)
    assert len(shown) == 4 and float(shown[1][1]) == pytest.approx(means["dhr"], rel=2e-3)  # the second edit of the best method
    assert max(float(share) for share, _ in shown) == 1.0


def test_of_a_sum_the_change_of_each_part_is_drawn(tmp_path: Path) -> None:
    store = make_run(tmp_path, count=4, methods=("psp", "dhr"), datasets=("d",), failing=None, strengths=(-1.0, 3.0))
    run = query.Run.of(store)
    run.rows.loc[run.rows["edit"] == "yaw", "age_change@native"] = 3.0
    run.rows["edit"] = run.rows["edit"].astype(object).replace({"yaw": "age+yaw"})
    for cell in run.plan["cells"].values():
        cell["edits"] = [edit | {"name": edit["name"].replace("yaw", "age+yaw")} for edit in cell["edits"]]
    text = (site.write([run]).parent / "edits.html").read_text()
    both = text.partition("<h3>age+yaw</h3>")[2].partition("</section>")[0]
    drawn = [both.partition(f"change of {part}, {unit}")[2].partition("</figure>")[0] for part, unit in PARTS]
    assert all('class="ideal"' in one and one.count('class="line') == 2 for one in drawn)
    assert both.index("change of age, years") < both.index("change of yaw, degrees")


PARTS = (("age", "years"), ("yaw", "degrees"))
