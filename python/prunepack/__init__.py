"""Prune neural-network weights on the CPU, store them small, and compute with them so."""

from __future__ import annotations

from importlib.metadata import version as _version

from ._checkpoint import (
    FileReport,
    InspectReport,
    VerifyReport,
    inspect_file,
    pack_file,
    prune_file,
    unpack_file,
    verify_file,
)
from ._core import default_threads as num_threads
from ._core import isa
from ._entries import RawTensor
from ._errors import FormatError
from ._files import load_file, save_file
from ._linear import PackedLinear, linear
from ._masks import Mask, prune_mask
from ._packed import PackedTensor, pack
from ._patterns import NM, Block, Pattern, Threshold, Unstructured
from ._prepared import PreparedMatrix
from ._prune import prune
from ._verify import Verification, verify

__version__ = _version("prunepack")

__all__ = [
    "NM",
    "Block",
    "FileReport",
    "FormatError",
    "InspectReport",
    "Mask",
    "PackedLinear",
    "PackedTensor",
    "Pattern",
    "PreparedMatrix",
    "RawTensor",
    "Threshold",
    "Unstructured",
    "Verification",
    "VerifyReport",
    "__version__",
    "inspect_file",
    "isa",
    "linear",
    "load_file",
    "num_threads",
    "pack",
    "pack_file",
    "prune",
    "prune_file",
    "prune_mask",
    "save_file",
    "unpack_file",
    "verify",
    "verify_file",
]
