"""Dense linear layers, as each library computes them."""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from .. import _core
from .._linear import linear
from .._packed import pack

if TYPE_CHECKING:
    from .._arrays import Array
    from ._contest import Work

# Takes x, float32 of shape (batch, inputs), and returns what computes the layer's result from it.
Layer: TypeAlias = "Callable[[Array], Work]"

OURS, NUMPY, TORCH = "prunepack", "NumPy", "torch"


def rounding(dtype: np.dtype[Any]) -> str | None:
    """Return what activations are rounded to beside weights of `dtype`, as torch does it."""
    return dtype.name if dtype.name in ("bfloat16", "int8") else None


def packed_layer(matrix: Any, threads: int) -> Layer:
    """Return a layer of ours."""

    def layer(x: Array) -> Work:
        y = np.empty((len(x), matrix.shape[0]), np.float32)
        mode = rounding(matrix.dtype)
        return lambda: linear(x, matrix, activations=mode, out=y, num_threads=threads)

    return layer


def dense_layers(w: Array, threads: int) -> dict[str, Layer]:
    """Return the layer that each library there is makes of `w`.

    NumPy multiplies nothing but float32 with a tuned library; torch knows int8 on CPUs only inside
    its quantised modules.
    """
    dense = pack(w, num_threads=threads).prepare("dense", num_threads=threads)
    layers = {OURS: packed_layer(dense, threads)}
    if w.dtype == np.float32 and _numpy_can_have(threads):
        layers[NUMPY] = _numpy_layer(w)
    torch = find_torch()
    if torch is not None and w.dtype.name != "int8":
        layers[TORCH] = _torch_layer(torch, w)
    return layers


def _numpy_layer(w: Array) -> Layer:
    turned = w.T

    def layer(x: Array) -> Work:
        y = np.empty((len(x), len(w)), np.float32)
        if len(x) == 1:  # matmul of one row is slower than the product with a vector
            return lambda: np.dot(w, x[0], out=y[0])
        return lambda: np.matmul(x, turned, out=y)

    return layer


def _torch_layer(torch: Any, w: Array) -> Layer:
    dtype = getattr(torch, w.dtype.name)
    weight = torch.from_numpy(w.view(f"i{w.itemsize}")).view(dtype)

    def layer(x: Array) -> Work:
        rounded = torch.from_numpy(x).to(dtype)

        def work() -> object:
            with torch.inference_mode():
                return torch.nn.functional.linear(rounded, weight)

        return work

    return layer


def find_torch() -> Any:
    """Import torch; None where it is not installed."""
    try:
        return importlib.import_module("torch")
    except ImportError:
        return None


def _find_threadpoolctl() -> Any:
    try:
        return importlib.import_module("threadpoolctl")
    except ImportError:
        return None


def _numpy_can_have(threads: int) -> bool:
    """Tell whether NumPy's BLAS will use as many threads: by default it uses all there are."""
    return (
        _find_threadpoolctl() is not None
        or os.environ.get("OPENBLAS_NUM_THREADS") == str(threads)
        or threads == _core.default_threads() == os.cpu_count()
    )


def missing(dtype: np.dtype[Any], threads: int) -> tuple[str, ...]:
    """Say which rivals are left out that could be there."""
    notes = []
    if dtype == np.float32 and not _numpy_can_have(threads):
        notes.append("without NumPy, whose threads cannot be set: install threadpoolctl")
    if dtype.name != "int8" and find_torch() is None:
        notes.append("without torch, which is not installed")
    return tuple(notes)


def with_threads(threads: int) -> AbstractContextManager[Any]:
    """Give the other libraries as many threads as ours, until the block ends."""
    stack = ExitStack()
    pools, torch = _find_threadpoolctl(), find_torch()
    if pools is not None:
        stack.enter_context(pools.threadpool_limits(threads))
    if torch is not None:
        stack.callback(torch.set_num_threads, torch.get_num_threads())
        torch.set_num_threads(threads)
    return stack
