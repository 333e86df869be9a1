"""The masks of all tensors of a model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from ._arrays import ArrayLike, Weights, as_array, resolve_threads
from ._masks import Mask, mask_bits
from ._patterns import Pattern, Unstructured, check_pattern
from ._together import RankedTensor, exactly, pruned_together

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ._together import Look, Seen


def prune_masks(
    tensors: Mapping[str, ArrayLike],
    pattern: Pattern,
    *,
    importance: Mapping[str, ArrayLike] | None = None,
    num_threads: int | None = None,
) -> dict[str, Mask]:
    """Decide which weights of several tensors a pattern keeps.

    With ``Unstructured(sparsity, scope="model")`` the weights of all tensors are ranked together,
    whatever their dtypes, and ``round(sparsity * N)`` of all N are pruned. Any other pattern is
    applied to each tensor alone, as `prune_mask` does it.

    Parameters
    ----------
    tensors : mapping of str to array_like
        The weights, each as for `prune_mask`. Among equals the first tensor is pruned first.
    pattern : Unstructured, Threshold, NM or Block
        The rule.
    importance : mapping of str to array_like, optional
        Rank by the magnitudes of these arrays, of the same names and shapes, instead.
    num_threads : int, optional
        Threads to use; by default ``PRUNEPACK_NUM_THREADS``, else the cores this process may use.
        The result is the same for any number.

    Returns
    -------
    dict of str to Mask
        One mask a tensor, 1 = kept.

    Raises
    ------
    TypeError
        If `tensors` or `importance` is no mapping, or a tensor no array of a dtype that can be pruned.
    ValueError
        If `importance` has other names or shapes, `pattern` does not fit a shape, or its bounds
        leave no way to prune as many as it says.

    See Also
    --------
    prune_mask : One tensor.
    prune_checkpoint : A model in a file or folder, of any size.

    Examples
    --------
    >>> import numpy as np
    >>> import prunepack as pp
    >>> model = {"a": np.array([0.5, -3.0, 1.0]), "b": np.array([[4, 5]], np.int8)}
    >>> masks = pp.prune_masks(model, pp.Unstructured(0.6, scope="model"))
    >>> masks["a"].to_bool(), masks["b"].to_bool()
    (array([False, False, False]), array([[ True,  True]]))
    >>> packed = {name: pp.pack(w, masks[name]) for name, w in model.items()}
    """
    check_pattern(pattern)
    _check_named(tensors, "tensors")
    threads = resolve_threads(num_threads)
    ranked = {
        name: Weights.of(as_array(w, f"tensor {name!r}"), f"tensor {name!r}")
        for name, w in tensors.items()
    }
    if importance is not None:
        _check_named(importance, "importance")
        ranked = _importances(importance, ranked)
    patterns: Mapping[str, Pattern] = dict.fromkeys(ranked, pattern)
    if isinstance(pattern, Unstructured) and pattern.scope == "model":
        patterns = _together(ranked, pattern, threads)
    return {
        name: Mask(weights.shape, mask_bits(weights, patterns[name], None, threads))
        for name, weights in ranked.items()
    }


def _check_named(tensors: object, argument: str) -> None:
    if not isinstance(tensors, Mapping):
        msg = f"{argument} must be a mapping of names to arrays, got {type(tensors).__name__}"
        raise TypeError(msg)


def _together(
    ranked: Mapping[str, Weights], pattern: Unstructured, threads: int
) -> dict[str, Pattern]:
    """Turn a pattern of the whole model into one for each tensor, of the exact count."""

    def through(names: Sequence[str], look: Look) -> Iterator[tuple[str, Seen]]:
        return ((name, look(name, ranked[name], threads)) for name in names)

    tensors = [
        RankedTensor.of(name, weights.info, weights.array.size, pattern)
        for name, weights in ranked.items()
    ]
    pruned = pruned_together(tensors, pattern, through)
    return {name: exactly(count, ranked[name].array.size) for name, count in pruned.items()}


def _importances(
    importance: Mapping[str, ArrayLike], tensors: Mapping[str, Weights]
) -> dict[str, Weights]:
    if importance.keys() != tensors.keys():
        name = next(iter(importance.keys() ^ tensors.keys()))
        msg = f"importance must have the names of tensors, and {name!r} is only in one of them"
        raise ValueError(msg)
    ranked = {}
    for name, weights in tensors.items():
        argument = f"importance of {name!r}"
        ranked[name] = Weights.of(as_array(importance[name], argument), argument)
        if ranked[name].shape != weights.shape:
            msg = (
                f"{argument} must have the shape of the tensor, {weights.shape},"
                f" got {ranked[name].shape}"
            )
            raise ValueError(msg)
    return ranked
