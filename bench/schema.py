"""The grammar of columns: the fields of a row of a run, and the meaning of a column's name.

    key, recipe, ..., batch        fields, the same in every row (:data:`ROWS`)
    NAME@PROTOCOL                  a metric; older rows have NAME alone
    seconds.STAGE                  throughput: seconds per image of a stage; "invert", "edit" and "consistency" are totals
    latency.STAGE                  the same for an image that comes alone; "total" is the total
    memory.device_peak, .rss_peak  bytes
    source.jpeg                    1 if an external picture is a JPEG file

Rows of a reconstruction have no ``edit``. Rows of a round trip have "consistency:" before the edit's name, which no edit of a
suite can have. All code that reads or writes a column's name uses this module.
"""

from __future__ import annotations

import pyarrow as pa

from invbench.api import Edit
from invbench.util.names import signed as signed

TEXT = (
    "key",
    "recipe",
    "suite",
    "method",
    "preset",
    "dataset",
    "image",
    "edit",
    "status",
    "reason",
    "picture",  # sha256 of the saved PNG file that the row was scored from
    "mask",  # sha256 of the saved domain mask, where the method has one
    "machine",  # that the row was timed on, in words; older rows and external pictures have none
)
COUNTS = ("index", "batch")
ROWS = pa.schema(
    [*((name, pa.string()) for name in TEXT), *((name, pa.int64()) for name in COUNTS), ("strength", pa.float64())]
)
_TIMED = ("key", "recipe", "suite", "method", "preset", "dataset", "image", "edit", "status", "reason", "machine")
TIMES = pa.schema(
    [
        *((name, pa.string()) for name in _TIMED),
        *((name, pa.int64()) for name in ("index", "warmup")),
        ("strength", pa.float64()),
    ]
)
CURVES = pa.schema(
    [
        *((name, pa.string()) for name in ("key", "method", "preset", "dataset", "image", "machine")),
        *((name, pa.int64()) for name in ("index", "batch", "step")),
        ("seconds", pa.float64()),  # of the inversion up to there, an image
    ]
)
SETS = pa.schema(
    [
        *((name, pa.string()) for name in ("suite", "method", "preset", "dataset", "metric", "reason", "key")),
        *((name, pa.float64()) for name in ("value", "low", "high", "bias")),
        ("n", pa.int64()),
    ]
)
POINTS = """
    SELECT DISTINCT ON (dataset, method, preset, index, image, step) * FROM curves
    WHERE key IN (SELECT key FROM rows WHERE status = 'ok')
    ORDER BY dataset, method, preset, index, image, step
"""  # of the curves whose rows stand; a part that was written twice counts once
PLACE = ("method", "preset", "dataset", "image", "index", "status", "metric")  # no row is without, where its file has them
SET = ["method", "preset", "dataset", "metric"]  # what names a value of a set metric
ORDER = "suite, dataset, method, preset, index, edit NULLS FIRST, strength"

SECONDS, LATENCY, MEMORY, SOURCE = "seconds.", "latency.", "memory.", "source."
CLOCKED = (SECONDS, LATENCY)
MEASURES = (*CLOCKED, MEMORY)  # what depends on the machine
ROUND_TRIP = "consistency:"


def seconds(stage: str) -> str:
    """The column of a stage's time, in seconds per image."""
    return SECONDS + stage


def latency(stage: str) -> str:
    """The column of a stage's time for an image processed alone, in seconds."""
    return LATENCY + stage


INVERT, EDIT, CONSISTENCY = seconds("invert"), seconds("edit"), seconds("consistency")
ALONE, EDIT_ALONE = latency("total"), latency("edit")
TIMED = ("key", "recipe", "machine", "warmup", ALONE)  # no row of times is without; of one that failed, ALONE is null
DEVICE_PEAK, RSS_PEAK = MEMORY + "device_peak", MEMORY + "rss_peak"
JPEG = SOURCE + "jpeg"


def is_metric(column: str) -> bool:
    """Whether a column of rows holds a metric, named with its protocol or (in older runs) without."""
    return "@" in column or ("." not in column and column not in ROWS.names)


def is_measure(column: str) -> bool:
    """Whether a column holds times or memory."""
    return not is_metric(column) and column.startswith(MEASURES)


def is_seconds(column: str) -> bool:
    """Whether a column holds times of batches, in seconds per image; the images of a batch share one value."""
    return not is_metric(column) and column.startswith(SECONDS)


def is_latency(column: str) -> bool:
    """Whether a column holds times of an image processed alone."""
    return not is_metric(column) and column.startswith(LATENCY)


def round_trip(edit: Edit) -> Edit:
    """The edit with the name that rows and files of its round trip use."""
    return Edit(ROUND_TRIP + edit.name, edit.strength)


def one_way(edit: Edit) -> Edit:
    """The reverse of :func:`round_trip`."""
    return Edit(edit.name.removeprefix(ROUND_TRIP), edit.strength)


def is_round_trip(edit: str | None) -> bool:
    """Whether an edit name in rows is that of a round trip."""
    return edit is not None and edit.startswith(ROUND_TRIP)
