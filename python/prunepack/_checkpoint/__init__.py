"""Whole model files: prune, pack, unpack, inspect and verify them, tensor by tensor.

Each function reads one tensor at a time and, where it writes, writes it before it reads
the next, so memory does not grow with the model. None of them prints: they report to a
callback while they work, and return what was done.
"""

from __future__ import annotations

from ._look import inspect_file, verify_file
from ._reports import (
    FileReport,
    InspectReport,
    TensorFound,
    TensorReport,
    TensorVerified,
    VerifyReport,
)
from ._rewrite import pack_file, prune_file, unpack_file
from ._structure import find_pattern

__all__ = [
    "FileReport",
    "InspectReport",
    "TensorFound",
    "TensorReport",
    "TensorVerified",
    "VerifyReport",
    "find_pattern",
    "inspect_file",
    "pack_file",
    "prune_file",
    "unpack_file",
    "verify_file",
]
