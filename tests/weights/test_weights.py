"""Fetching official files from a server of our own: resumed, checked, recorded; licences first."""

from __future__ import annotations

import hashlib
import http.server
import io
import json
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner

from invbench.api import InvbenchError
from invbench.cli import main
from invbench.weights import catalogue as catalogues
from invbench.weights import fetch
from invbench.weights.cache import WeightsCache
from invbench.weights.catalogue import Asset, catalogue
from tests.weights import official

CONTENT = io.BytesIO()
torch.save(official.rosinality(1024), CONTENT)
DATA = CONTENT.getvalue()
PAGE = b"<!DOCTYPE html><html><head><title>Google Drive - Quota exceeded</title></head><body>Too many</body></html>"


class Server(http.server.ThreadingHTTPServer):
    """Answers with ``data``; ``cuts`` are the bytes after which the next transfers break off."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.data, self.etag = DATA, '"1"'
        self.cuts: list[int] = []
        self.ranges, self.status = True, 200
        self.asked: list[str | None] = []
        self.address = f"http://127.0.0.1:{self.server_address[1]}/g.pt"


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        server: Any = self.server
        asked = self.headers.get("Range")
        server.asked.append(asked)
        if server.status != 200:
            self.send_error(server.status)
            return
        start = 0
        if asked and server.ranges and self.headers.get("If-Range") == server.etag:
            start = int(asked.removeprefix("bytes=").rstrip("-"))
            if start >= len(server.data):
                self.send_error(416)
                return
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(server.data) - 1}/{len(server.data)}")
        self.send_header("Content-Length", str(len(server.data) - start))
        self.send_header("ETag", server.etag)
        self.end_headers()
        end = start + server.cuts.pop(0) if server.cuts else len(server.data)
        self.wfile.write(server.data[start:end])

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setattr(fetch, "PAUSE", 0.0)
    monkeypatch.setattr(fetch, "CHUNK", 1000)
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("INVBENCH_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("INVBENCH_SHARED", raising=False)
    return tmp_path / "home/weights"


def asset(server: Server, **changes: Any) -> Asset:
    """The FFHQ generator of rosinality's layout, as this server offers it."""
    return catalogue().assets["stylegan2_ffhq_rosinality"].model_copy(update={"address": server.address, **changes})


def cache() -> WeightsCache:
    """A cache whose user has accepted the licence."""
    one = WeightsCache()
    one.ledger.accept("nvidia-nc")
    return one


SHA256 = hashlib.sha256(DATA).hexdigest()


def test_a_file_comes_whole_is_recorded_and_is_not_fetched_again(server, folder):
    seen: list[tuple[int, int | None]] = []
    found = fetch.get(asset(server), cache(), report=lambda done, total: seen.append((done, total)))
    assert found.path == folder / "stylegan2-ffhq-config-f.pt" and found.path.read_bytes() == DATA
    assert seen[0] == (1000, len(DATA)) and seen[-1] == (len(DATA), len(DATA))
    lock = json.loads((folder.parent / "weights.lock.json").read_text())
    record = lock["assets"]["stylegan2_ffhq_rosinality"]
    assert (record["sha256"], record["size"], record["source"]) == (SHA256, len(DATA), server.address)
    assert fetch.get(asset(server), WeightsCache()).path == found.path and len(server.asked) == 1
    assert [path.name for path in (folder / ".part").iterdir()] == ["stylegan2_ffhq_rosinality.lock"]


def test_a_transfer_that_breaks_off_goes_on_where_it_stopped(server, folder):
    server.cuts = [5000, 0, 0, 7000]
    assert fetch.get(asset(server), cache()).path.read_bytes() == DATA
    assert server.asked[0] is None and server.asked[1:3] == ["bytes=5000-"] * 2 and server.asked[4] == "bytes=12000-"


def test_a_transfer_that_does_not_get_on_ends_and_the_next_call_continues_it(server, folder):
    server.cuts = [3000] + [0] * fetch.TRIES
    with pytest.raises(InvbenchError, match=r"g.pt: the transfer broke off after 3000 bytes: .*; the same command goes on"):
        fetch.get(asset(server), cache())
    assert fetch.get(asset(server), cache()).path.read_bytes() == DATA
    assert server.asked[-1] == "bytes=3000-"


