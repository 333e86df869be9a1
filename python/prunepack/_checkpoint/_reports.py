"""What was done to a file, or found in it: plain data, with the sums that people ask for."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from math import prod
from typing import Any

_NUMBER = re.compile(r"(?<![^.])\d+(?![^.])")  # a part between dots that is a number


def group_of(name: str) -> str:
    """Return a tensor's name with ``*`` for the numbers in it, such as that of its layer."""
    return _NUMBER.sub("*", name)


@dataclass(frozen=True)
class TensorReport:
    """What became of one tensor.

    Attributes
    ----------
    name, dtype, shape
        The tensor; `dtype` is the code that safetensors uses, such as ``"BF16"``.
    action : str
        ``"pruned"``, ``"packed"``, ``"unpacked"`` or ``"unchanged"``.
    packed : bool
        Whether it is stored packed now.
    pattern : str or None
        What it was pruned with.
    note : str or None
        Why it was left unchanged, pruned and yet not packed, or pruned with this pattern.
    kept : int or None
        Weights that are not zero now; None where nobody counted.
    bytes_before, bytes_after : int
        Its bytes in the two files, without the header.
    model_bytes : int
        Where packed, the bytes that b (1 - s) + 1 bits a weight come to; else `bytes_after`.
    exact : bool
        In a dry run, whether `bytes_after` is exact if no weight that is kept is zero already;
        otherwise it is an estimate.
    seconds : float or None
        How long it took to make, without reading and writing; tensors are made side by side. None
        in a dry run.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    action: str
    packed: bool
    pattern: str | None
    note: str | None
    kept: int | None
    bytes_before: int
    bytes_after: int
    model_bytes: int
    exact: bool = True
    seconds: float | None = None

    @property
    def weights(self) -> int:
        """How many elements the tensor has."""
        return prod(self.shape)

    @property
    def sparsity(self) -> float | None:
        """The share of zeros, or None where nobody counted."""
        if self.kept is None:
            return None
        return 1 - self.kept / self.weights if self.weights else 0.0


@dataclass(frozen=True)
class CheckpointReport:
    """What became of a checkpoint, tensor by tensor.

    Attributes
    ----------
    source, target : str
        The checkpoint read and the one written; a dry run may have no target.
    rules : str or None
        What decided which weights were pruned.
    format : str
        How packed tensors are stored.
    dry_run : bool
        Whether nothing was written, and everything below is a prediction.
    tensors : tuple of TensorReport
        In the order of the file.
    notes : tuple of str
        What the caller may want to know, such as an exclude that matched nothing.
    bytes_before, bytes_after : int
        The sizes of the two, all files counted.
    seconds : float
        From reading the one to the other being in place.
    """

    source: str
    target: str | None
    rules: str | None
    format: str
    dry_run: bool
    tensors: tuple[TensorReport, ...]
    notes: tuple[str, ...]
    bytes_before: int
    bytes_after: int
    seconds: float

    @property
    def ratio(self) -> float:
        """How many times smaller the new file is."""
        return self.bytes_before / self.bytes_after

    @property
    def sparsity(self) -> float:
        """The share of zeros among the weights that were counted."""
        counted = [t for t in self.tensors if t.kept is not None]
        weights = sum(t.weights for t in counted)
        kept = sum(t.kept or 0 for t in counted)
        return 1 - kept / weights if weights else 0.0

    @property
    def model_bytes(self) -> int:
        """The size that b (1 - s) + 1 bits a packed weight predict, with no header at all."""
        return sum(t.model_bytes for t in self.tensors)

    def to_json(self) -> dict[str, Any]:
        """Return the report as what ``json.dumps`` takes."""
        more = {
            "ratio": self.ratio,
            "sparsity": self.sparsity,
            "model_bytes": self.model_bytes,
        }
        report = asdict(self) | more
        for entry, tensor in zip(report["tensors"], self.tensors, strict=True):
            entry["sparsity"] = tensor.sparsity
        return report


@dataclass(frozen=True)
class TensorFound:
    """What a file holds under one name.

    Attributes
    ----------
    name, dtype, shape
        The tensor; `dtype` is the code that safetensors uses, such as ``"BF16"``.
    packed : bool
        Whether it is stored packed.
    sparsity : float or None
        The share of zeros; None for a dtype that prunepack does not prune.
    pattern : str or None
        The strongest pattern that the zeros follow, as found from the zeros themselves.
    obeys : tuple of str
        Every n:m and tile that the zeros follow, of those that are tried.
    recorded : str or None
        The pattern that the file says it was pruned with.
    nbytes, dense_nbytes : int
        Its bytes in the file, and what it would have dense.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    packed: bool
    sparsity: float | None
    pattern: str | None
    obeys: tuple[str, ...]
    recorded: str | None
    nbytes: int
    dense_nbytes: int

    @property
    def weights(self) -> int:
        """How many elements the tensor has."""
        return prod(self.shape)

    @property
    def ratio(self) -> float:
        """How many times smaller the tensor is than dense."""
        return self.dense_nbytes / self.nbytes if self.nbytes else 1.0


