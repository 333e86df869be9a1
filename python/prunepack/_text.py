"""Sizes, counts and times as people read them."""

from __future__ import annotations

import re


def in_bytes(nbytes: int) -> str:
    """Write a size with three digits: ``90.9 MB``."""
    return _scaled(nbytes, 1000, ("B", "kB", "MB", "GB", "TB"))


def in_weights(weights: int) -> str:
    """Write a count with three digits: ``22.7 M``."""
    return _scaled(weights, 1000, ("", "k", "M", "G", "T"))


def in_seconds(seconds: float) -> str:
    """Write a time: ``12 ms``, ``0.41 s``, ``2 min 5 s``."""
    if seconds < 0.1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 60:
        return f"{seconds:.2f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s"


def in_short_seconds(seconds: float) -> str:
    """Write a time with three digits: ``3.41 us``, ``12.1 ms``."""
    for unit, scale in (("us", 1e6), ("ms", 1e3)):
        value = seconds * scale
        if value < 999.5:
            decimals = 2 if value < 9.995 else 1 if value < 99.95 else 0
            return f"{value:.{decimals}f} {unit}"
    return in_seconds(seconds)


def in_percent(share: float | None) -> str:
    """Write a share: ``75.0 %``; nothing known is a dash."""
    return "-" if share is None else f"{100 * share:.1f} %"


def times(ratio: float) -> str:
    """Write a ratio: ``3.55x``."""
    return f"{ratio:.2f}x" if ratio < 100 else f"{ratio:.0f}x"


def of_shape(shape: tuple[int, ...]) -> str:
    """Write a shape: ``384x1536``; a scalar is a dash."""
    return "x".join(str(side) for side in shape) or "-"


def count_of(number: int, noun: str) -> str:
    """Write a number and its noun: ``1 tensor``, ``101 tensors``."""
    return f"{number:,} {noun}" + ("" if number == 1 else "s")


def printable(name: str) -> str:
    """Return a name as it is, unless it would move the cursor or hide something."""
    return name if name.isprintable() else ascii(name)


def numbers_in_order(name: str) -> list[tuple[int, str]]:
    """Return a sort key under which layer 10 comes after layer 9."""
    # Of two numbers the longer is the larger; int() would refuse one of thousands of digits.
    parts = [part.lstrip("0") if part.isdecimal() else part for part in re.split(r"(\d+)", name)]
    return [(len(part) if index % 2 else -1, part) for index, part in enumerate(parts)]


def broken_at_dots(name: str, width: int) -> str:
    """Break a name that is too wide after one of its dots, and indent what follows."""
    lines = [""]
    for part in re.findall(r"[^.]*\.|[^.]+", name):
        if lines[-1].strip() and len(lines[-1]) + len(part) > width:
            lines.append("  ")
        lines[-1] += part
    return "\n".join(lines)


def _scaled(number: int, step: int, units: tuple[str, ...]) -> str:
    if number < step:
        return f"{number} {units[0]}".rstrip()
    value = float(number)
    for unit in units[1:]:  # noqa: B007  # the last one reached is the unit
        value /= step
        if value < step - 0.5:
            break
    decimals = 2 if value < 9.995 else 1 if value < 99.95 else 0
    return f"{value:.{decimals}f} {unit}"