def test_a_part_of_another_version_or_address_is_not_continued(server, folder):
    server.cuts = [3000] + [0] * fetch.TRIES
    with pytest.raises(InvbenchError):
        fetch.get(asset(server), cache())
    server.etag, server.data = '"2"', DATA[:-22] + DATA[-22:]
    assert fetch.get(asset(server), cache()).path.read_bytes() == server.data  # answered with 200: begun anew
    (folder / "stylegan2-ffhq-config-f.pt").unlink()
    server.cuts = [3000] + [0] * fetch.TRIES
    with pytest.raises(InvbenchError):
        fetch.get(asset(server), cache())
    other = asset(server, address=f"{server.address}?mirror")
    assert fetch.get(other, cache()).path.read_bytes() == DATA and server.asked[-1] is None


@pytest.mark.parametrize("ranges", [True, False])
def test_a_server_without_ranges_and_a_part_that_is_whole_already(ranges, server, folder):
    server.cuts, server.ranges = [3000] + [0] * fetch.TRIES, ranges
    with pytest.raises(InvbenchError):
        fetch.get(asset(server), cache())
    part = folder / ".part/stylegan2_ffhq_rosinality.part"
    part.write_bytes(DATA)  # as a process leaves it that is killed between the last byte and the name
    assert fetch.get(asset(server), cache()).path.read_bytes() == DATA


def test_another_sha256_than_published_or_recorded_is_refused_and_thrown_away(server, folder):
    with pytest.raises(InvbenchError, match=rf"expected the published sha256 {'0' * 64}, found {SHA256}"):
        fetch.get(asset(server, sha256=("0" * 64,)), cache())
    with pytest.raises(InvbenchError, match=rf"expected the published sha256 00000000\.\.\., found {SHA256}"):
        fetch.get(asset(server, sha256=("00000000",)), cache())
    with pytest.raises(InvbenchError, match="expected the published md5 00000000..., found "):
        fetch.get(asset(server, md5="00000000"), cache())
    one = cache()
    one.ledger.record("stylegan2_ffhq_rosinality", sha256="1" * 64, size=1, source="x")
    with pytest.raises(InvbenchError, match=f"expected the recorded sha256 {'1' * 64}, found {SHA256}; if the"):
        fetch.get(asset(server), one)
    assert [path.name for path in folder.iterdir()] == [".part"]
    assert not list((folder / ".part").glob("*.part"))


def test_a_web_page_in_place_of_the_file_is_said_so(server, folder):
    server.data = PAGE
    message = r"g.pt: expected the file, found a web page \('Google Drive - Quota exceeded'\), such as a quota or login notice"
    with pytest.raises(InvbenchError, match=message):
        fetch.get(asset(server), cache())
    server.data = DATA
    assert fetch.get(asset(server), cache()).path.read_bytes() == DATA


@pytest.mark.parametrize("status", [403, 404, 500])
def test_an_error_of_the_server_is_told(status, server, folder):
    server.status = status
    with pytest.raises(InvbenchError, match=f"g.pt: expected the file, found the answer {status}"):
        fetch.get(asset(server), cache())


def test_another_network_than_the_one_asked_for_is_refused(server, folder):
    with pytest.raises(InvbenchError, match=r"not stylegan2_car: resolution: expected 512, found 1024"):
        fetch.get(asset(server, id="stylegan2_car", resolution=512), cache())
    server.data = DATA[:-500]
    with pytest.raises(InvbenchError, match="stylegan2_ffhq_rosinality: the downloaded file is not usable: expected a whole"):
        fetch.get(asset(server), cache())


def test_a_file_of_the_same_name_is_not_overwritten(server, folder):
    folder.mkdir(parents=True)
    (folder / "stylegan2-ffhq-config-f.pt").write_bytes(b"my own work")
    found = fetch.get(asset(server), cache())
    assert found.path.name == f"stylegan2-ffhq-config-f-{SHA256[:8]}.pt"
    assert (folder / "stylegan2-ffhq-config-f.pt").read_bytes() == b"my own work"


def test_two_processes_do_not_fetch_one_file_at_a_time(server, folder):
    one = cache()
    with fetch._alone(folder / ".part/stylegan2_ffhq_rosinality.part"), pytest.raises(InvbenchError, match="another process"):
        fetch.get(asset(server), one)
    assert fetch.get(asset(server), one).path.exists()


