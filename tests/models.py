"""Small models to test whole files with."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import ml_dtypes
import numpy as np

import prunepack as pp
import reference

if TYPE_CHECKING:
    from pathlib import Path

    import numpy.typing as npt

    Tensors = dict[str, npt.NDArray[Any]]

WEIGHTS = ("head", "layers.0.weight", "layers.10.conv.weight", "layers.2.weight")
"""The tensors that are pruned by default."""


def small_model() -> Tensors:
    """Return four weights, and one tensor for each reason to be left alone."""
    random = np.random.default_rng(3)

    def normal(*shape: int, dtype: Any = np.float32) -> npt.NDArray[Any]:
        return random.standard_normal(shape).astype(dtype)

    bias = normal(4096)
    bias[:3] = np.nan, -0.0, np.inf
    return {
        "layers.0.weight": normal(64, 48, dtype=ml_dtypes.bfloat16),
        "layers.2.weight": normal(50, 66),
        "layers.10.conv.weight": normal(32, 16, 3, 3, dtype=np.float16),
        "head": normal(40, 80),
        "layers.0.bias": bias,
        "layers.0.norm.weight": normal(48, dtype=ml_dtypes.bfloat16),
        "tiny.weight": normal(8, 8),
        "position_ids": np.arange(4096).reshape(1, -1),
        "flags": random.random((64, 64)) > 0.5,
    }


def pruned(model: Tensors, pattern: pp.Pattern, names: tuple[str, ...] = WEIGHTS) -> Tensors:
    """Return the model with the named tensors pruned as the reference does it."""
    return {
        name: reference.prune(w, reference.kept(w, pattern)) if name in names else w
        for name, w in model.items()
    }


def dense_of(path: Path) -> Tensors:
    """Load a file with every tensor dense."""
    found = {}
    for name, tensor in pp.load_file(path).items():
        dense = tensor.to_dense() if isinstance(tensor, pp.PackedTensor) else tensor
        assert isinstance(dense, np.ndarray)
        found[name] = dense
    return found
