"""Shards one after the other in this process."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

Shard = TypeVar("Shard")
Result = TypeVar("Result")


class Local:
    """The plain executor. A shard begins only when the result before it has been taken, so memory stays that of one."""

    def run(self, work: Callable[[Shard], Result], shards: Iterable[Shard]) -> Iterator[Result]:
        """``work(shard)`` for every shard, in order."""
        for shard in shards:
            yield work(shard)
