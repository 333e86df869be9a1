"""The header of a ``.npy`` file: a line of Python that says what array follows.

NumPy's own reader makes room for as many bytes as a header claims to have, and lets Python's parser
read it, which is not made for strangers' text. Here it is read as what it is, three keys and values.
"""

from __future__ import annotations

import re
from typing import IO, Any, NamedTuple

import numpy as np

from ._entries import CODES, Entry, checked_nbytes
from ._errors import FormatError
from ._strict_json import shown

_MAGIC = b"\x93NUMPY"
_LENGTH_BYTES = {b"\x01\x00": 2, b"\x02\x00": 4}  # by version
_LIMIT = 10_000  # NumPy's own; a shape of 64 dimensions needs some 1,300
_ITEM = re.compile(
    r"\s*'(?P<key>descr|fortran_order|shape)'\s*:\s*"
    r"(?:'(?P<text>[^']*)'|(?P<truth>True|False)|\((?P<shape>[^()]*)\)|(?P<fields>\[.*\]))"
    r"\s*(?P<end>,\s*\}|,|\})"
)
_DIMENSION = re.compile(r"\s*(-?[0-9]{1,30})L?\s*")  # with an L from Python 2
# The types NumPy knows by itself. Those of ml_dtypes it would store as bytes without a meaning.
NATIVE_DTYPES = frozenset(dtype for dtype in CODES if dtype.isbuiltin == 1)


def _written(dtype: np.dtype[Any]) -> tuple[str, ...]:
    """Return the ways in which a header may name a dtype: one byte has no order."""
    orders = (dtype.str[0], "=", "", *("<>|" if dtype.itemsize == 1 else ""))
    return tuple(order + dtype.str[1:] for order in orders)


_DTYPES = {name: dtype for dtype in NATIVE_DTYPES for name in _written(dtype)}


class Header(NamedTuple):
    """What the header of an array says, checked against the bytes that are there."""

    entry: Entry
    dtype: np.dtype[Any]
    fortran_order: bool


def read_header(stream: IO[bytes], size: int, where: str) -> Header:
    """Read the header of an array that takes all `size` bytes of a stream."""
    text, begin = _read_text(stream, where)
    values = _values(text)
    shape = _shape(values.get("shape"))
    if shape is None or values.get("fortran_order") not in ("True", "False"):
        raise _no_header(where)
    dtype = _DTYPES.get(values.get("descr", ""))
    if dtype is None:
        known = ", ".join(sorted(dtype.name for dtype in NATIVE_DTYPES))
        msg = f"{where}: dtype must be {known}, got {shown(values.get('descr'))}"
        raise FormatError(msg)
    sensible = all(dimension >= 0 for dimension in shape)
    nbytes = checked_nbytes(shape, dtype.itemsize) if sensible else None
    if nbytes is None or begin + nbytes != size:
        msg = (
            f"{where}: {size - begin} bytes do not make an array of shape {shown(shape)} of {dtype}"
        )
        raise FormatError(msg)
    return Header(Entry(CODES[dtype], shape, nbytes), dtype, values["fortran_order"] == "True")


def _read_text(stream: IO[bytes], where: str) -> tuple[str, int]:
    """Return the line, and where the elements begin."""
    start = stream.read(len(_MAGIC) + 2)
    width = _LENGTH_BYTES.get(start[len(_MAGIC) :], 0)
    length = int.from_bytes(stream.read(width), "little")
    if not start.startswith(_MAGIC) or not 0 < length <= _LIMIT:
        raise _no_header(where)
    octets = stream.read(length)
    if len(octets) < length:
        raise _no_header(where)
    return octets.decode("latin-1"), len(start) + width + length


def _values(text: str) -> dict[str, str]:
    """Return key and value of each item, as text; nothing if it is no dict of the three."""
    values: dict[str, str] = {}
    at, end = 1, ""
    while not end.endswith("}"):
        item = _ITEM.match(text, at) if text.startswith("{") else None
        if item is None or item["key"] in values:
            return {}
        key = item["key"]
        kinds = {"descr": ("text", "fields"), "fortran_order": ("truth",), "shape": ("shape",)}
        found = [item[kind] for kind in kinds[key] if item[kind] is not None]
        if not found:
            return {}
        values[key] = found[0]
        at, end = item.end(), item["end"]
    return values if len(values) == 3 and not text[at:].strip() else {}


def _shape(text: str | None) -> tuple[int, ...] | None:
    """Read what is between the brackets of a tuple, or return None if that makes no shape."""
    if text is None:
        return None
    if not text.strip():
        return ()
    items = text.split(",")
    if len(items) == 1:
        return None  # a number in brackets
    if not items[-1].strip():
        items.pop()
    matches = [_DIMENSION.fullmatch(item) for item in items]
    return tuple(int(match[1]) for match in matches if match) if all(matches) else None


def _no_header(where: str) -> FormatError:
    return FormatError(f"{where}: must begin with an npy header of version 1 or 2")
