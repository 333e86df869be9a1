"""Prune neural-network weights on the CPU, store them small, and compute with them so."""

from __future__ import annotations

import logging as _logging
from importlib.metadata import version as _version

from ._checkpoint import (
    CheckpointReport,
    InspectReport,
    MaskReport,
    Progress,
    Rule,
    Rules,
    VerifyReport,
    apply_masks,
    inspect_checkpoint,
    load_rules,
    mask_checkpoint,
    pack_checkpoint,
    prune_checkpoint,
    unpack_checkpoint,
    verify_checkpoint,
)
from ._entries import RawTensor
from ._errors import FormatError
from ._files import load_file, save_file
from ._linear import PackedLinear, linear
from ._machine import isa, num_threads
from ._masks import Mask, prune_mask
from ._model_masks import prune_masks
from ._packed import PackedTensor, pack
from ._patterns import NM, Block, Pattern, Threshold, Unstructured
from ._prepared import PreparedMatrix
from ._prune import apply_mask, prune
from ._report import report_checkpoint
from ._verify import Verification, verify

# Whoever uses the library decides what becomes of its log.
_logging.getLogger("prunepack").addHandler(_logging.NullHandler())

__version__ = _version("prunepack")

__all__ = [
    "NM",
    "Block",
    "CheckpointReport",
    "FormatError",
    "InspectReport",
    "Mask",
    "MaskReport",
    "PackedLinear",
    "PackedTensor",
    "Pattern",
    "PreparedMatrix",
    "Progress",
    "RawTensor",
    "Rule",
    "Rules",
    "Threshold",
    "Unstructured",
    "Verification",
    "VerifyReport",
    "__version__",
    "apply_mask",
    "apply_masks",
    "inspect_checkpoint",
    "isa",
    "linear",
    "load_file",
    "load_rules",
    "mask_checkpoint",
    "num_threads",
    "pack",
    "pack_checkpoint",
    "prune",
    "prune_checkpoint",
    "prune_mask",
    "prune_masks",
    "report_checkpoint",
    "save_file",
    "unpack_checkpoint",
    "verify",
    "verify_checkpoint",
]
