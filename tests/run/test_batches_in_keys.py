"""Which rows a change of batches, images or edits computes again."""

from __future__ import annotations

from dataclasses import replace

import pytest

from invbench.api import Edit
from invbench.run import plan
from invbench.run.plan import Cell, Entry

ENTRIES = tuple(Entry(i, f"{i}.png", None if i == 1 else f"sha-{i}", "broken" if i == 1 else "") for i in range(10))
EDITS = (Edit("age", 1.0),)


def cell(*, images: int, batch: int, stepwise: bool = True, before: Cell | None = None) -> Cell:
    """A cell of a method that takes steps or none; after ``before``, as a call that continues its run plans it."""
    head = {"method": "m", "preset": "released", "options": {}, "dataset": "d", "recipe": "recipe"}
    made = Cell(**head, stepwise=stepwise, entries=ENTRIES[:images], edits=EDITS, batch=batch)
    return made if before is None else replace(made, beyond=plan.beyond(before.describe(), made.entries))


def work(of: Cell, *done: Cell) -> list[list[int]]:
    """The images of each shard that is left."""
    keys = set().union(*(one.keys() for one in done))
    return [[entry.index for entry in shard.entries] for shard in of.shards(keys)]


def test_another_batch_is_another_key_where_steps_are_taken() -> None:
    assert work(cell(images=6, batch=3), cell(images=6, batch=2)) == [[0, 1, 2], [3, 4, 5]]
    assert work(cell(images=6, batch=3, stepwise=False), cell(images=6, batch=2, stepwise=False)) == []


@pytest.mark.parametrize("stepwise", [True, False])
def test_a_finished_run_has_nothing_left(stepwise: bool) -> None:
    assert work(cell(images=7, batch=3, stepwise=stepwise), cell(images=7, batch=3, stepwise=stepwise)) == []


def test_more_images_complete_the_last_batch_together() -> None:
    # Images 3 and 4 were refined as two; a run of 10 images would refine them with image 5.
    more = cell(images=10, batch=3)
    assert work(more, cell(images=5, batch=3)) == [[3, 4, 5], [6, 7, 8], [9]]
    assert work(cell(images=10, batch=3, stepwise=False), cell(images=5, batch=3, stepwise=False)) == [[5], [6, 7, 8], [9]]


def test_images_that_share_what_is_found_are_never_computed_apart() -> None:
    joint = replace(cell(images=6, batch=3, stepwise=False), joint=True)
    assert Cell.read(joint.describe()) == joint and "joint" not in cell(images=6, batch=3).describe()
    assert work(joint, replace(joint, batch=2)) == [[0, 1, 2], [3, 4, 5]]
    done = set(joint.keys()) - {joint.key(ENTRIES[4])}
    assert [[entry.index for entry in shard.entries] for shard in joint.shards(done)] == [[3, 4, 5]]
    stepwise = cell(images=6, batch=3)
    done = set(stepwise.keys()) - {stepwise.key(ENTRIES[4])}
    assert [[entry.index for entry in shard.entries] for shard in stepwise.shards(done)] == [[4]]


def test_fewer_images_keep_the_rows_that_stand() -> None:
    all_of_them = cell(images=10, batch=3)
    fewer = cell(images=5, batch=3, before=all_of_them)
    assert work(fewer, all_of_them) == []
    assert set(fewer.keys()) < set(all_of_them.keys())


def test_one_more_edit_refines_whole_batches_again() -> None:
    before = cell(images=10, batch=3)
    more = replace(cell(images=5, batch=3, before=before), edits=(*EDITS, Edit("yaw", 1.0)))
    shards = list(more.shards(set(before.keys())))
    assert [[entry.index for entry in shard.entries] for shard in shards] == [[0, 1, 2], [3, 4, 5]]
    wanted = {more.key(entry, Edit("yaw", 1.0)) for entry in more.entries}
    assert set().union(*(shard.keys for shard in shards)) == wanted


def test_an_image_that_failed_is_tried_alone() -> None:
    whole = cell(images=6, batch=3)
    done = set(whole.keys()) - set(whole.keys(ENTRIES[4:5]))
    assert [[entry.index for entry in shard.entries] for shard in whole.shards(done)] == [[4]]
