"""Torch tensors and NumPy arrays over the same memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import ml_dtypes
import numpy as np
import torch

if TYPE_CHECKING:
    from .._arrays import Array

# What linear layers can be computed in; NumPy itself has no bfloat16.
TORCH_DTYPES = {
    np.dtype(np.float32): torch.float32,
    np.dtype(np.float16): torch.float16,
    np.dtype(ml_dtypes.bfloat16): torch.bfloat16,
    np.dtype(np.int8): torch.int8,
}
NUMPY_DTYPES = {theirs: ours for ours, theirs in TORCH_DTYPES.items()}


def to_array(tensor: torch.Tensor) -> Array:
    """View a tensor on the CPU as an array."""
    tensor = tensor.detach()
    if tensor.dtype == torch.bfloat16:
        return tensor.view(torch.int16).numpy().view(ml_dtypes.bfloat16)  # type: ignore[no-any-return]
    return tensor.numpy()  # type: ignore[no-any-return]


def to_tensor(array: Array) -> torch.Tensor:
    """View an array as a tensor; copy it if its memory may not be written."""
    owner = _writable(array)
    dtype: Any = TORCH_DTYPES.get(array.dtype)
    if dtype is None:
        return torch.from_numpy(owner)
    return torch.from_numpy(owner.view(f"i{array.itemsize}")).view(dtype)


def _writable(array: Array) -> Array:
    """Return the array that a read-only view is of, if that can be written, or a copy.

    A tensor can always be written, and a file that is mapped must not be.
    """
    if array.flags.writeable:
        return array
    base = array.base
    same = (
        isinstance(base, np.ndarray)
        and base.flags.writeable
        and base.ctypes.data == array.ctypes.data
        and base.nbytes == array.nbytes
        and base.flags.c_contiguous
    )
    return (
        base.view(array.dtype).reshape(array.shape) if same and base is not None else array.copy()
    )
