"""The choices that the bytes of a fuzz input stand for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

Item = TypeVar("Item")


class Choices:
    """Takes bytes apart from their beginning; where they end, everything is 0."""

    def __init__(self, octets: bytes) -> None:
        self._octets = octets
        self._at = 0

    def __bool__(self) -> bool:
        return self._at < len(self._octets)

    def number(self, size: int) -> int:
        """Return an unsigned integer of `size` bytes."""
        taken = self.octets(size)
        return int.from_bytes(taken, "little")

    def below(self, bound: int) -> int:
        return self.number(1 if bound <= 256 else 2) % bound if bound > 1 else 0

    def of(self, items: Sequence[Item]) -> Item:
        return items[self.below(len(items))]

    def octets(self, count: int) -> bytes:
        taken = self._octets[self._at : self._at + count]
        self._at += count
        return taken

    def rest(self) -> bytes:
        return self.octets(len(self._octets))
