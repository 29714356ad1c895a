"""Checkpoints with a prefix before the names of their tensors, or with a dictionary around them.

Training code adds them: DataParallel ("module."), torch.compile ("_orig_mod."), a network within another ("model."), a
dictionary ("state_dict"). They are removed if the file has a known layout without them and none with them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from torch import Tensor

from invbench.weights.layouts import DEEPEST, Recognised, recognise

WRAPPERS = ("module", "_orig_mod")  # parts of names that no network of this project uses
AROUND = ("state_dict", "model_state_dict", "model", "net", "params_ema", "params")


def plain(content: Mapping[str, Any]) -> tuple[Mapping[str, Any], Recognised | None, str]:
    """The content without prefixes, the layout that it then has, and what was removed ("" = nothing).

    Without a fitting layout: the unchanged content, None and "".
    """
    told = recognise(content)
    if told is not None:
        return content, told, ""
    for form, removed in _forms(content):
        told = recognise(form) if removed else None
        if told is not None:
            return form, told, removed
    return content, None, ""


def _forms(content: Mapping[str, Any]) -> Iterator[tuple[Mapping[str, Any], str]]:
    inner = [(content[key], f"the dictionary {key!r} around them") for key in AROUND if _is_state(content.get(key))]
    for base, around in [(content, ""), *inner[:1]]:
        if around:
            yield base, around
        once, wrappers = _without_wrappers(base)
        twice, first = _without_first(once)
        before = [f"{name!r} before them" for name in wrappers]
        yield once, " and ".join([*filter(None, [around]), *before])
        if first:
            yield twice, " and ".join([*filter(None, [around]), *before, f"{first!r} before them"])


def _is_state(value: Any) -> bool:
    return isinstance(value, Mapping) and any(isinstance(one, Tensor) for one in value.values())


def _without_wrappers(content: Mapping[str, Any], depth: int = 1) -> tuple[dict[str, Any], list[str]]:
    """The content without WRAPPERS in the names of its tensors, and the wrappers that were found."""
    found: dict[str, None] = {}
    result: dict[str, Any] = {}
    for key, value in content.items():
        if isinstance(value, Mapping) and depth < DEEPEST:
            value, below = _without_wrappers(value, depth + 1)
            found |= dict.fromkeys(below)
        elif isinstance(value, Tensor) and isinstance(key, str):
            parts = key.split(".")
            found |= dict.fromkeys(f"{part}." for part in parts if part in WRAPPERS)
            key = ".".join(part for part in parts if part not in WRAPPERS)
        if key in result:
            return dict(content), []  # two names would become equal
        result[key] = value
    return result, list(found)


def _without_first(content: Mapping[str, Any]) -> tuple[dict[str, Any], str]:
    """The content without the first part of its tensors' names, if all share it: in "state_dict", else directly."""
    place = next((key for key in AROUND if _is_state(content.get(key))), None)
    state = content if place is None else content[place]
    names = [str(key) for key, value in state.items() if isinstance(value, Tensor)]
    firsts = {name.partition(".")[0] if "." in name else "" for name in names}
    first = firsts.pop() if len(firsts) == 1 else ""
    if not first:
        return dict(content), ""
    bare = {str(key).removeprefix(f"{first}.") if isinstance(value, Tensor) else key: value for key, value in state.items()}
    return (bare if place is None else {**content, place: bare}), f"{first}."
