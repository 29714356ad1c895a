"""Inert records of the objects in a pickled weights file: nothing of the file is run (:mod:`network_pickles`)."""

from __future__ import annotations

from typing import Any

DICTIONARIES = ("collections.OrderedDict", "dnnlib.util.EasyDict")


class Record:
    """What the file asked to build: the name of a class or function, its arguments, and the state set afterwards."""

    __slots__ = ("name", "args", "state")

    def __init__(self, name: str, args: tuple[Any, ...]) -> None:
        self.name, self.args, self.state = name, args, None


class Name:
    """A class or function that the file names. Calling it records the call; it has no attribute that could be set."""

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        self.name = name

    def __call__(self, *args: Any) -> Any:
        return dict(*args) if self.name in DICTIONARIES else Record(self.name, args)


def is_record(value: Any, *names: str) -> bool:
    """Whether the value is a record of one of these names."""
    return isinstance(value, Record) and value.name in names
