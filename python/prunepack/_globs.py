"""Choosing by name: globs over the names of tensors or layers."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


def any_match(name: str, globs: Iterable[str]) -> bool:
    """Tell whether one of the globs matches a name."""
    return any(fnmatchcase(name, glob) for glob in globs)


def checked_globs(globs: Iterable[str], argument: str) -> tuple[str, ...]:
    """Check the globs that a caller gave.

    Raises
    ------
    TypeError
        If a single string stands where globs should: it would count letter by letter.
    """
    if isinstance(globs, str):
        msg = f"{argument} must be an iterable of globs, got a str; write [{globs!r}]"
        raise TypeError(msg)
    return tuple(globs)


def named_out(names: Iterable[str], include: Iterable[str], exclude: Iterable[str]) -> str | None:
    """Say why what goes by these names is left out, or None if it is not.

    With any `include`, one of the names must match one; none may match an `exclude`.
    """
    names, include = tuple(names), tuple(include)
    if include and not any(any_match(name, include) for name in names):
        return "not included"
    return "excluded" if any(any_match(name, exclude) for name in names) else None
