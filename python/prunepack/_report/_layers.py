"""Tensors put together as a reader of a page wants them: by what they are, and by layer."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from .._checkpoint import group_of
from .._text import printable

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from .._checkpoint import TensorPortrait

MOST_ROWS = 40
MOST_BARS = 14
LONGEST_NAME = 44

SOME = 0.01
"""Of zeros: trained weights have a few by chance."""

SMALL = 0.005
"""Of the bytes of a model, what is not worth a bar."""

_LAYER = re.compile(r"(?<![^.])(\d{1,6})(?![^.])")


class Grid(NamedTuple):
    """The sparsity of each kind of tensor in each layer; NaN where there is none."""

    rows: tuple[str, ...]
    columns: tuple[str, ...]
    share: npt.NDArray[np.float64]


class Sizes(NamedTuple):
    """The bytes of each kind of tensor, before and after."""

    names: tuple[str, ...]
    before: tuple[int, ...]
    after: tuple[int, ...]


def sparse(tensors: Sequence[TensorPortrait]) -> list[TensorPortrait]:
    """Return the tensors that have some zeros, or if none has, those that could; largest first."""
    with_zeros = [t for t in tensors if (t.sparsity or 0) >= SOME]
    chosen = with_zeros or [t for t in tensors if t.zeros is not None and len(t.shape) > 1]
    return sorted(chosen, key=lambda t: -t.weights)


def short_name(kind: str) -> str:
    """Return what tells a kind of tensor apart: what follows the number of its layer."""
    tail = kind.partition("*.")[2] or kind
    tail = printable(tail.removesuffix(".weight"))
    return tail if len(tail) <= LONGEST_NAME else f"…{tail[1 - LONGEST_NAME :]}"


def by_layer(tensors: Sequence[TensorPortrait]) -> Grid:
    """Put tensors in rows by kind, and in columns by layer; those of no layer in the first one."""
    zeros: dict[tuple[str, int], int] = {}
    weights: dict[tuple[str, int], int] = {}
    sizes: dict[str, int] = {}
    for tensor in tensors:
        kind = group_of(tensor.name)
        found = _LAYER.search(tensor.name)
        place = kind, int(found[1]) if found else -1
        zeros[place] = zeros.get(place, 0) + (tensor.zeros or 0)
        weights[place] = weights.get(place, 0) + tensor.weights
        sizes[kind] = sizes.get(kind, 0) + tensor.weights
    largest = sorted(sizes, key=lambda kind: -sizes[kind])[:MOST_ROWS]
    rows = [kind for kind in sizes if kind in largest]
    columns = sorted({layer for kind, layer in weights if kind in largest})
    share = np.full((len(rows), len(columns)), np.nan)
    for (kind, layer), count in weights.items():
        if kind in largest and count:
            share[rows.index(kind), columns.index(layer)] = zeros[kind, layer] / count
    titles = ("-" if layer < 0 else str(layer) for layer in columns)
    return Grid(tuple(map(short_name, rows)), tuple(titles), share)


def by_size(tensors: Sequence[TensorPortrait]) -> Sizes:
    """Add up the bytes of each kind of tensor, largest first; small ones together."""
    before: dict[str, int] = {}
    after: dict[str, int] = {}
    for tensor in tensors:
        kind = group_of(tensor.name)
        before[kind] = before.get(kind, 0) + tensor.bytes_before
        after[kind] = after.get(kind, 0) + tensor.bytes_after
    kinds = sorted(before, key=lambda kind: -before[kind])
    large = sum(size >= SMALL * sum(before.values()) for size in before.values())
    shown, others = kinds[: min(large, MOST_BARS)], kinds[min(large, MOST_BARS) :]
    names = [short_name(kind) for kind in shown]
    sizes = [(before[kind], after[kind]) for kind in shown]
    if others:
        names.append(f"{len(others)} others")
        sizes.append((sum(before[k] for k in others), sum(after[k] for k in others)))
    return Sizes(tuple(names), tuple(b for b, _ in sizes), tuple(a for _, a in sizes))
