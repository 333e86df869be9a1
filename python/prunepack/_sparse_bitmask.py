"""Packed tensors as compressed-tensors stores them: four plain tensors that share a prefix.

``P.shape``, ``P.compressed`` (the values), ``P.bitmask`` and ``P.row_offsets``, where P is the
tensor's name without ``.weight``. Which tensors of a file are such parts is told by the key
"prunepack" of its metadata, or, in a file of compressed-tensors itself, by their names.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np

from ._dtypes import is_prunable
from ._entries import NUMPY_DTYPES, Entry, RawTensor, checked_nbytes
from ._errors import FormatError
from ._packed import PackedTensor
from ._strict_json import Object, parse, shown

METADATA_KEY = "prunepack"
VERSION = 1
_ESSENTIAL = ("shape", "compressed", "bitmask")  # what an unpacker needs


class Store(Protocol):
    """A file of plain named tensors."""

    path: str
    names: tuple[str, ...]
    metadata: dict[str, str]

    def __contains__(self, name: object) -> bool: ...
    def info(self, name: str) -> Entry: ...
    def array(self, name: str) -> np.ndarray[Any, Any] | RawTensor: ...


class Origin(NamedTuple):
    """Where a packed tensor's parts are, and the pattern it was pruned with if the file says."""

    prefix: str
    pattern: str | None = None

    def part(self, suffix: str) -> str:
        """Return the stored name of a part."""
        return f"{self.prefix}.{suffix}"

    def parts(self) -> tuple[str, ...]:
        """Return the stored names of all parts a packed tensor may have."""
        return tuple(map(self.part, ("row_offsets", "shape", "compressed", "bitmask")))


# --- writing ----------------------------------------------------------------------------------


def planned_parts(
    origin: Origin, dtype: str, shape: tuple[int, ...], kept: int | None, *, at_most: bool
) -> dict[str, Entry]:
    """Describe the parts of a packed tensor to be; `kept` is None where it may be all of them."""
    if dtype not in NUMPY_DTYPES or not is_prunable(NUMPY_DTYPES[dtype]):
        msg = (
            f"packed tensor {shown(origin.prefix)} must have a dtype that can be packed,"
            f" got {dtype}"
        )
        raise TypeError(msg)
    itemsize = NUMPY_DTYPES[dtype].itemsize
    rows = math.prod(shape[:-1])
    mask_shape = _mask_shape(shape)
    most = math.prod(shape) if kept is None else kept
    row_offsets, dense_shape, compressed, bitmask = origin.parts()
    return {
        row_offsets: Entry("I64", shape[:-1], 8 * rows),
        dense_shape: Entry("I64", (len(shape),), 8 * len(shape)),
        compressed: Entry(dtype, (most,), most * itemsize, at_most=at_most),
        bitmask: Entry("U8", mask_shape, math.prod(mask_shape)),
    }


def stored_parts(origin: Origin, packed: PackedTensor) -> dict[str, np.ndarray[Any, Any]]:
    """Return the parts of a packed tensor, byte for byte as compressed-tensors writes them."""
    row_offsets, dense_shape, compressed, bitmask = origin.parts()
    return {
        row_offsets: _stored_row_offsets(packed),
        dense_shape: np.array(packed.shape, np.int64),
        compressed: packed.values,
        bitmask: packed.mask.reshape(_mask_shape(packed.shape)),
    }


def describe(origins: Mapping[str, Origin]) -> str:
    """Return the metadata that names a file's packed tensors."""
    packed = {name: origin._asdict() for name, origin in origins.items()}
    tree = {"version": VERSION, "packed": packed}
    return json.dumps(tree, ensure_ascii=False, separators=(",", ":"))


def look_packed(names: Iterable[str]) -> bool:
    """Tell whether a reader would take some of these names for parts, if no metadata said no."""
    return bool(_recognised(tuple(names)))


