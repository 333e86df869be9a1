"""Find the sparsity that makes a checkpoint as small as it is to be."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from .._patterns import Unstructured
from ._rewrite import predicted_size

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .._source import Checkpoint
    from ._jobs import Prune
    from ._paths import Output
    from ._selection import Decision

STEPS = 10_000  # hundredths of a percent: finer would be lost in the headers


def with_size(job: Prune, source: Checkpoint, output: Output, limit: int) -> tuple[Prune, float]:
    """Return the job that prunes as little as makes everything fit in `limit` bytes.

    The sparsity is the same for all tensors that no rule is about. What is predicted is a bound: zeros
    that are there already can only make the result smaller.

    Raises
    ------
    ValueError
        If even without any of these weights it would not fit, or it cannot be told.
    """

    def at(step: int) -> Prune:
        return replace(job, decisions=_at_sparsity(job.decisions, step / STEPS))

    def fits(step: int) -> bool:
        return predicted_size(source, output, at(step)) <= limit

    if not fits(STEPS):
        least = predicted_size(source, output, at(STEPS))
        msg = (
            f"target_size must be at least {least} bytes, which is what is left when every weight"
            f" that may be pruned is, got {limit}"
        )
        raise ValueError(msg)
    low, high = 0, STEPS
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if fits(middle) else (middle + 1, high)
    return at(low), low / STEPS


def _at_sparsity(decisions: Mapping[str, Decision], sparsity: float) -> dict[str, Decision]:
    pattern = Unstructured(sparsity)
    return {
        name: replace(decision, then=pattern)
        if decision.pattern is not None and decision.rule is None
        else decision
        for name, decision in decisions.items()
    }
