"""The words for patterns and sizes that the command line and files of rules share."""

from __future__ import annotations

import re
from typing import Any

from ._patterns import NM, Block, Pattern, Threshold, Unstructured
from ._strict_json import shown

MOST_DIGITS = 1000  # int() refuses thousands of them, with a message of its own

MODEL_KEYS = ("normalize", "min_sparsity", "max_sparsity")
"""What goes with the scope "model" alone."""

KEYS = ("sparsity", "scope", *MODEL_KEYS, "nm", "axis", "block", "norm", "threshold")
"""What describes a pattern in a file of rules: the options of the command line."""

_UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12}
_BINARY_UNITS = {"k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}
_SIZE = re.compile(r"(\d{1,15}(?:\.\d{1,15})?) ?(?:([kmgt]?)(i?)b?)?", re.IGNORECASE)


def zeros_of(text: str) -> tuple[int, int]:
    """Read ``3:4``: three zeros in every four weights."""
    n, separator, m = text.partition(":")
    if not (separator and is_natural(n) and is_natural(m)):
        msg = f"must be N:M, with N zeros in every M weights, such as 3:4, got {shown(text)}"
        raise ValueError(msg)
    return int(n), int(m)


def tile(text: str) -> tuple[int | None, ...]:
    """Read ``4x1``, where ``*`` is a whole axis."""
    sides = text.lower().split("x")
    if not all(side == "*" or (is_natural(side) and int(side) > 0) for side in sides):
        msg = f"must be the sides of a tile, such as 4x1, or 1x* for a row, got {shown(text)}"
        raise ValueError(msg)
    return tuple(None if side == "*" else int(side) for side in sides)


def size(text: str) -> int:
    """Read ``3GB`` (powers of 1000), ``512 MiB`` (powers of 1024) or a number of bytes."""
    found = _SIZE.fullmatch(text.strip())
    if found is None or (found[3] and not found[2]):
        msg = f"must be a size such as 3GB, 512MiB or 1000000, got {shown(text)}"
        raise ValueError(msg)
    unit = (found[2] or "").lower()
    return int(float(found[1]) * (_BINARY_UNITS if found[3] else _UNITS)[unit])


def pattern_of(keys: dict[str, Any]) -> Pattern:
    """Make a pattern of keys from a file of rules.

    Raises
    ------
    ValueError
        If they do not make one; the message begins with the key.
    TypeError
        If one has a value of the wrong type.
    """
    kinds = [key for key in ("nm", "block", "threshold") if key in keys]
    if len(kinds) > 1:
        msg = f"{kinds[0]}: cannot be given together with {kinds[1]}, each is a pattern of its own"
        raise ValueError(msg)
    kind = kinds[0] if kinds else "sparsity"
    needed = {"nm": ("nm",), "block": ("block", "sparsity"), "threshold": ("threshold",)}
    allowed = {
        "nm": {"nm", "axis"},
        "block": {"block", "sparsity", "norm"},
        "threshold": {"threshold"},
        "sparsity": {"sparsity", "scope", *MODEL_KEYS},
    }[kind]
    for key in keys:
        if key not in allowed:
            msg = f"{key}: does not go with {kind}"
            raise ValueError(msg)
    for key in needed.get(kind, ("sparsity",)):
        if key not in keys:
            msg = f"{key}: must be given with {', '.join(keys)}"
            raise ValueError(msg)
    return _made(kind, keys)


def _made(kind: str, keys: dict[str, Any]) -> Pattern:
    more = {key: keys[key] for key in ("scope", "axis", "norm", *MODEL_KEYS) if key in keys}
    if kind == "nm":
        n, m = zeros_of(_text("nm", keys["nm"]))
        return NM(n, m, **more)
    if kind == "block":
        return Block(tile(_text("block", keys["block"])), keys["sparsity"], **more)
    if kind == "threshold":
        return Threshold(keys["threshold"])
    return Unstructured(keys["sparsity"], **more)


def _text(key: str, value: Any) -> str:
    if not isinstance(value, str):
        msg = f"{key}: must be a string, got {type(value).__name__}"
        raise TypeError(msg)
    return value


def is_natural(text: str) -> bool:
    """Tell whether a text is a natural number that `int` reads."""
    return text.isdecimal() and len(text) <= MOST_DIGITS
