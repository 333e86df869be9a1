"""Tensors that are stored twice, such as an embedding that is also the output head.

Models that tie two tensors may store both. If one were pruned and the other not, they would not be
the same any more, so what happens to one happens to all of them.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from ._selection import Decision

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    import numpy.typing as npt

    from .._source import Checkpoint
    from .._tensor_info import TensorInfo

    Bytes = npt.NDArray[np.uint8]

_SAMPLES, _SAMPLE = 3, 4096


def tie(
    source: Checkpoint, infos: Mapping[str, TensorInfo], decisions: Mapping[str, Decision]
) -> tuple[dict[str, Decision], tuple[str, ...]]:
    """Decide alike for tensors of the same bytes.

    If one of them is to be left alone, all are; else the first of them decides. Only tensors of one
    dtype and shape that would be treated differently are compared, a few bytes of each first.

    Returns
    -------
    decisions : dict of str to Decision
        For each tensor what becomes of it.
    notes : tuple of str
        What was decided anew, for people.
    """
    tied = dict(decisions)
    notes = []
    for alike in _candidates(infos, decisions):
        for group in _same(source, alike):
            leader = _leader(group, decisions)
            for name in group:
                if decisions[name].then != decisions[leader].then:
                    why = f"same tensor as {leader}"
                    tied[name] = replace(decisions[leader], why=why)
                    what = decisions[leader].then
                    notes.append(f"{name} is the same tensor as {leader}, so for both: {what}")
    return tied, tuple(notes)


def _leader(group: list[str], decisions: Mapping[str, Decision]) -> str:
    left_alone = [name for name in group if decisions[name].pattern is None]
    return (left_alone or group)[0]


def _candidates(
    infos: Mapping[str, TensorInfo], decisions: Mapping[str, Decision]
) -> Iterator[list[str]]:
    """Yield names of dense tensors of one dtype and shape that are not all treated alike."""
    groups: dict[tuple[str, tuple[int, ...]], list[str]] = defaultdict(list)
    for name, info in infos.items():
        if info.numpy is not None and not info.packed and info.dense_nbytes:
            groups[info.dtype, info.shape].append(name)
    for names in groups.values():
        if len({decisions[name].then for name in names}) > 1:
            yield names


def _same(source: Checkpoint, names: Iterable[str]) -> Iterator[list[str]]:
    """Yield the names of tensors with the same bytes, two or more at a time."""
    by_sample: dict[bytes, list[list[str]]] = defaultdict(list)
    for name in names:
        octets = _bytes_of(source, name)
        groups = by_sample[_sample(octets)]
        for group in groups:
            if np.array_equal(_bytes_of(source, group[0]), octets):
                group.append(name)
                break
        else:
            groups.append([name])
    for groups in by_sample.values():
        yield from (group for group in groups if len(group) > 1)


def _bytes_of(source: Checkpoint, name: str) -> Bytes:
    tensor = source.read(name)
    assert isinstance(tensor, np.ndarray)  # candidates are dense and of a known dtype
    return tensor.reshape(-1).view(np.uint8)


def _sample(octets: Bytes) -> bytes:
    starts = np.linspace(0, max(0, octets.size - _SAMPLE), _SAMPLES).astype(np.int64)
    return b"".join(octets[start : start + _SAMPLE].tobytes() for start in starts)
