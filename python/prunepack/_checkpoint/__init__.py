"""Whole model files: prune, pack, unpack, inspect and verify them, tensor by tensor.

Each function reads one tensor at a time and, where it writes, writes it before it reads
the next, so memory does not grow with the model. None of them prints: they report to a
callback while they work, and return what was done.
"""

from __future__ import annotations

from ._look import inspect_checkpoint, verify_checkpoint
from ._masks import MaskReport, TensorMasked, apply_masks, mask_checkpoint
from ._pack import pack_checkpoint, unpack_checkpoint
from ._portrait import Magnitudes, Portrait, TensorPortrait, portray
from ._prune import prune_checkpoint
from ._reports import (
    CheckpointReport,
    GroupFound,
    InspectReport,
    TensorFound,
    TensorReport,
    TensorVerified,
    VerifyReport,
    group_of,
)
from ._rules import Rule, Rules
from ._rules_file import load_rules
from ._steps import Progress
from ._structure import find_structure

__all__ = [
    "CheckpointReport",
    "GroupFound",
    "InspectReport",
    "Magnitudes",
    "MaskReport",
    "Portrait",
    "Progress",
    "Rule",
    "Rules",
    "TensorFound",
    "TensorMasked",
    "TensorPortrait",
    "TensorReport",
    "TensorVerified",
    "VerifyReport",
    "apply_masks",
    "find_structure",
    "group_of",
    "inspect_checkpoint",
    "load_rules",
    "mask_checkpoint",
    "pack_checkpoint",
    "portray",
    "prune_checkpoint",
    "unpack_checkpoint",
    "verify_checkpoint",
]
