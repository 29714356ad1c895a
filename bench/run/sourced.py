"""Sources of edit directions: ``age@ganspace`` moves latents by the network ``directions_ganspace`` instead of ``directions``.

A network of directions knows the plain names of its edits only; the session gives methods :class:`Sourced` in its place, so
that every method edits by every source.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from torch import Tensor

from invbench.api import SOURCE, Edit, InvbenchError, sources_of
from invbench.util.names import unknown
from invbench.util.provenance import digest, source_digest
from invbench.weights.networks import Networks


class Sourced:
    """The directions of a suite, which also move latents by other sources; everything else of them is as it was.

    own       the network that edits without a source move by
    networks  the suite's networks; that of a source is opened when it is first used
    """

    def __init__(self, own: Any, networks: Networks) -> None:
        self._own, self._networks = own, networks

    def __getattr__(self, name: str) -> Any:
        return getattr(self._own, name)

    def __getitem__(self, name: str) -> Any:
        attribute, network = self._found(name)
        return network[attribute]

    def move(self, latents: Tensor, edit: Edit) -> Tensor:
        """Latents [N, L, D] -> edited latents [N, L, D]."""
        attribute, network = self._found(edit.name)
        moved: Tensor = network.move(latents, Edit(attribute, edit.strength))
        return moved

    def _found(self, name: str) -> tuple[str, Any]:
        attribute, _, source = name.partition(SOURCE)
        return attribute, opened(self._networks, source) if source else self._own


def opened(networks: Networks, source: str) -> Any:
    """The network of a source. Raises InvbenchError for a source that the suite does not have, MissingWeights without files."""
    known = networks.suite.sources
    if source not in known:
        raise InvbenchError(f"suite {networks.suite.id}: {unknown('source of directions', source, known)}")
    return networks[known[source]]


def digests(networks: Networks, edits: Iterable[Edit]) -> dict[str, str]:
    """Source -> digest of its weights and code, for the sources that the edits name.

    Raises InvbenchError if one of them has no direction for its attribute, MissingWeights if its files are not here.
    """
    found: dict[str, str] = {}
    for name in dict.fromkeys(part for edit in edits for part in edit.name.split("+")):
        for source in sources_of(name):
            attribute, known = Edit(name, 0.0).plain.name, opened(networks, source).names
            if attribute not in known:
                raise InvbenchError(f"edit {name}: {source} has directions for {', '.join(known)}, found {attribute!r}")
            role = networks.suite.sources[source]
            found[source] = digest({"network": networks.provenance(role), "source": source_digest(networks.code(role))})
    return found
