"""What every open file here shares: a with statement closes it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from types import TracebackType

_Self = TypeVar("_Self", bound="ClosesItself")


class ClosesItself(ABC):
    """An open file, to be used in a with statement or closed by hand."""

    @abstractmethod
    def close(self) -> None:
        """Close the file."""

    def __enter__(self: _Self) -> _Self:  # noqa: PYI019 (typing.Self is of Python 3.11)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()
