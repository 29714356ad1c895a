"""Download of official files from their authors' pages; broken transfers are resumed, and files are checked before use.

An unfinished file is ``weights/.part/ID.part``. It gets its name in ``weights/`` when it is complete, has the published or
recorded sha256, and has the expected layout.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from typing import Any, BinaryIO

from invbench.api import InvbenchError
from invbench.util.files import WriteFailed, held, write_atomic
from invbench.util.provenance import file_digest
from invbench.weights import proof
from invbench.weights.cache import Found, WeightsCache, misfit
from invbench.weights.catalogue import DRIVE, PACKAGE, Asset
from invbench.weights.ledger import read_json

CHUNK = 1 << 20
PATIENCE = 30.0  # seconds without a byte after which a transfer has broken off
TRIES = 4  # consecutive transfers that may break off without progress
PAUSE = 0.5  # seconds before the next try, times the number of failed tries
HTML = re.compile(rb"^\s*(<!doctype html|<html|<head)", re.IGNORECASE)
DRIVE_PAGE = "https://drive.google.com/file/d/{}/view"

Report = Callable[[int, int | None], None]  # bytes received, bytes in all if known


def get(asset: Asset, cache: WeightsCache, *, report: Report = lambda done, total: None) -> Found:
    """The file of an asset: the local one, else downloaded into ``INVBENCH_HOME/weights`` and recorded in the lock file.

    Raises InvbenchError if the licence is not accepted, no direct address is known, the transfer breaks off, the server sends a
    web page instead of the file, or the file has another hash or layout than expected. Raises WriteFailed if the disk refuses.
    """
    here = _here(asset, cache)
    if here is not None:
        return here
    if not asset.address or asset.address.startswith(PACKAGE):
        what = "the package that brings it is not installed" if asset.address else "no direct address is known"
        raise InvbenchError(
            f"{asset.id}: {what}; get {asset.file} from {asset.page}, then `invbench weights add FILE --as {asset.id}`"
        )
    if asset.licence not in cache.ledger.licences:
        raise InvbenchError(f"{asset.id}: the licence {asset.licence!r} is not accepted")
    part = cache.folder / ".part" / f"{asset.id}.part"
    try:
        with _alone(part):
            if asset.address.startswith(DRIVE):
                _from_drive(asset, part, report)
            else:
                _from_web(asset.address, part, report)
            return _checked(asset, part, cache)
    except OSError as error:
        raise WriteFailed(f"{error.filename or part}: could not be written: {error.strerror or error}") from error


def add(path: Path, asset: Asset, cache: WeightsCache, *, report: Report = lambda done, total: None) -> Found:
    """Use the user's file ``path`` for the asset. It is copied into ``INVBENCH_HOME/weights`` unless a searched folder has it.

    Raises InvbenchError if its layout, its resolution or a published sha256 shows that it is another network, and if its
    tensors cannot be weights: sparse, complex, integer or not finite, or of a wrong shape.
    """
    if not path.is_file():
        raise InvbenchError(f"{path}: expected a file, found none")
    found = cache.inspect(path.absolute())
    check_digest(asset, found, None)
    if not found.layout and not found.problem:
        proof.check_layout(found.path, asset)
    _check_layout(asset, found, said=True)
    proof.check_tensors(found.path)
    proof.check_networks(asset, found, cache)
    if path.absolute().parent not in cache.folders:
        part = cache.folder / ".part" / f"{asset.id}.copy"
        with _alone(part):
            with open(path, "rb") as source, open(part, "wb") as copy:
                _copy(source, copy, report, total=found.size)
            found = cache.moved(found, _named(part, cache.folder / asset.file, found.sha256))
    cache.ledger.record(asset.id, sha256=found.sha256, size=found.size, source="added by hand")
    cache.forget()
    return found


def _here(asset: Asset, cache: WeightsCache) -> Found | None:
    with suppress(InvbenchError):
        return cache.find(asset.id)
    return None


def _alone(part: Path) -> AbstractContextManager[None]:
    """Lock an unfinished file; the lock ends with the process, even if it is killed."""
    return held(part.with_suffix(".lock"), taken=f"{part}: another process is fetching this file; wait for it")


def _named(part: Path, target: Path, sha256: str) -> Path:
    """Give a finished file its name; another file that already has this name keeps it."""
    if target.exists() and file_digest.__wrapped__(target) != sha256:
        target = target.with_name(f"{target.stem}-{sha256[:8]}{target.suffix}")
    os.replace(part, target)
    return target


def _from_web(address: str, part: Path, report: Report) -> None:
    """Download into ``part``; resume where an earlier try broke off, as long as tries make progress."""
    import requests

    idle = 0
    while True:
        before = part.stat().st_size if part.exists() else 0
        try:
            _transfer(address, part, report)
            return
        except (requests.RequestException, _BrokenOff) as error:
            if isinstance(error, requests.HTTPError):
                raise InvbenchError(f"{address}: expected the file, found the answer {_reason(error)}") from error
            after = part.stat().st_size if part.exists() else 0
            idle = 0 if after > before else idle + 1
            time.sleep(PAUSE * idle)
            if idle >= TRIES:
                broke = f"the transfer broke off after {after} bytes: {_reason(error)}"
                raise InvbenchError(f"{address}: {broke}; the same command goes on from there") from error


class _BrokenOff(Exception):
    """A transfer ended before the length that the server had stated."""


def _transfer(address: str, part: Path, report: Report) -> None:
    """One request. The bytes in ``part`` are kept only if the server confirms that the file is unchanged."""
    import requests

    memory = part.with_suffix(".json")
    told = read_json(memory) if memory.exists() else {}
    have = part.stat().st_size if part.exists() and told.get("address") == address and told.get("version") else 0
    headers = {"Accept-Encoding": "identity"}
    if have:
        headers |= {"Range": f"bytes={have}-", "If-Range": str(told["version"])}
    with requests.get(address, stream=True, timeout=PATIENCE, headers=headers) as answer:
        if answer.status_code == 416 and have == told.get("size"):
            return  # the file is complete
        answer.raise_for_status()
        resumed = answer.status_code == 206 and _start(answer.headers.get("Content-Range", "")) == have
        length = answer.headers.get("Content-Length", "")
        total = int(length) + (have if resumed else 0) if length.isdigit() else None
        version = answer.headers.get("ETag") or answer.headers.get("Last-Modified")
        version = None if version and version.startswith("W/") else version  # a weak ETag does not guarantee equal bytes
        if not resumed:
            write_atomic(memory, json.dumps({"address": address, "version": version, "size": total}).encode())
        with open(part, "ab" if resumed else "wb") as file:
            done = have if resumed else 0
            for chunk in answer.iter_content(CHUNK):
                if done == 0 and HTML.match(chunk):
                    raise InvbenchError(f"{address}: {_page(chunk)}")
                file.write(chunk)
                done += len(chunk)
                report(done, total)
    if total is not None and done < total:
        raise _BrokenOff(f"{done} of {total} bytes came")


def _from_drive(asset: Asset, part: Path, report: Report) -> None:
    """Download by gdown, which handles Drive's confirmation pages and resumes."""
    import gdown
    from gdown.exceptions import DownloadError, FileURLRetrievalError
    from requests import RequestException

    id = asset.address.removeprefix(DRIVE)
    page = DRIVE_PAGE.format(id)
    by_hand = f"; open {page} in a browser, save {asset.file}, then `invbench weights add FILE --as {asset.id}`"
    try:
        gdown.download(id=id, output=str(part), quiet=True, resume=True, timeout=PATIENCE, retries=TRIES, progress=report)
    except FileURLRetrievalError as error:
        raise InvbenchError(f"{asset.id}: Google Drive did not give the file: {_reason(error)}{by_hand}") from error
    except (DownloadError, RequestException) as error:
        raise InvbenchError(f"{asset.id}: the transfer from Google Drive broke off: {_reason(error)}{by_hand}") from error
    with open(part, "rb") as file:
        head = file.read(CHUNK)
    if HTML.match(head):
        part.unlink()
        raise InvbenchError(f"{asset.id}: {_page(head)}{by_hand}")


