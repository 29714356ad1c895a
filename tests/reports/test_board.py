"""The page: its figures are those of the leaderboard, its links stay in the run, its names stay text."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import pytest
from PIL import Image

from invbench.api import Edit, InvbenchError
from invbench.reports import board, query
from invbench.store import Part, Store

from .fake import make_run

HOSTILE = "<img src=x onerror=alert(1)>"
BREAKOUT = "</script><script>alert(2)</script>"


class Page(HTMLParser):
    """What the tests look at: tags with attributes, and the tables' rows with the exact values of their cells."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.rows: list[dict[str, str]] = []  # of the leaderboards and edit tables: head -> data-value
        self._dataset, self._kind, self._sortable = "", "", False
        self._heads: list[str] = []
        self._column = 0
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        self.tags.append((tag, found))
        classes = (found.get("class") or "").split()
        if "dataset" in classes:
            self._dataset = str(found["data-dataset"])
        elif tag == "table":
            self._sortable, self._heads, self._kind = "sortable" in classes, [], classes[-1] if classes else ""
        elif not self._sortable:
            return
        elif tag == "th" and found.get("scope") == "col":
            self._heads.append(found.get("data-metric") or str(len(self._heads)))
        elif tag == "tr" and "data-method" in found:
            row = {"dataset": self._dataset, "method": str(found["data-method"]), "table": self._kind}
            self.rows.append(row | {key: str(found[f"data-{key}"]) for key in ("edit", "strength") if f"data-{key}" in found})
            self._column = 0
        elif tag in {"th", "td"}:
            self.rows[-1][self._heads[self._column]] = str(found.get("data-value"))
            self._column += 1

    def values(self, tag: str, name: str) -> list[str]:
        return [str(found[name]) for one, found in self.tags if one == tag and name in found]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Store:
    folder = tmp_path_factory.mktemp("run")
    return make_run(folder, count=2, methods=("psp", "pti", "dhr"), failing=("psp", 1), strengths=(-1.0, 2.0))


@pytest.fixture(scope="module")
def text(run: Store) -> str:
    return board.write(run.path).read_text(encoding="utf-8")


def test_figures_of_the_page_are_those_of_the_leaderboard(run: Store, text: str) -> None:
    page, compared = Page(text), 0
    for table, frame, keys in (
        ("board", query.leaderboard(run), ("dataset", "method")),
        ("edits", query.edits(run), ("dataset", "method", "edit", "strength")),
    ):
        shown = {tuple(row[key] for key in keys): row for row in page.rows if row["table"] == table}
        assert len(shown) == len(frame)
        for record in frame.to_dict("records"):
            row = shown[tuple(str(record[key]) for key in keys)]
            for id, spec in query.Run.of(run).specs.items():
                if id in row:
                    assert spec.kind == "edit" or table == "board"
                    assert float(row[id] or "nan") == pytest.approx(record[id], rel=0, abs=0, nan_ok=True)
                    compared += row[id] != ""
    assert compared > 60


def test_metrics_counts_failures_and_provenance_are_on_the_page(run: Store, text: str) -> None:
    page = Page(text)
    assert {"mse@native", "psnr@native", "kid_proc@native", "age_change@native"} <= set(page.values("th", "data-metric"))
    words = ("1 of 2", "1 failed", "inversion failed: output is not finite", "weights missing: no network", "0123456789abcdef")
    for one in words:
        assert one in text
    assert "needs at least 100 images, found 2" in text and "ab" * 32 in text


def test_nothing_outside_the_run_is_asked_for(run: Store, text: str) -> None:
    page = Page(text)
    links = page.values("img", "src") + page.values("script", "src") + page.values("link", "href")
    assert len(links) > 20
    for link in links:
        assert not re.match(r"[a-zA-Z][a-zA-Z0-9+.-]*:|//|/", link)
        target = (run.path / "report" / unquote(link)).resolve()
        assert target.is_file() and target.is_relative_to(run.path.resolve())
    assert all(link.startswith("#") for link in page.values("a", "href"))
    assert "default-src 'none'" in next(found["content"] for tag, found in page.tags if found.get("http-equiv"))
    styles = re.findall(r"<style>(.*?)</style>", text, re.S)
    assert len(styles) == 1 and "url(" not in styles[0] and "@import" not in styles[0]


