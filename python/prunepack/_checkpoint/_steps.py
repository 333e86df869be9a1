"""What the functions over whole checkpoints have in common: progress, and names in errors."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias, TypeVar

from .._errors import FormatError
from .._masks import prune_mask
from .._patterns import Threshold
from ._parallel import in_order

if TYPE_CHECKING:
    from .._arrays import Array
    from .._masks import Mask
    from .._source import Checkpoint
    from .._tensor_info import Tensor

Result = TypeVar("Result")


@dataclass(frozen=True)
class Progress:
    """How far the work on a checkpoint is.

    Attributes
    ----------
    name : str
        The tensor at hand.
    tensors, total_tensors : int
        Tensors done, and all of them. One that is looked at before it is worked on counts twice.
    nbytes, total_nbytes : int
        The bytes of them.
    """

    name: str
    tensors: int
    total_tensors: int
    nbytes: int
    total_nbytes: int


ProgressCallback: TypeAlias = Callable[[Progress], None]
"""Called before and after each piece of work, always from the thread that began it."""


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
    rounds : iterable of iterables of str
        The names that will be gone through, round by round.
    num_threads : int or None
        Threads to use.
    progress : callable or None
        What to tell.
    """

    def __init__(
        self,
        source: Checkpoint,
        rounds: Iterable[Iterable[str]],
        num_threads: int | None,
        progress: ProgressCallback | None,
    ) -> None:
        self._source = source
        self._num_threads = num_threads
        self._progress = progress
        names = [name for one in rounds for name in one]
        self._sizes = {name: source.info(name).dense_nbytes for name in names}
        self._total = len(names), sum(self._sizes[name] for name in names)
        self._done = self._nbytes = 0

    def through(
        self, names: Iterable[str], function: Callable[[str, Tensor, int], Result]
    ) -> Iterator[tuple[str, Result]]:
        """Call a function with each name, its tensor and a number of threads; yield the results.

        In the order of `names`, while the next ones are worked on. Errors name their tensor.
        """

        def on_one(name: str, threads: int) -> Result:
            with naming(name):
                return function(name, self._source.read(name), threads)

        names = tuple(names)
        for index, (name, result) in enumerate(
            in_order(names, self._sizes, on_one, self._num_threads)
        ):
            if index == 0:
                self._tell(name)
            with naming(name):
                yield name, result
            self._done += 1
            self._nbytes += self._sizes[name]
            self._tell(name)

    def _tell(self, name: str) -> None:
        if self._progress is not None:
            tensors, nbytes = self._total
            self._progress(Progress(name, self._done, tensors, self._nbytes, nbytes))


def nonzero(weights: Array, num_threads: int | None) -> Mask:
    """Return the mask of the weights that are not zero, of either sign."""
    return prune_mask(weights, Threshold(0.0), num_threads=num_threads)