def _checked(asset: Asset, part: Path, cache: WeightsCache) -> Found:
    """The finished file under its name, if it is the expected one; otherwise it is deleted."""
    found = cache.inspect(part)
    try:
        if found.problem:
            raise InvbenchError(f"{asset.id}: the downloaded file is not usable: {found.problem}")
        check_digest(asset, found, cache.ledger.sha256(asset.id))
        _check_layout(asset, found, said=True)
    except InvbenchError:
        part.unlink()
        part.with_suffix(".json").unlink(missing_ok=True)
        raise
    target = _named(part, cache.folder / asset.file, found.sha256)
    part.with_suffix(".json").unlink(missing_ok=True)
    if cache.ledger.sha256(asset.id) != found.sha256:
        cache.ledger.record(asset.id, sha256=found.sha256, size=found.size, source=asset.address)
    return cache.moved(found, target)


def check_digest(asset: Asset, found: Found, recorded: str | None) -> None:
    """Raise InvbenchError unless a file has the published sha256 and md5 of its asset, and the recorded sha256, if any."""
    if asset.sha256 and not any(found.sha256.startswith(digits) for digits in asset.sha256):
        published = " or ".join(f"{digits}..." if len(digits) < 64 else digits for digits in asset.sha256)
        raise InvbenchError(f"{found.path}: {asset.id}: expected the published sha256 {published}, found {found.sha256}")
    if asset.md5:
        with open(found.path, "rb") as file:
            md5 = hashlib.file_digest(file, "md5").hexdigest()
        if not md5.startswith(asset.md5):
            raise InvbenchError(f"{found.path}: {asset.id}: expected the published md5 {asset.md5}..., found {md5}")
    if recorded is not None and recorded != found.sha256:
        raise InvbenchError(
            f"{found.path}: {asset.id}: expected the recorded sha256 {recorded}, found {found.sha256}; "
            f"if the authors replaced it: `invbench weights add FILE --as {asset.id}`"
        )


def _check_layout(asset: Asset, found: Found, *, said: bool) -> None:
    if found.problem:
        raise InvbenchError(f"{found.path}: {found.problem}")
    reason = misfit(asset, found, said=said)
    if reason is not None:
        raise InvbenchError(f"{found.path}: not {asset.id}: {reason}")


def _copy(source: BinaryIO, target: BinaryIO, report: Report, *, total: int) -> None:
    done = 0
    while chunk := source.read(CHUNK):
        target.write(chunk)
        done += len(chunk)
        report(done, total)
    target.flush()
    os.fsync(target.fileno())


def _start(content_range: str) -> int | None:
    match = re.match(r"bytes (\d+)-", content_range)
    return int(match[1]) if match else None


def _page(head: bytes) -> str:
    title = re.search(rb"<title[^>]*>([^<]{0,80})", head, re.IGNORECASE)
    named = f" ({title[1].decode('utf-8', 'replace').strip()!r})" if title else ""
    return f"expected the file, found a web page{named}, such as a quota or login notice; try again later or in a browser"


def _reason(error: Any) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
