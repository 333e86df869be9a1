"""Packed layers inside compiled graphs: one operation that torch.compile does not look into."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING
from weakref import WeakValueDictionary

import torch

if TYPE_CHECKING:
    from ._module import PackedLinear

# A graph holds tensors and numbers, so it knows a layer by a number that no other has in this process.
_layers: WeakValueDictionary[int, PackedLinear] = WeakValueDictionary()
_numbers = itertools.count()


def number_of(layer: PackedLinear) -> int:
    """Give a layer the number by which graphs know it."""
    number = next(_numbers)
    _layers[number] = layer
    return number


@torch.library.custom_op("prunepack::packed_linear", mutates_args=())  # type: ignore[untyped-decorator]
def packed_linear(x: torch.Tensor, layer: int, outputs: int) -> torch.Tensor:  # noqa: ARG001
    """Apply the layer of this number."""
    found = _layers.get(layer)
    if found is None:
        msg = (
            "the packed layer of this graph must be in this process, where the graph was made; "
            "save the model's state_dict, and compile it where it runs"
        )
        raise RuntimeError(msg)
    return found.forward(x)


@packed_linear.register_fake  # type: ignore[untyped-decorator]
def _(x: torch.Tensor, layer: int, outputs: int) -> torch.Tensor:  # noqa: ARG001
    return x.new_empty((*x.shape[:-1], outputs))
