"""Patterns of the scope "model": from one for many tensors to one for each, of the exact count."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from math import prod
from typing import TYPE_CHECKING

from .._arrays import Weights
from .._dtypes import DTYPES
from .._patterns import Unstructured
from .._together import RankedTensor, Seen, exactly, pruned_together
from ._jobs import as_dense
from ._steps import ProgressCallback, Work
from ._ties import tie

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from .._source import Checkpoint
    from .._tensor_info import Tensor, TensorInfo
    from .._together import Look
    from ._selection import Decision


def model_scopes(
    decisions: Mapping[str, Decision],
) -> dict[Unstructured, dict[str, Unstructured]]:
    """Group the tensors whose weights are ranked together.

    Patterns that differ only in the bounds of a tensor are one population.

    Returns
    -------
    dict of Unstructured to dict of str to Unstructured
        For each population, its pattern without bounds, the tensors by name with their own
        patterns. In the order of names, so that the result does not depend on how a model is cut
        into files.
    """
    populations: dict[Unstructured, dict[str, Unstructured]] = defaultdict(dict)
    for name in sorted(decisions):
        pattern = decisions[name].pattern
        if isinstance(pattern, Unstructured) and pattern.scope == "model":
            alone = replace(pattern, min_sparsity=0.0, max_sparsity=1.0)
            populations[alone][name] = pattern
    return dict(populations)


def with_counts(
    source: Checkpoint,
    infos: Mapping[str, TensorInfo],
    decisions: dict[str, Decision],
    num_threads: int | None,
    progress: ProgressCallback | None,
) -> dict[str, Decision]:
    """Replace each pattern of the scope "model" by that of its tensor's own count.

    Tensors that are the same in every byte stay alike: all lose as many as the first of them, also
    where the ties of the ranking would have told them apart.
    """
    populations = model_scopes(decisions)
    if not populations:
        return decisions

    def through(names: Sequence[str], look: Look) -> Iterator[tuple[str, Seen]]:
        def look_at(name: str, tensor: Tensor, threads: int) -> Seen:
            return look(name, Weights.of(as_dense(tensor, threads), name), threads)

        return Work(source, [names], num_threads, progress).through(names, look_at)

    counted = dict(decisions)
    for pattern, patterns in populations.items():
        ranked = [_ranked(name, infos[name], own) for name, own in patterns.items()]
        for name, count in pruned_together(ranked, pattern, through).items():
            then = exactly(count, prod(infos[name].shape))
            counted[name] = replace(decisions[name], then=then)
    return tie(source, infos, counted)[0]


def _ranked(name: str, info: TensorInfo, pattern: Unstructured) -> RankedTensor:
    assert info.numpy is not None  # or it would not be pruned
    return RankedTensor.of(name, DTYPES[info.numpy], prod(info.shape), pattern)
