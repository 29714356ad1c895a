"""Runs and pictures at addresses: the same files as on a disk, continued anywhere, read by every verb."""

from __future__ import annotations

from pathlib import Path

import fsspec
import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from PIL import Image

from invbench.api import InvbenchError
from invbench.cli import main
from invbench.plugins import selection
from invbench.plugins.config import EditConfig, Suite
from invbench.plugins.registry import discover
from invbench.run.check import check
from invbench.run.mirror import Mirror, fetch
from invbench.run.runner import run
from invbench.store import Store
from tests.fixtures import TOYS, timeless
from tests.run.test_elsewhere import files
from tests.run.test_workers import SUITE

RUN = "memory://bucket/runs/one"


@pytest.fixture
def homes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """homes(NAME): from now on this is a machine with a cache of its own. The store in memory is empty at first."""
    store = fsspec.filesystem("memory")
    store.store.clear()
    store.pseudo_dirs[:] = [""]

    def choose(name: str) -> None:
        monkeypatch.setenv("INVBENCH_HOME", str(tmp_path / name))

    choose("first")
    yield choose
    store.store.clear()


def mirrored(make_settings, address: str = RUN, **changes) -> Path:
    """A run of the toy method whose results go to an address."""
    mirror = Mirror(address)
    assert run(make_settings(out=mirror.path, images=10, edits=["bright:1"], **changes), progress=False, mirror=mirror) == 0
    return mirror.path


@pytest.mark.parametrize("protocol", ["memory", "file"])
def test_a_run_at_an_address_has_the_bytes_of_one_on_a_disk(homes, make_settings, tmp_path: Path, protocol: str) -> None:
    address = f"{protocol}://{tmp_path / 'bucket' / 'run'}"
    here = mirrored(make_settings, address)
    plain = make_settings(images=10, edits=["bright:1"])
    assert run(plain, progress=False) == 0
    homes("second")
    there = fetch(address, pictures=True)
    assert there != here and files(there) == files(here) == files(plain.out) and len(files(there)) > 40
    pd.testing.assert_frame_equal(*(timeless(Store(out).rows()) for out in (there, plain.out)))
    assert check(there).problems == []


def test_rows_go_up_after_the_files_that_they_were_scored_from(homes, make_settings, monkeypatch: pytest.MonkeyPatch) -> None:
    store, order = fsspec.filesystem("memory"), list[str]()
    write = type(store).pipe_file

    def told(self, path, value, **more):
        order.append(path.partition("/runs/one/")[2])
        write(self, path, value, **more)

    monkeypatch.setattr(type(store), "pipe_file", told)
    here = mirrored(make_settings)
    parts = [name for name in order if name.startswith("rows/")]
    assert len(parts) == 3 and order.index("plan.json") < order.index(parts[0])
    for part, rows in ((name, Store(here)) for name in parts):
        for row in next(one for one in rows.parts("toy.paper.toys") if one.name in part).rows:
            picture = f"images/toy.paper.toys/{row['image']}{'@bright+1' if 'edit' in row else ''}.png"
            assert order.index(picture) < order.index(part)
    assert order[-1] == "manifest.json"
    again = len(order)
    mirrored(make_settings)
    assert set(order[again:]) <= {"plan.json", "manifest.json", "sets.parquet"}


def test_a_run_is_continued_on_another_machine(homes, make_settings) -> None:
    mirror = Mirror(RUN)
    assert run(make_settings(out=mirror.path, images=4, edits=["bright:1"]), progress=False, mirror=mirror) == 0
    first = Store(mirror.path).rows()
    homes("second")
    both = Store(mirrored(make_settings)).rows()
    kept = both[both["image"].isin(first["image"])].reset_index(drop=True)
    assert len(both) == 20 and kept["seconds.invert"].equals(first["seconds.invert"])  # not computed again


def test_what_is_gone_here_goes_there(homes, make_settings) -> None:
    here = mirrored(make_settings)
    (part, *_) = here.glob("rows/*/*.parquet")
    part.unlink()
    Mirror(RUN).all()  # opening it fetches the part again: an address is the truth
    assert part.exists()
    mirror = Mirror(RUN)
    part.unlink()
    mirror.all()
    assert not fsspec.filesystem("memory").exists(f"/bucket/runs/one/{part.relative_to(here).as_posix()}")


def test_a_run_that_was_removed_from_its_address_is_begun_anew(homes, make_settings) -> None:
    here = mirrored(make_settings)
    fsspec.filesystem("memory").rm("/bucket/runs/one", recursive=True)
    mirror = Mirror(RUN)
    assert mirror.path == here and not list(here.glob("rows/*/*.parquet")) and not (here / "plan.json").exists()


def test_an_upload_that_fails_ends_the_run_and_the_same_call_continues(homes, make_settings, monkeypatch, capsys) -> None:
    store = fsspec.filesystem("memory")
    write = type(store).pipe_file

    def full(self, path, value, **more):
        if "/rows/" in path:
            raise OSError(28, "No space left on device")
        write(self, path, value, **more)

    mirror = Mirror(RUN)
    settings = make_settings(out=mirror.path, images=10, edits=["bright:1"])
    with monkeypatch.context() as broken:
        broken.setattr(type(store), "pipe_file", full)
        assert run(settings, progress=False, mirror=mirror) == 3
    assert "memory://bucket/runs/one: could not be written: OSError" in capsys.readouterr().err
    assert mirrored(make_settings) == mirror.path
    homes("second")
    assert check(fetch(RUN, pictures=True)).problems == []


