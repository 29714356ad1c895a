"""The splits of procfaces as datasets: rendered on demand, checked against stored hashes, with factors, masks and truth."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

import numpy as np

from invbench.api import Edit, InvbenchError, Sample
from invbench.datasets.procfaces import EDITS, Rendered, edit_factors, render, render_split, split

SPECS = [
    {
        "id": "procfaces-test",
        "title": "procfaces test: 200 portraits like those that the generator saw",
        "class": "Procfaces",
        "domain": "procfaces",
        "size": 200,
        "options": {"name": "test"},
        "summary": "64x64, rendered; factors, parsing, and the true picture of every edit are known",
    },
    {
        "id": "procfaces-test-ood",
        "title": "procfaces test-ood: 200 portraits with things that the generator never saw",
        "class": "Procfaces",
        "domain": "procfaces",
        "size": 200,
        "options": {"name": "test-ood"},
        "summary": "hats, hands with microphones, patterned backgrounds, big earrings, with their exact masks",
    },
    {
        "id": "procfaces-val",
        "title": "procfaces val: 500 portraits to choose settings on",
        "class": "Procfaces",
        "domain": "procfaces",
        "size": 500,
        "options": {"name": "val"},
        "summary": "never used for reported numbers",
    },
]

BLOCK = 8  # pictures rendered together: one by one costs three times as much a picture
KEPT = 2048  # blocks of true edits in memory, about 100 kB each: all methods of a run need the same ones


class Procfaces:
    """One split by name. ``names`` are those of the split; ``read`` and ``truth`` as in :class:`invbench.api.Dataset`."""

    def __init__(self, name: str) -> None:
        try:
            self._split = split(name)
        except (KeyError, ValueError) as error:
            raise InvbenchError(f"procfaces: {error.args[0]}") from error
        self._name = name
        self.names = self._split.names
        self._read: OrderedDict[int, Rendered] = OrderedDict()
        self._true: OrderedDict[tuple[int, Edit], Rendered] = OrderedDict()

    def read(self, index: int) -> Sample:
        """Render and verify one picture. Raises InvbenchError if its bytes differ from the stored hash."""
        block, place = divmod(index, BLOCK)
        rendered = _remember(self._read, block, lambda: self._render(block))
        return Sample(
            picture=rendered.images[place],
            name=self.names[index],
            sha256=self._split.sha256[index],
            parsing=rendered.parsing[place],
            ood_mask=rendered.ood_mask[place],
            factors=self._split.u[index],
        )

    def truth(self, index: int, edit: Edit) -> np.ndarray | None:
        """The render of the edited factors with unchanged occluders; None for an edit that procfaces does not know."""
        if not _knows(edit):
            return None
        block, place = divmod(index, BLOCK)
        return _remember(self._true, (block, edit), lambda: self._render_edited(block, edit)).images[place]

    def true_factors(self, index: int, edit: Edit) -> np.ndarray | None:
        """float64 [K] in [0, 1], the factors of :meth:`truth`, clipped at their limits; None for an unknown edit."""
        return _edited(self._split.u[index : index + 1], edit)[0] if _knows(edit) else None

    def _render(self, block: int) -> Rendered:
        try:
            return render_split(self._name, self._indices(block))
        except ValueError as error:
            raise InvbenchError(f"procfaces {self._name}: {error}") from error

    def _render_edited(self, block: int, edit: Edit) -> Rendered:
        indices = self._indices(block)
        extras = [self._split.extras[index] for index in indices]
        return render(_edited(self._split.u[indices], edit), extras=extras)

    def _indices(self, block: int) -> list[int]:
        return list(range(block * BLOCK, min((block + 1) * BLOCK, len(self.names))))


def _knows(edit: Edit) -> bool:
    return all(part.name in EDITS for part in edit.parts)


def _edited(u: np.ndarray, edit: Edit) -> np.ndarray:
    """Factors [N, K] after an edit; of a sum, after one part after the other."""
    for part in edit.parts:
        u = edit_factors(u, part.name, part.strength)
    return u


def _remember(memory: OrderedDict, key: object, make: Callable[[], Rendered]) -> Rendered:
    if key not in memory:
        memory[key] = make()
        if len(memory) > KEPT:
            memory.popitem(last=False)
    memory.move_to_end(key)
    return memory[key]
