"""Check tensors against their patterns: each alone, and together where a pattern is of the model."""

from __future__ import annotations

from dataclasses import replace
from math import prod
from typing import TYPE_CHECKING

import numpy as np

from .._packed import PackedTensor
from .._patterns import Unstructured
from .._verify import verify
from ._jobs import as_dense
from ._model_scope import model_scopes
from ._reports import TensorVerified
from ._steps import nonzero

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .._tensor_info import Tensor, TensorInfo
    from ._selection import Decision


def verified(
    name: str, tensor: Tensor, decision: Decision, threads: int
) -> tuple[TensorVerified, int]:
    """Check one tensor; of a pattern of the model only the least that each tensor must lose.

    Returns
    -------
    verified : TensorVerified
        What was found.
    zeros : int
        How many zeros there are; counted only if the pattern is of the model.
    """
    pattern = decision.pattern
    assert pattern is not None
    assert isinstance(tensor, np.ndarray | PackedTensor)  # the selection leaves unknown dtypes out
    zeros, own = 0, pattern
    if isinstance(pattern, Unstructured) and pattern.scope == "model":
        own = Unstructured(pattern.min_sparsity)
        zeros = prod(tensor.shape) - nonzero(as_dense(tensor, threads), threads).kept
    found = verify(tensor, own, num_threads=threads)
    message = found.message if found.broken or own is pattern else f"{zeros:,} zeros"
    return TensorVerified(
        name, str(pattern), decision.rule, found.ok, found.broken, found.first, message
    ), zeros


def verified_together(
    decisions: Mapping[str, Decision],
    infos: Mapping[str, TensorInfo],
    checked: Mapping[str, tuple[TensorVerified, int]],
) -> dict[str, TensorVerified]:
    """Check the patterns of the model; the first tensor of each that is broken tells."""
    broken = {}
    for pattern, names in model_scopes(decisions).items():
        weights = sum(prod(infos[name].shape) for name in names)
        zeros, needed = sum(checked[name][1] for name in names), round(pattern.sparsity * weights)
        if zeros < needed:
            first = next(name for name in checked if name in names)
            message = (
                f"{zeros:,} zeros of {weights:,} weights in the {len(names):,} tensors that"
                f" {pattern} is about, {needed:,} needed"
            )
            broken[first] = replace(checked[first][0], ok=False, broken=1, message=message)
    return broken