def _mask_shape(shape: tuple[int, ...]) -> tuple[int, ...]:
    return (*shape[:-1], -(-(shape[-1] if shape else 1) // 8))


def _stored_row_offsets(packed: PackedTensor) -> np.ndarray[Any, Any]:
    """Return what compressed-tensors stores: sums along axis 0 alone.

    Up to two dimensions that is where each row's values start. From three on it is no offset of
    anything; it is written so for the sake of the same bytes.
    """
    counts = np.diff(packed.row_offsets).reshape(packed.shape[:-1])
    if counts.ndim == 0:
        return np.zeros((), np.int64)
    return np.cumsum(counts, axis=0) - counts


# --- reading ----------------------------------------------------------------------------------


def find_packed(store: Store, files: Sequence[Store]) -> dict[str, Origin]:
    """Find the packed tensors of a store; the other names in it are plain tensors.

    A store that is made of several files may say in any of them that prunepack wrote it.
    """
    found: dict[str, Origin] = {}
    described = [file for file in files if METADATA_KEY in file.metadata]
    for file in described:
        where = f"{file.path}: __metadata__ {METADATA_KEY!r}"
        for name, origin in _described(file.metadata[METADATA_KEY], where).items():
            if name in found:
                msg = f"{where}: packed tensor {shown(name)} must be in one file, it is in two"
                raise FormatError(msg)
            found[name] = origin
    if not described:
        found = _recognised(store.names)
    _check_origins(found, store)
    return found


def _described(text: str, where: str) -> dict[str, Origin]:
    """Read what `describe` wrote."""
    tree = parse(text, where)
    members = tree.members(where) if isinstance(tree, Object) else {}
    version, packed = members.get("version"), members.get("packed")
    if version != VERSION or members.keys() != {"version", "packed"}:
        msg = f"{where}: must hold version {VERSION} and 'packed', got version {shown(version)}"
        raise FormatError(msg)
    if not isinstance(packed, Object):
        msg = f"{where}: 'packed' must be an object, got {shown(packed)}"
        raise FormatError(msg)
    found = {}
    for name, value in packed.members(where).items():
        origin = value.members(where) if isinstance(value, Object) else {}
        prefix, pattern = origin.get("prefix"), origin.get("pattern")
        if (
            not isinstance(prefix, str)
            or not isinstance(pattern, str | None)
            or origin.keys() != {"prefix", "pattern"}
        ):
            msg = f"{where}: {shown(name)} must have a 'prefix' and a 'pattern', got {shown(value)}"
            raise FormatError(msg)
        found[name] = Origin(prefix, pattern)
    return found


def _recognised(names: tuple[str, ...]) -> dict[str, Origin]:
    """Recognise the files of compressed-tensors, which carry no metadata.

    Any two of the three parts that matter make a packed tensor (a model may have a tensor that is
    just called ``x.bitmask``). Up to 0.8.1 every tensor was packed, with P its full name; since
    then only weights, with ``.weight`` left out. One P that ends in ``.weight`` tells the former.
    """
    tails = (name.rpartition(".") for name in names)
    parts = Counter(prefix for prefix, _, tail in tails if tail in _ESSENTIAL)
    prefixes = [prefix for prefix, count in parts.items() if count > 1]
    older = any(prefix.endswith(".weight") for prefix in prefixes)
    return {prefix if older else f"{prefix}.weight": Origin(prefix) for prefix in prefixes}


def _check_origins(found: Mapping[str, Origin], store: Store) -> None:
    owners: dict[str, str] = {}
    for name, origin in found.items():
        where = _where(store, name)
        if origin.prefix in owners:
            msg = (
                f"{where}: prefix {shown(origin.prefix)} already belongs to"
                f" {shown(owners[origin.prefix])}"
            )
            raise FormatError(msg)
        owners[origin.prefix] = name
        for suffix in _ESSENTIAL:
            if origin.part(suffix) not in store:
                msg = f"{where}: part {shown(origin.part(suffix))} is missing"
                raise FormatError(msg)
    parts = {part for origin in found.values() for part in origin.parts()}
    for name in found:
        if name in store and name not in parts:
            msg = (
                f"{store.path}: tensor {shown(name)} must be stored once,"
                " it is there both packed and dense"
            )
            raise FormatError(msg)


def dense_shape(store: Store, name: str, origin: Origin) -> tuple[int, ...]:
    """Return the shape of a packed tensor, reading nothing but its shape part."""
    if _is_24(store, origin):
        rows_and_half = store.info(origin.part("compressed")).shape
        if len(rows_and_half) != 2:
            where = _where(store, name)
            msg = (
                f"{where}: compressed must have 2 dimensions in sparse-24-bitmask,"
                f" got shape {rows_and_half}"
            )
            raise FormatError(msg)
        return rows_and_half[0], 2 * rows_and_half[1]
    shape = _part(store, name, origin, "shape")
    if shape.dtype.kind not in "iu" or shape.ndim != 1:
        msg = (
            f"{_where(store, name)}: shape must be a 1-D tensor of integers,"
            f" got {shape.dtype} of shape {shown(shape.shape)}"
        )
        raise FormatError(msg)
    dimensions = tuple(shape.tolist())
    if any(dimension < 0 for dimension in dimensions) or checked_nbytes(dimensions, 8) is None:
        msg = (
            f"{_where(store, name)}: shape must be natural numbers whose product fits,"
            f" got {shown(dimensions)}"
        )
        raise FormatError(msg)
    return dimensions


def stored_values(store: Store, name: str, origin: Origin) -> Entry:
    """Describe the non-zero values of a packed tensor, reading none."""
    values = store.info(origin.part("compressed"))
    dtype = NUMPY_DTYPES.get(values.dtype)
    if dtype is None or not is_prunable(dtype):
        msg = (
            f"{_where(store, name)}: compressed must have a dtype that can be packed,"
            f" got {values.dtype if dtype is None else dtype}"
        )
        raise FormatError(msg)
    return values


def read_packed(store: Store, name: str, origin: Origin) -> PackedTensor:
    """Read one packed tensor; mask and values are views of the file where it is mapped.

    Sizes are compared before anything is allocated from them; `row_offsets` must be there, so that
    a shape of many empty rows needs a file as large.
    """
    where = _where(store, name)
    stored_values(store, name, origin)
    shape = dense_shape(store, name, origin)
    values = _part(store, name, origin, "compressed")
    mask = _part(store, name, origin, "bitmask")
    if mask.dtype != np.uint8 or mask.shape != _mask_shape(shape):
        msg = (
            f"{where}: bitmask must be uint8 of shape {shown(_mask_shape(shape))}"
            f" for a tensor of shape {shown(shape)}, got {mask.dtype} of shape {shown(mask.shape)}"
        )
        raise FormatError(msg)
    is_24 = _is_24(store, origin)
    if is_24:
        if origin.part("row_offsets") in store:
            msg = (
                f"{where}: sparse-24-bitmask has no row_offsets,"
                f" found {shown(origin.part('row_offsets'))}"
            )
            raise FormatError(msg)
        _check_24(mask, shape, where)
        values = values.reshape(-1)
    else:
        _check_sizes(values, _row_offsets(store, name, origin), shape, where)
    rows = math.prod(shape[:-1])
    try:
        packed = PackedTensor(shape, values.dtype, mask.reshape(rows, mask.shape[-1]), values, None)
    except ValueError as error:
        msg = f"{where}: {error}"
        raise FormatError(msg) from error
    if not is_24 and len(shape) <= 2:
        _check_row_offsets(_row_offsets(store, name, origin), packed, where)
    return packed


def _where(store: Store, name: str) -> str:
    return f"{store.path}: packed tensor {shown(name)}"


def _is_24(store: Store, origin: Origin) -> bool:
    """Tell the 2:4 format by its odd shape part, which holds a column and is of no use."""
    return store.info(origin.part("shape")).shape == (2, 1)


def _part(store: Store, name: str, origin: Origin, suffix: str) -> np.ndarray[Any, Any]:
    array = store.array(origin.part(suffix))
    if isinstance(array, RawTensor):
        msg = f"{_where(store, name)}: {suffix} must have a known dtype, got {array.dtype}"
        raise FormatError(msg)
    return array


def _row_offsets(store: Store, name: str, origin: Origin) -> np.ndarray[Any, Any]:
    if origin.part("row_offsets") not in store:
        msg = f"{_where(store, name)}: part {shown(origin.part('row_offsets'))} is missing"
        raise FormatError(msg)
    return _part(store, name, origin, "row_offsets")


def _check_sizes(
    values: np.ndarray[Any, Any],
    row_offsets: np.ndarray[Any, Any],
    shape: tuple[int, ...],
    where: str,
) -> None:
    if values.ndim != 1:
        msg = f"{where}: compressed must have 1 dimension, got shape {shown(values.shape)}"
        raise FormatError(msg)
    if row_offsets.dtype != np.int64 or row_offsets.shape != shape[:-1]:
        msg = (
            f"{where}: row_offsets must be int64 of shape {shown(shape[:-1])},"
            f" got {row_offsets.dtype} of shape {shown(row_offsets.shape)}"
        )
        raise FormatError(msg)


def _check_row_offsets(row_offsets: np.ndarray[Any, Any], packed: PackedTensor, where: str) -> None:
    expected = packed.row_offsets[: row_offsets.size]
    wrong = np.flatnonzero(row_offsets.reshape(-1) != expected)
    if wrong.size:
        row = int(wrong[0])
        msg = (
            f"{where}: row_offsets must count the values before each row,"
            f" row {row} says {row_offsets.reshape(-1)[row]} where the bitmask has {expected[row]}"
        )
        raise FormatError(msg)


def _check_24(mask: np.ndarray[Any, Any], shape: tuple[int, ...], where: str) -> None:
    rows, cols = shape
    # Without columns nothing in the file bounds the rows.
    if rows * cols % 4 or (rows and not cols):
        msg = f"{where}: sparse-24-bitmask needs groups of four, got shape {shown(shape)}"
        raise FormatError(msg)
    kept = np.unpackbits(mask, axis=1, count=cols, bitorder="little")
    wrong = np.flatnonzero(kept.reshape(-1, 4).sum(axis=1) != 2)
    if wrong.size:
        msg = f"{where}: bitmask must keep 2 of every 4 weights, group {wrong[0]} does not"
        raise FormatError(msg)
