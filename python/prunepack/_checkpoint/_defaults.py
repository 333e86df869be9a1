"""What is no weight to prune unless somebody says so: told by names, ranks and sizes."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING

from .._globs import any_match

if TYPE_CHECKING:
    from .._tensor_info import TensorInfo

# Embeddings are looked up, not multiplied with, and the output head is often the same tensor:
# pruning them costs the most accuracy for a weight. The globs cover the names that Hugging Face
# models, GPT-2, T5 and the first Llama give them.
SKIPPED_NAMES = {
    "embedding": ("*embed*", "wte.*", "*.wte.*", "wpe.*", "*.wpe.*", "shared.weight"),
    "output head": ("lm_head.*", "*.lm_head.*", "output.weight"),
    "norm": ("*norm*", "ln_*", "*.ln_*"),
    "bias": ("*bias",),
}


def kind_of_name(name: str) -> str | None:
    """Say what a tensor is that is not pruned for its name, or None for a weight like others."""
    for kind, globs in SKIPPED_NAMES.items():
        if any_match(name, globs):
            return kind
    return None


def too_small(info: TensorInfo, min_rank: int, min_size: int) -> str | None:
    """Say in what a tensor is too small to be a weight."""
    if len(info.shape) < min_rank:
        return f"rank {len(info.shape)}"
    if prod(info.shape) < min_size:
        return f"fewer than {min_size:,} elements"
    return None