def words(tmp_path: Path, *more: str) -> list[str]:
    config = tmp_path / "toys.toml"
    config.write_text(SUITE, encoding="utf-8")
    return [*more, "--plugin", str(TOYS), "--config", str(config)]


def test_every_verb_that_reads_runs_takes_addresses(homes, tmp_path: Path) -> None:
    ask = CliRunner()
    for number in (1, 2):
        own = ["--suite", "toys", "--methods", "toy", "--metrics", "toy_mse", "--batch", "4", "--quiet", "--no-show"]
        own += ["--shard", f"{number}/2", "--out", f"memory://bucket/share-{number}"]
        done = ask.invoke(main, words(tmp_path, "run", *own))
        assert done.exit_code == 0, done.output
    homes("second")
    shares = ["memory://bucket/share-1", "memory://bucket/share-2"]
    done = ask.invoke(main, words(tmp_path, "merge", *shares, "--out", "memory://bucket/all"))
    assert done.exit_code == 0 and "12 rows of 1 cells, 12 of them new" in done.output, done.output
    homes("third")
    for verb in (
        ["show", "memory://bucket/all", "--format", "json"],
        ["check", "memory://bucket/all"],
        ["gate", "memory://bucket/all", "--baseline", "memory://bucket/all"],
        ["site", "memory://bucket/all", "--out", str(tmp_path / "site")],
    ):
        done = ask.invoke(main, verb)
        assert done.exit_code == 0, (verb, done.output)
    done = ask.invoke(main, ["show", "memory://bucket/none"])
    assert done.exit_code == 2 and "memory://bucket/none: expected a bucket and folder with runs in it" in done.output


def test_tables_are_made_without_pictures(homes, make_settings) -> None:
    mirrored(make_settings)
    homes("second")
    folder = fetch(RUN, pictures=False)
    kinds = {path.relative_to(folder).parts[0] for path in folder.rglob("*") if path.is_file()} - {".lock"}
    assert kinds == {"rows", "plan.json", "manifest.json", "sets.parquet"}
    assert len(Store(folder).rows()) == 20


def pictures(address: str, **colours: int) -> None:
    store = fsspec.filesystem("memory")
    for name, colour in colours.items():
        with store.open(f"{address}/{name}.png", "wb") as file:
            Image.fromarray(np.full((16, 16, 3), colour, np.uint8)).save(file, "PNG")


def chosen(*datasets: str):
    edits = {"bright": EditConfig(unit="levels", per_strength=12.75, strengths=(-1, 1))}
    suite = Suite(
        id="toys", title="toys", resolution=16, datasets=("toys",), collections={"all": ("toys",)}, default="all", edits=edits
    )
    return selection.settings(
        suite, discover([TOYS]), methods=["toy"], metrics=["toy_mse"], datasets=datasets, device="cpu", seed=0
    ).datasets


def test_pictures_at_an_address_are_a_dataset(homes) -> None:
    pictures("memory://bucket/My Faces", a=10, b=20)
    (one,) = chosen("memory://bucket/My Faces")
    (few,) = chosen("memory://bucket/My Faces:1")
    assert one.id.startswith("my-faces-") and few.count == 1 and few.id == one.id
    root = Path(one.spec.options["root"])
    assert sorted(path.name for path in root.glob("*.png")) == ["a.png", "b.png"]
    homes("second")
    pictures("memory://bucket/My Faces", b=30)
    (again,) = chosen("memory://bucket/My Faces")
    assert again.id == one.id and again.spec.options["root"] != one.spec.options["root"]
    assert np.asarray(Image.open(Path(again.spec.options["root"]) / "b.png")).max() == 30


def test_a_link_in_the_cache_is_not_written_through(homes, make_settings, tmp_path: Path) -> None:
    mirror = Mirror(RUN)
    (tmp_path / "victim").mkdir()
    mirror.path.mkdir(parents=True)
    (mirror.path / "rows").symlink_to(tmp_path / "victim")
    with pytest.raises(InvbenchError, match="expected a run folder or an empty one, found 'rows'"):
        run(make_settings(out=mirror.path, images=2), progress=False, mirror=mirror)
    assert not list((tmp_path / "victim").iterdir())


@pytest.mark.slow
def test_a_server_that_speaks_s3(homes, make_settings, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("s3fs", "boto3"):
        pytest.importorskip(name, reason="the extra invbench[remote] is not installed")
    moto = pytest.importorskip("moto.server", reason="moto, which stands in for S3, is not installed")
    server = moto.ThreadedMotoServer(port=0, verbose=False)
    server.start()
    try:
        port = server.get_host_and_port()[1]
        told = {"AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}", "AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b"}
        for name, value in {**told, "AWS_DEFAULT_REGION": "us-east-1"}.items():
            monkeypatch.setenv(name, value)
        fsspec.filesystem("s3").clear_instance_cache()
        fsspec.filesystem("s3").mkdir("bucket")
        here = mirrored(make_settings, "s3://bucket/run")
        homes("second")
        there = fetch("s3://bucket/run", pictures=True)
        assert files(there) == files(here) and check(there).problems == []
        done = CliRunner().invoke(main, ["show", "s3://no-such-bucket/run"])
        assert done.exit_code == 2 and done.output.count("\n") == 1 and "s3://no-such-bucket/run" in done.output
        done = CliRunner().invoke(main, ["run", "--out", "s3://no-such-bucket/run", "--methods", "e4e", "--images", "1"])
        assert done.exit_code in (2, 3) and "s3://no-such-bucket/run" in done.output, done.output
    finally:
        server.stop()
