"""Packed linear layers for torch models: swap them in, save them, load them.

Needs torch, which nothing else in prunepack does.
"""

from __future__ import annotations

try:
    import torch as _torch  # noqa: F401
except ImportError as error:
    msg = (
        "prunepack.torch needs torch, which cannot be imported; install torch, or prunepack[torch]"
    )
    raise ImportError(msg) from error

from ._models import load_packed, pack_module
from ._module import PackedLinear
from ._reports import LayerReport, ModuleReport

__all__ = ["LayerReport", "ModuleReport", "PackedLinear", "load_packed", "pack_module"]