def test_difference_is_four_times_the_distance_clipped_at_white(run: Store, text: str) -> None:
    cell, name = "dhr.paper.procfaces-test", "0000"
    a, b = (np.asarray(Image.open(path)).astype(int) for path in (run.input("procfaces-test", name), run.picture(cell, name)))
    shown = np.asarray(Image.open(run.path / "report" / "difference" / cell / f"{name}.png"))
    assert np.array_equal(shown, np.clip(4 * abs(a - b), 0, 255)) and shown.max() > 0


def test_data_of_the_plots_are_the_figures(run: Store, text: str) -> None:
    data = json.loads(re.search(r'id="board-data">(.*?)</script>', text, re.S).group(1))
    frame = query.leaderboard(run)
    assert len(data["quality"]) == len(frame)
    for point, record in zip(data["quality"], frame.to_dict("records")):
        assert (point["seconds"], point["values"]["psnr@native"]) == (record["seconds.invert"], record["psnr@native"])
        assert point["values"]["fid_proc@native"] is None
    line = next(one for one in data["edits"] if one["edit"] == "age" and one["method"] == "dhr.paper")
    assert line["strengths"] == [-1.0, 2.0] and len(line["values"]["age_change@native"]) == 2
    assert "yaw_change@native" not in line["values"]
    assert data["targets"]["age"] == {"unit": "years", "per_strength": 5.0}
    assert list(data["metrics"])[:3] == ["mse@native", "psnr@native", "lpips_proc@native"]


def test_the_matrix_holds_every_paired_difference_once(run: Store, text: str) -> None:
    data = json.loads(re.search(r'id="board-data">(.*?)</script>', text, re.S).group(1))["comparisons"]
    assert data["methods"] == ["DHR", "PSP", "PTI"]
    at = {"dataset": "procfaces-test-ood", "edit": "", "metric": "mse@native"}
    block = next(one for one in data["blocks"] if at.items() <= one.items())
    rows = store_rows(run, "procfaces-test-ood")
    assert block["n"] == 2 and [data["methods"][index] for index in block["order"]] == ["DHR", "PTI", "PSP"]
    assert len(block["pairs"]) == 3
    for first, second, difference, low, high, p, distinct in block["pairs"]:
        a, b = (rows[data["methods"][index].lower()] for index in (first, second))
        assert difference == pytest.approx(np.mean(a - b), rel=1e-4) and low <= difference <= high
        assert 0 < p <= 1 and not distinct  # two images cannot tell
    edits = {one["edit"] for one in data["blocks"]}
    assert edits == {"", "age +2", "yaw +2"}  # the largest strength of each


def store_rows(run: Store, dataset: str) -> dict[str, np.ndarray]:
    rows = run.rows()
    rows = rows[(rows["dataset"] == dataset) & rows["edit"].isna()].sort_values("index")
    return {str(method): group["mse@native"].to_numpy() for method, group in rows.groupby("method")}


def test_whiskers_lie_in_their_cells_and_few_images_are_marked(tmp_path: Path) -> None:
    store = make_run(tmp_path, count=5, methods=("psp", "dhr"), datasets=("procfaces-test",), failing=None, strengths=())
    part = store.parts("psp.paper.procfaces-test")[0]
    store.write_part("psp.paper.procfaces-test", Part(part.name, part.rows[:2], part.metrics))
    text = board.write(tmp_path, images=0).read_text(encoding="utf-8")
    page = Page(text)
    cells = [found for tag, found in page.tags if tag == "td" and "few" in str(found.get("class")).split()]
    assert len(cells) == 4 and all("covers too few images to be compared" in str(cell["title"]) for cell in cells)
    assert "psp.paper covers only 2 of 5 images" in text and "2 images, not compared" in text
    spans = re.findall(r'<i style="left:([\d.]+)%;width:([\d.]+)%"></i><b style="left:([\d.]+)%"></b>', text)
    assert len(spans) >= 8
    for left, width, at in (map(float, one) for one in spans):
        assert 0 <= left <= at <= left + width + 0.2 and left + width <= 100.2


def test_the_truth_stands_beside_the_methods(run: Store, text: str) -> None:
    links = [unquote(link) for link in Page(text).values("img", "src")]
    for edit, strength in (("age", -1.0), ("age", 2.0), ("yaw", 2.0)):
        path = run.truth("procfaces-test", "0000", Edit(edit, strength))
        assert path.exists() and f"../{path.relative_to(run.path)}" in links
    assert f"../{run.truth_mask('procfaces-test-ood', '0000').relative_to(run.path)}" in links
    assert text.count('<tr class="truth">') == 4  # two images of two datasets


