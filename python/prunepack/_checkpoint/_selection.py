"""Which tensors of a model are weights to prune."""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase
from math import prod
from typing import TYPE_CHECKING

from .._dtypes import is_prunable

if TYPE_CHECKING:
    from collections.abc import Iterable

    from .._files import TensorInfo


@dataclass(frozen=True)
class Selection:
    """The tensors to work on, by name, size and rank.

    Attributes
    ----------
    include, exclude : tuple of str
        Globs over names. With any `include`, a tensor must match one; it must match no `exclude`.
    min_size, min_rank : int
        The fewest elements and dimensions of a tensor that counts as a weight.
    """

    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    min_size: int = 2048
    min_rank: int = 2

    @classmethod
    def of(
        cls, include: Iterable[str], exclude: Iterable[str], min_size: int, min_rank: int
    ) -> Selection:
        """Check what a caller gave.

        Raises
        ------
        TypeError
            If a single string stands where globs should: it would count letter by letter.
        """
        for argument, globs in (("include", include), ("exclude", exclude)):
            if isinstance(globs, str):
                msg = f"{argument} must be an iterable of globs, got a str; write [{globs!r}]"
                raise TypeError(msg)
        return cls(tuple(include), tuple(exclude), min_size, min_rank)

    def why_not(self, name: str, info: TensorInfo) -> str | None:
        """Say why a tensor is to be left alone, or None if it is to be worked on."""
        if self.include and not _any_match(name, self.include):
            return "not included"
        if _any_match(name, self.exclude):
            return "excluded"
        if info.numpy is None or not is_prunable(info.numpy):
            return f"dtype {info.dtype}"
        if len(info.shape) < self.min_rank:
            return f"rank {len(info.shape)}"
        if prod(info.shape) < self.min_size:
            return f"fewer than {self.min_size:,} elements"
        return None

    def unmatched(self, names: Iterable[str]) -> tuple[str, ...]:
        """Say which excludes match no name.

        Raises
        ------
        ValueError
            If an include matches no name: what it was meant to prune would stay as it was.
        """
        known = tuple(names)
        for glob in self.include:
            if not any(fnmatchcase(name, glob) for name in known):
                example = f"; the names look like {known[0]!r}" if known else ""
                msg = f"include {glob!r} matches none of the {len(known)} tensors{example}"
                raise ValueError(msg)
        return tuple(
            f"exclude {glob!r} matches no tensor"
            for glob in self.exclude
            if not any(fnmatchcase(name, glob) for name in known)
        )


def _any_match(name: str, globs: tuple[str, ...]) -> bool:
    return any(fnmatchcase(name, glob) for glob in globs)
