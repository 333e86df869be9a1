"""The ways in which the packed tensors of a checkpoint are stored."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

from ._strict_json import shown

FormatName: TypeAlias = Literal["packed", "dense", "sparse-bitmask", "sparse-24-bitmask"]
Dialect: TypeAlias = Literal["0.9", "0.3"]


@dataclass(frozen=True)
class Storage:
    """How tensors are stored.

    Attributes
    ----------
    format : str
        ``"packed"`` is prunepack's own: as sparse-bitmask, and the metadata names the packed
        tensors and their patterns. ``"dense"`` packs nothing. ``"sparse-bitmask"`` and
        ``"sparse-24-bitmask"`` are those of compressed-tensors, which has no such metadata.
    dialect : str
        What parts of a sparse-bitmask are named after: ``"0.9"`` (compressed-tensors 0.9.0 to 0.14)
        the name without ``.weight``, ``"0.3"`` (0.3 to 0.8.1) the full name.

    Raises
    ------
    ValueError
        If there is no such format or dialect, or the dialect is for another format.
    """

    format: FormatName = "packed"
    dialect: Dialect = "0.9"

    def __post_init__(self) -> None:
        for argument, known in (("format", FormatName), ("dialect", Dialect)):
            value = getattr(self, argument)
            if value not in get_args(known):
                names = ", ".join(repr(name) for name in get_args(known))
                msg = f"{argument} must be one of {names}, got {shown(value)}"
                raise ValueError(msg)
        if self.dialect != "0.9" and self.format != "sparse-bitmask":
            msg = f"dialect {self.dialect!r} goes with format 'sparse-bitmask', not {self.format!r}"
            raise ValueError(msg)

    @property
    def packs(self) -> bool:
        """Whether anything is packed."""
        return self.format != "dense"

    @property
    def is_foreign(self) -> bool:
        """Whether it is a format of compressed-tensors, which names its parts and says no more."""
        return self.format in ("sparse-bitmask", "sparse-24-bitmask")

    @property
    def is_24(self) -> bool:
        """Whether it stores 2 of every 4 weights and no row offsets."""
        return self.format == "sparse-24-bitmask"

    def prefix_of(self, name: str) -> str:
        """Return what the parts of the packed tensor `name` are named after."""
        return name if self.dialect == "0.3" else name.removesuffix(".weight")

    def why_not(self, name: str, shape: tuple[int, ...]) -> str | None:
        """Say why a tensor cannot be packed in this format, or None if it can."""
        if self.is_foreign and not (self.dialect == "0.3" or name.endswith(".weight")):
            return f"{self.format} packs only tensors whose names end in .weight"
        if self.is_24 and (len(shape) != 2 or shape[1] % 4):
            return "sparse-24-bitmask packs only matrices with columns in groups of four"
        return None


PACKED, DENSE = Storage("packed"), Storage("dense")