@dataclass(frozen=True)
class GroupFound:
    """What tensors have in common whose names differ in numbers only: one from each layer.

    Attributes
    ----------
    name : str
        Their name with ``*`` for the numbers.
    tensors, weights : int
        How many there are, and how many elements they have together.
    sparsity : float or None
        The share of zeros among those of a dtype that is pruned; None if there are none.
    patterns : tuple of str
        The patterns that their zeros follow, the most frequent first.
    nbytes, dense_nbytes : int
        Their bytes in the files, and what they would have dense.
    """

    name: str
    tensors: int
    weights: int
    sparsity: float | None
    patterns: tuple[str, ...]
    nbytes: int
    dense_nbytes: int

    @classmethod
    def of(cls, name: str, tensors: Sequence[TensorFound]) -> GroupFound:
        """Sum up tensors."""
        return cls(
            name,
            len(tensors),
            sum(t.weights for t in tensors),
            _sparsity(tensors),
            tuple(p for p, _ in Counter(t.pattern for t in tensors if t.pattern).most_common()),
            sum(t.nbytes for t in tensors),
            sum(t.dense_nbytes for t in tensors),
        )

    @property
    def ratio(self) -> float:
        """How many times smaller the tensors are than dense."""
        return self.dense_nbytes / self.nbytes if self.nbytes else 1.0


@dataclass(frozen=True)
class InspectReport:
    """What a checkpoint holds, tensor by tensor, with the size of all its files."""

    path: str
    tensors: tuple[TensorFound, ...]
    nbytes: int

    @property
    def groups(self) -> tuple[GroupFound, ...]:
        """The tensors whose names differ in numbers only, together."""
        found: dict[str, list[TensorFound]] = {}
        for tensor in self.tensors:
            found.setdefault(group_of(tensor.name), []).append(tensor)
        return tuple(GroupFound.of(name, tensors) for name, tensors in found.items())

    @property
    def weights(self) -> int:
        """How many elements the tensors have together."""
        return sum(t.weights for t in self.tensors)

    @property
    def sparsity(self) -> float | None:
        """The share of zeros in the tensors whose zeros are counted, or None if there are none."""
        return _sparsity(self.tensors)

    @property
    def dense_nbytes(self) -> int:
        """The bytes of all tensors if they were dense."""
        return sum(t.dense_nbytes for t in self.tensors)

    @property
    def ratio(self) -> float:
        """How many times smaller the tensors are than dense."""
        stored = sum(t.nbytes for t in self.tensors)
        return self.dense_nbytes / stored if stored else 1.0

    def to_json(self) -> dict[str, Any]:
        """Return the report as what ``json.dumps`` takes."""
        more = {
            "dense_nbytes": self.dense_nbytes,
            "ratio": self.ratio,
            "sparsity": self.sparsity,
            "groups": [asdict(group) | {"ratio": group.ratio} for group in self.groups],
        }
        report = asdict(self) | more
        for entry, tensor in zip(report["tensors"], self.tensors, strict=True):
            entry["ratio"] = tensor.ratio
        return report


def _sparsity(tensors: Iterable[TensorFound]) -> float | None:
    counted = [t for t in tensors if t.sparsity is not None and t.weights]
    weights = sum(t.weights for t in counted)
    zeros = sum((t.sparsity or 0.0) * t.weights for t in counted)
    return zeros / weights if weights else None


@dataclass(frozen=True)
class TensorVerified:
    """Whether one tensor follows the pattern.

    Attributes
    ----------
    name : str
        The tensor.
    pattern : str
        What it must follow.
    rule : int or None
        The number of the rule that says so, counted from 1.
    ok : bool
        Whether it follows the pattern.
    broken : int
        How many groups do not.
    first : tuple of int or None
        Where the first of those begins.
    message : str
        The same in words.
    """

    name: str
    pattern: str
    rule: int | None
    ok: bool
    broken: int
    first: tuple[int, ...] | None
    message: str


@dataclass(frozen=True)
class VerifyReport:
    """Which tensors of a checkpoint follow their patterns; the tensors not looked at are not listed."""

    path: str
    rules: str
    tensors: tuple[TensorVerified, ...]

    @property
    def ok(self) -> bool:
        """Whether all of them do."""
        return all(t.ok for t in self.tensors)

    @property
    def first(self) -> TensorVerified | None:
        """The first tensor that does not, in the order of the files."""
        return next((t for t in self.tensors if not t.ok), None)

    def to_json(self) -> dict[str, Any]:
        """Return the report as what ``json.dumps`` takes."""
        first = None if self.first is None else asdict(self.first)
        return asdict(self) | {"ok": self.ok, "first": first}
