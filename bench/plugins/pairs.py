"""Pairs of a refinement and an embedder: ``pti+e4e`` tunes weights around the latents of e4e.

A refinement alone starts from its published embedder. Either way its spec is composed of two: the options of the embedder stand
among those of the refinement as ``embedder.NAME``, a preset of the refinement brings one of the embedder, and the networks are
those of both. The preset of the embedder is the published one; of another embedder, the one of the same name, else its first.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from invbench.api import InvbenchError
from invbench.specs import MethodSpec
from invbench.util.names import unknown

SIGN, PREFIX = "+", "embedder."


def default_preset(spec: MethodSpec) -> str:
    """The preset that is declared first; ``default`` for a method that declares none."""
    return next(iter(spec.presets), "default")


def published(spec: MethodSpec, known: Mapping[str, MethodSpec]) -> MethodSpec:
    """A method as it runs when it is named alone: a refinement with its published embedder.

    ``known`` are the methods as declared. Raises InvbenchError if they lack the embedder or its preset.
    """
    if not spec.refines:
        return spec
    starts = {preset: name.partition(":") for preset, name in spec.embedder.items()}
    ids = {id for id, _, _ in starts.values()}
    if len(ids) != 1:
        raise InvbenchError(f"method {spec.id}: embedder: expected presets of one embedder, found {', '.join(sorted(ids))}")
    start = _part(f"method {spec.id}: embedder", ids.pop(), known)
    for _, _, preset in starts.values():
        if preset and preset not in start.presets:
            raise InvbenchError(f"method {spec.id}: embedder: {unknown(f'preset of {start.id}', preset, start.presets)}")
    return _composed(spec.id, spec, published(start, known))


def find(name: str, known: Mapping[str, MethodSpec]) -> MethodSpec:
    """The method ``ID`` or the pair ``REFINEMENT+EMBEDDER``; ``known`` are the methods as they run alone.

    Raises InvbenchError with the reason if there is no such method or the two do not go together.
    """
    first, sign, second = name.partition(SIGN)
    spec = _part(name if sign else "", first, known)
    if not sign:
        return spec
    own = spec.parts[0] if spec.parts else spec
    if not own.refines:
        able = ", ".join(id for id, one in known.items() if one.refines)
        found = f"found {first}, which starts from no latents"
        raise InvbenchError(f"{name}: expected a refinement before {SIGN!r} ({able}), {found}")
    start = _part(name, second, known)
    if not start.gives:
        able = ", ".join(id for id, one in known.items() if one.gives)
        found = f"found {second}, which gives no latents to start from"
        raise InvbenchError(f"{name}: expected an embedder after {SIGN!r} ({able}), {found}")
    if start.gives not in own.refines:
        spaces = " or ".join(space.upper() for space in own.refines)
        raise InvbenchError(f"{name}: {first} starts from latents in {spaces}, and {second} gives {start.gives.upper()}")
    return _composed(name, own, start)


def start_preset(spec: MethodSpec, preset: str) -> str:
    """The preset of the embedder in a pair of the preset ``preset``."""
    own, start = spec.parts
    return _start_preset(own, start, preset)


def leaves(spec: MethodSpec) -> list[MethodSpec]:
    """The declared specs that a method is made of."""
    return [leaf for part in spec.parts for leaf in leaves(part)] if spec.parts else [spec]


def foreign_space(spec: MethodSpec, spaces: Sequence[str]) -> str:
    """Why a method cannot work with a generator whose latents are in ``spaces``; "" if it can.

    A method that neither gives latents nor starts from any works in W or W+.
    """
    for leaf in leaves(spec):
        works = leaf.refines or ((leaf.gives,) if leaf.gives else ("w", "w+"))
        if "generator" in leaf.roles and not set(works) & set(spaces):
            has, needs = (" or ".join(space.upper() for space in one) for one in (spaces, works))
            return f"its generator has latents in {has}, and {leaf.id} works in {needs}"
    return ""


def own_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """The options of the refinement among those of a pair."""
    return {name: value for name, value in options.items() if not name.startswith(PREFIX)}


def start_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """The options of the embedder among those of a pair, by their own names."""
    return {name.removeprefix(PREFIX): value for name, value in options.items() if name.startswith(PREFIX)}


def prefixed(options: Mapping[str, Any]) -> dict[str, Any]:
    """The reverse of :func:`start_options`."""
    return {PREFIX + name: value for name, value in options.items()}


def _part(where: str, id: str, known: Mapping[str, MethodSpec]) -> MethodSpec:
    if id not in known:
        raise InvbenchError(f"{where}: {unknown('method', id, known)}" if where else unknown("method", id, known))
    return known[id]


def _start_preset(own: MethodSpec, start: MethodSpec, preset: str) -> str:
    id, _, named = own.embedder.get(preset, "").partition(":")
    if id == start.id and named:
        return named
    return preset if preset in start.presets else default_preset(start)


def _composed(id: str, own: MethodSpec, start: MethodSpec) -> MethodSpec:
    names = own.presets or {default_preset(own): {}}
    brought = {name: prefixed(start.presets.get(_start_preset(own, start, name), {})) for name in names}
    return replace(
        own,
        id=id,
        title=own.title if id == own.id else f"{own.title} + {start.title}",
        roles=_unique([*own.roles, *start.roles]),
        optional={**own.optional, **{role: PREFIX + asked for role, asked in start.optional.items()}},
        options={**own.options, **prefixed(start.options)},
        presets={name: {**changes, **brought[name]} for name, changes in names.items()},
        parts=(own, start),
    )


def _unique(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(names))