def test_latency_has_a_table_of_its_own(tmp_path: Path, text: str) -> None:
    assert "Not measured: <code>invbench run --latency N</code>" in text
    store = make_run(tmp_path, count=1, methods=("dhr",), datasets=("procfaces-test",), failing=None, strengths=())
    plan = store.plan
    plan["cells"]["dhr.paper.procfaces-test"]["recipe"] = "r"
    store.write_json("plan.json", plan)
    row = {"key": "k", "recipe": "r", "method": "dhr", "preset": "paper", "machine": HOSTILE, "status": "ok", "warmup": 3}
    store.write_latency("dhr.paper", "k", [row | {"index": i, "latency.total": 1.0 + i} for i in range(3)])
    found = board.write(tmp_path, images=0).read_text(encoding="utf-8")
    timed = [one for one in Page(found).rows if one["table"] == "latency"]
    assert len(timed) == 1 and timed[0]["2"] == "2.0"
    assert "[1.500, 2.500]" in found and HOSTILE not in found and "3 of 3" in found


def test_hostile_names_stay_text(tmp_path: Path) -> None:
    names = {"datasets": (f"d{HOSTILE}",), "prefix": BREAKOUT}
    store = make_run(tmp_path, count=2, methods=("dhr",), failing=("dhr", 1), strengths=(1.0,), **names)
    manifest = store.manifest
    manifest["methods"]["dhr.paper"] |= {"title": BREAKOUT, "paper": HOSTILE, "options": {HOSTILE: f'"{HOSTILE}'}}
    manifest["unavailable"] = {HOSTILE: BREAKOUT}
    manifest["suite"] = {"id": HOSTILE, "title": BREAKOUT}
    manifest["command"] = f"invbench {HOSTILE}"
    store.write_json("manifest.json", manifest)
    for inline in (False, True):
        text = board.write(tmp_path, inline=inline).read_text(encoding="utf-8")
        page = Page(text)
        assert HOSTILE in page.values("div", "data-dataset")[0]  # it is there, as data
        assert not page.values("img", "onerror") and "x" not in page.values("img", "src")
        assert "alert(2)" not in "".join(re.findall(r"<script>(.*?)</script>", text, re.S))
        assert len(page.values("img", "src")) >= 3
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert all(not set("<>") & set(path.name) for path in files)


def test_a_picture_outside_the_run_is_not_linked(tmp_path: Path) -> None:
    store = make_run(tmp_path / "run", count=1, methods=("dhr",), datasets=("procfaces-test",), failing=None, strengths=(1.0,))
    secret = tmp_path / "secret.png"
    Image.new("RGB", (64, 64)).save(secret)
    picture = store.picture("dhr.paper.procfaces-test", "0000")
    picture.unlink()
    picture.symlink_to(secret)
    text = board.write(store.path).read_text(encoding="utf-8")
    assert "secret" not in text


def test_inline_page_is_one_file(tmp_path: Path) -> None:
    make_run(tmp_path, count=1, methods=("dhr",), datasets=("procfaces-test",), failing=None, strengths=(1.0,))
    path = board.write(tmp_path, inline=True)
    page = Page(path.read_text(encoding="utf-8"))
    assert [one for one in path.parent.rglob("*") if one.is_file()] == [path]
    assert not page.values("script", "src")
    sources = page.values("img", "src")
    assert len(sources) >= 4 and all(source.startswith("data:image/png;base64,") for source in sources)


def test_an_unfinished_run_says_so(tmp_path: Path) -> None:
    store = make_run(tmp_path, count=1, methods=("psp",), datasets=("procfaces-test",), failing=None, strengths=())
    store.write_json("manifest.json", store.manifest | {"finished": None})
    text = board.write(tmp_path, images=0).read_text(encoding="utf-8")
    assert "This run is not finished" in text and "No edits were asked for." in text and "No pictures." in text


def test_bad_arguments_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InvbenchError, match="manifest.json"):
        board.write(tmp_path)
    assert not (tmp_path / "report" / "index.html").exists()
    with pytest.raises(ValueError, match="images"):
        board.write(tmp_path, images=-1)