def test_drive_goes_through_gdown_and_its_refusals_are_told(server, folder, monkeypatch):
    import gdown
    from gdown.exceptions import FileURLRetrievalError

    drive = asset(server, address="drive:1EM87UquaoQmk17Q8d5kYIAHqu0dkYqdT")
    asked: list[dict[str, Any]] = []

    def refuse(**how: Any) -> None:
        asked.append(how)
        raise FileURLRetrievalError("Too many users have viewed or downloaded this file recently")

    monkeypatch.setattr(gdown, "download", refuse)
    by_hand = "; open https://drive.google.com/file/d/1EM87UquaoQmk17Q8d5kYIAHqu0dkYqdT/view in a browser"
    with pytest.raises(InvbenchError, match=f"Google Drive did not give the file: Too many users have .*{by_hand}"):
        fetch.get(drive, cache())
    assert asked[0]["id"] == "1EM87UquaoQmk17Q8d5kYIAHqu0dkYqdT" and asked[0]["resume"] is True
    monkeypatch.setattr(gdown, "download", lambda **how: Path(how["output"]).write_bytes(PAGE))
    with pytest.raises(InvbenchError, match=r"expected the file, found a web page \('Google Drive - Quota exceeded'\)"):
        fetch.get(drive, cache())
    monkeypatch.undo()
    monkeypatch.setenv("INVBENCH_HOME", str(folder.parent))
    real = gdown.download

    def through_server(*, id: str, **how: Any) -> Any:
        return real(url=server.address, **how)

    monkeypatch.setattr(gdown, "download", through_server)
    assert fetch.get(drive, cache()).path.read_bytes() == DATA


# The verbs ----------------------------------------------------------------------------------------------------------------


