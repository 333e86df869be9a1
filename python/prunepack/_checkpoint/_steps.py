"""What the functions over whole checkpoints have in common: progress, and names in errors."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from .._errors import FormatError
from .._masks import prune_mask
from .._patterns import Threshold

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .._arrays import Array
    from .._files import Tensor
    from .._masks import Mask
    from .._source import Checkpoint


@dataclass(frozen=True)
class Progress:
    """How far the work on a checkpoint is.

    Attributes
    ----------
    name : str
        The tensor at hand.
    tensors, total_tensors : int
        Pieces of work done, and all of them. A tensor that is looked at first is two pieces.
    nbytes, total_nbytes : int
        The bytes of them.
    """

    name: str
    tensors: int
    total_tensors: int
    nbytes: int
    total_nbytes: int


Report: TypeAlias = Callable[[Progress], None]
"""Called before and after each piece of work."""


@contextmanager
def naming(name: str) -> Iterator[None]:
    """Put the tensor's name before an error that does not know it."""
    try:
        yield
    except FormatError:
        raise
    except (TypeError, ValueError) as error:
        msg = f"tensor {name!r}: {error}"
        raise type(error)(msg) from error


class Work:
    """Going through the tensors of a checkpoint: reads each, tells how far it is, lets it go.

    Parameters
    ----------
    source : Checkpoint
        The checkpoint.
    progress : callable or None
        What to tell.
    sizes : sequence of int
        The bytes of each piece of work, in the order in which they will be done.
    """

    def __init__(self, source: Checkpoint, progress: Report | None, sizes: Sequence[int]) -> None:
        self._source = source
        self._progress = progress
        self._sizes = tuple(sizes)
        self._total = sum(sizes)
        self._done = 0
        self._nbytes = 0

    @contextmanager
    def on(self, name: str) -> Iterator[Tensor]:
        """Read the tensor for a block that works on it, whose errors will name it."""
        self._tell(name)
        with naming(name):
            yield self._source.read(name)
        # Otherwise the pages of all files would end up counted as this process's memory.
        self._source.release(name)
        self._nbytes += self._sizes[self._done]
        self._done += 1
        self._tell(name)

    def _tell(self, name: str) -> None:
        if self._progress is not None:
            total = len(self._sizes)
            self._progress(Progress(name, self._done, total, self._nbytes, self._total))


def nonzero(weights: Array, num_threads: int | None) -> Mask:
    """Return the mask of the weights that are not zero, of either sign."""
    return prune_mask(weights, Threshold(0.0), num_threads=num_threads)
