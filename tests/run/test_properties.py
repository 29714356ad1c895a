"""Laws of keys, batches, names of files and the store, on names and values that nobody would think of."""

from __future__ import annotations

import math
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from invbench.api import Edit
from invbench.run.plan import Cell, Entry
from invbench.store import Part, Store
from invbench.util.files import file_name

few = settings(max_examples=60, deadline=None)
names = st.text(min_size=1, max_size=200)
hashes = st.text("0123456789abcdef", min_size=4, max_size=4)
strengths = st.floats(-10, 10).filter(lambda x: x != 0)
edits = st.lists(st.builds(Edit, st.sampled_from(["age", "yaw", "age+1"]), strengths), max_size=3, unique=True)


@st.composite
def cells(draw) -> Cell:
    """A cell of up to 9 images, some unreadable, some the same picture under two names."""
    found = draw(st.lists(st.tuples(names, st.none() | hashes), min_size=1, max_size=9, unique_by=lambda one: one[0]))
    entries = tuple(Entry(i, name, sha, "" if sha else "broken") for i, (name, sha) in enumerate(found))
    return Cell(
        method="m",
        preset="p",
        options={},
        stepwise=draw(st.booleans()),
        dataset="d",
        entries=entries,
        edits=tuple(draw(edits)),
        recipe=draw(hashes),
        batch=draw(st.integers(1, 5)),
    )


@few
@given(cells())
def test_keys_are_one_for_each_row_and_of_its_content(cell):
    """Twins (two names of one picture) are two rows; the place of an image among the others is no part of its key."""
    keys = cell.keys()
    assert len(set(keys)) == len(keys) == len(cell.entries) * (1 + len(cell.edits))
    assert replace(cell).keys() == keys and Cell.read(cell.describe()).keys() == keys
    assert not set(replace(cell, recipe=f"{cell.recipe}x").keys()) & set(keys)
    moved = replace(cell, stepwise=False, entries=tuple(replace(one, index=one.index + 7) for one in cell.entries))
    assert moved.keys() == replace(cell, stepwise=False).keys()
    for place, entry in enumerate(cell.entries):
        changed = replace(entry, sha256=f"{entry.sha256}x")
        assert replace(cell, entries=(*cell.entries[:place], changed, *cell.entries[place + 1 :])).key(changed) not in keys


@few
@given(cells(), st.data())
def test_batches_partition_the_images_and_shards_what_is_left(cell, data):
    assert [entry for batch in cell.batches for entry in batch] == list(cell.entries)
    assert all(1 <= len(batch) <= cell.batch for batch in cell.batches)
    done = set(data.draw(st.lists(st.sampled_from(cell.keys()), unique=True)))
    shards = list(cell.shards(done))
    missing = [key for shard in shards for key in shard.keys]
    assert len(missing) == len(set(missing)) and set(missing) == set(cell.keys()) - done
    assert all(shard.keys <= set(cell.keys(shard.entries)) for shard in shards)
    assert len({shard.name for shard in shards}) == len(shards)


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=300), st.text(max_size=300))
def test_names_of_files_never_meet_and_never_leave_their_folder(one, other):
    for name in (one, other):
        safe = file_name(name)
        assert safe and "/" not in safe and safe not in (".", "..") and not safe.startswith(".") and len(safe.encode()) < 200
        assert (Path("folder") / f"{safe}.png").parent == Path("folder")
        assert safe == name or file_name(safe) != safe  # nobody else has the name that this one was given
    assert (file_name(one) == file_name(other)) == (one == other)


values = st.floats(allow_nan=True, allow_infinity=True, width=64)
rows = st.lists(
    st.tuples(names, values, st.none() | st.tuples(names, strengths), st.none() | names), min_size=1, max_size=6
)


@few
@given(rows, st.dictionaries(names, names, max_size=3))
def test_rows_come_back_as_they_were_written(found, failures):
    """Bit for bit, whatever names and values they have; what has to be escaped stays one row, and no other's."""
    written = []
    for index, (image, value, edit, reason) in enumerate(found):
        row = {"key": str(index), "recipe": "r", "suite": "s", "method": "m", "preset": "p", "dataset": "d", "image": image}
        row |= {"index": index, "status": "failed" if reason else "ok", "batch": 1, "mse@native": value}
        row |= {} if edit is None else {"edit": edit[0], "strength": edit[1]}
        written.append(row | ({} if reason is None else {"reason": reason}))
    with tempfile.TemporaryDirectory() as folder:
        store = Store(folder)
        store.write_part("m.p.d", Part("1", written, {"mse@native": "x"}, failures))
        (part,) = store.parts("m.p.d")
        assert store.set_broken_aside() == [] and part.failures == failures and len(store.rows()) == len(written)
    for was, now in zip(written, part.rows, strict=True):
        assert now.keys() == was.keys()
        assert now["mse@native"] == was["mse@native"] or math.isnan(now["mse@native"]) and math.isnan(was["mse@native"])
        assert now["strength"] == was["strength"] if "strength" in was else True
        if was["image"].isprintable():
            assert now["image"] == was["image"]


@few
@given(st.lists(names, min_size=1, max_size=5), st.integers(1, 4), st.integers(0, 2**32 - 1))
def test_features_come_back_as_they_were_written(images, width, seed):
    features = np.random.default_rng(seed).standard_normal((len(images), width)).astype(np.float32)
    with tempfile.TemporaryDirectory() as folder:
        Store(folder).write_features("c", "p", features={"f@native": features}, images=images, recipes={"f@native": "r"})
        found, named, recipes = Store(folder).features("c", "p")
    assert np.array_equal(found["f@native"], features) and named == images and recipes == {"f@native": "r"}