@pytest.fixture
def listed(server: Server, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The real list, in which one address is that of the server."""
    one = asset(server)
    changed = catalogue().model_copy(update={"assets": catalogue().assets | {one.id: one}})
    monkeypatch.setattr("invbench.weights.cache.catalogue", lambda: changed)


def call(*words: str) -> Any:
    return CliRunner().invoke(main, ["weights", *words])


@pytest.mark.usefixtures("listed")
def test_licences_are_shown_and_accepted_once_before_anything_is_fetched(server, folder):
    refused = call("get", "stylegan2_ffhq_rosinality")
    assert refused.exit_code == 2 and not server.asked
    assert "NVIDIA Source Code License" in refused.output and "--accept-licence" in refused.output
    with pytest.raises(InvbenchError, match="the licence 'nvidia-nc' is not accepted"):
        fetch.get(asset(server), WeightsCache())
    done = call("get", "stylegan2_ffhq_rosinality", "--accept-licence")
    assert done.exit_code == 0 and f"sha256 {SHA256}" in done.output and "NVIDIA" in done.output
    again = call("get", "stylegan2_ffhq_rosinality")
    assert again.exit_code == 0 and "stylegan2_ffhq_rosinality: here, " in again.output and "NVIDIA" not in again.output


@pytest.mark.usefixtures("listed")
def test_one_that_cannot_be_had_does_not_keep_the_others_back(server, folder, monkeypatch):
    monkeypatch.setattr(fetch, "_from_drive", lambda *how: (_ for _ in ()).throw(InvbenchError("no way to Drive")))
    done = call("get", "e4e_ffhq", "stylegan2_ffhq_rosinality", "--accept-licence")
    assert done.exit_code == 1 and "e4e_ffhq: no way to Drive" in done.output
    assert (folder / "stylegan2-ffhq-config-f.pt").exists()


@pytest.mark.usefixtures("listed")
def test_list_where_and_verify_tell_what_is_here(server, folder):
    assert call("verify").exit_code == 0  # what packages bring is always here
    missing = call("where", "stylegan2_ffhq_rosinality")
    assert missing.exit_code == 1 and "invbench weights get stylegan2_ffhq_rosinality" in missing.output
    call("get", "stylegan2_ffhq_rosinality", "--accept-licence")
    (folder / "odd.bin").write_bytes(b"odd")
    table = call("list").output
    assert next(line for line in table.splitlines() if line.startswith("stylegan2_ffhq_rosinality")).split()[1] == "here"
    line = next(line for line in table.splitlines() if line.startswith("e4e_ffhq "))
    assert "missing" in line and "faces" in line and "dhr, e4e" in line
    details = call("list", "stylegan2_ffhq_rosinality", "--long").output
    assert f"{SHA256} (first fetched or added)" in details and "NVIDIA" in details and "accepted" in details
    where = call("where").output
    assert f"stylegan2-ffhq-config-f.pt  {len(DATA) / 1e6:.1f} MB  {SHA256[:12]}  stylegan2_ffhq_rosinality" in where
    assert "odd.bin  0.0 MB" in where and "not used: expected a PyTorch checkpoint" in where
    assert call("where", "stylegan2_ffhq_rosinality").output.strip() == str(folder / "stylegan2-ffhq-config-f.pt")
    good = call("verify", "stylegan2_ffhq_rosinality", "--long")
    assert good.exit_code == 0 and "(as recorded)" in good.output and "generator: Generator" in good.output
    assert "synthesis.b8.conv0.weight [4, 4, 3, 3] <- g_ema/convs.0.conv.weight [1, 4, 4, 3, 3]" in good.output
    assert "not used: g_ema/convs.0.conv.blur.kernel [4, 4]" in good.output
    assert " 0 made" in good.output


@pytest.mark.usefixtures("listed")
def test_verify_reads_the_bytes_and_not_the_index(server, folder):
    call("get", "stylegan2_ffhq_rosinality", "--accept-licence")
    path = folder / "stylegan2-ffhq-config-f.pt"
    stat = path.stat()
    changed = bytearray(DATA)
    changed[len(DATA) // 2] ^= 1
    path.write_bytes(changed)
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    bad = call("verify", "stylegan2_ffhq_rosinality")
    assert bad.exit_code == 1 and "WRONG stylegan2_ffhq_rosinality" in bad.output
    assert "its bytes changed though size and date did not" in bad.output


@pytest.mark.usefixtures("listed")
def test_add_takes_a_file_by_what_the_user_says(folder, tmp_path):
    path = official.save(official.e4e(14, None), tmp_path / "mine.pt")
    assert "not e4e_ffhq: num_ws: expected 18, found 14" in call("add", str(path), "--as", "e4e_ffhq").output
    done = call("add", str(path), "--as", "e4e_horse")
    assert done.exit_code == 0 and (folder / "e4e_horse_encode.pt").read_bytes() == path.read_bytes()
    assert call("where", "e4e_horse").output.strip() == str(folder / "e4e_horse_encode.pt")
    inside = official.save(official.e4e(14, "horse_encode"), folder / "another.bin")
    assert call("add", str(inside), "--as", "e4e_cat").exit_code == 0  # the user knows better than its options
    assert WeightsCache().find("e4e_cat").path == inside and inside.exists()
    assert "unknown asset 'e4e_cow'" in call("add", str(path), "--as", "e4e_cow").output


SUITE = """
[suites.mine]
title = "mine"
resolution = 1024
domain = "faces"
datasets = ["procfaces-val"]
default = "all"
[suites.mine.collections]
all = ["procfaces-val"]
[suites.mine.networks]
generator = { asset = ["stylegan2_ffhq", "stylegan2_ffhq_rosinality"] }
encoder_e4e = { asset = "e4e_ffhq" }
perceptual_alex = { asset = "lpips_alex" }
"""


@pytest.mark.usefixtures("listed")
def test_doctor_and_suites_tell_what_is_missing_and_how_it_is_got(server, folder, tmp_path):
    config = tmp_path / "mine.toml"
    config.write_text(SUITE)
    asked = ("--suite", "mine", "--config", str(config))
    assert fetch.get(asset(server), cache()).path.exists()
    official.save(official.e4e(14, None), folder / "odd.pt")
    told = CliRunner().invoke(main, ["doctor", *asked])
    assert told.exit_code == 1
    assert f"ok    generator: stylegan2-ffhq-config-f.pt, {len(DATA) / 1e6:.2f} MB (stylegan2_ffhq_rosinality)" in told.output
    assert "MISS  encoder_e4e: weights missing: e4e_ffhq (e4e, FFHQ); looked in" in told.output
    assert "`invbench weights get e4e_ffhq`" in told.output and "`invbench weights get alexnet`" in told.output
    assert f"--    {folder / 'odd.pt'}: its layout fits e4e_church, e4e_horse, e4e_cat" in told.output
    assert "  get them: invbench weights get --suite mine" in told.output
    needed = call("list", *asked).output.splitlines()[1:]
    assert [line.split()[0] for line in needed] == ["stylegan2_ffhq_rosinality", "e4e_ffhq", "lpips_alex", "alexnet"]


def test_verbs_need_something_to_do_and_known_names(folder):
    assert "expected ids, --suite NAME or --all" in call("get").output
    assert "did you mean 'e4e_ffhq'" in call("get", "e4e_fhq").output
    assert call("list", "--suite", "procfaces").exit_code == 0
    assert catalogues.FILE.name == "assets.toml"
